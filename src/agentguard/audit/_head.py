"""The head: what the last record was at a time, signed, so that cutting off the end shows."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agentguard.audit._disk import write_all
from agentguard.core import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from agentguard.audit._record import Link
    from agentguard.core import Signer

HEAD_FILE = "head"
_DOMAIN = "agentguard-audit-head-v1"


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """At `time`, record `seq` was the last and had this `hash`. `signature` is Ed25519 in base64url."""

    seq: int
    hash: str
    time: str
    key_id: str
    signature: str = ""

    def message(self) -> bytes:
        """Return the bytes that are signed; they begin with a name that no other signature here has."""
        return f"{_DOMAIN}\n{self.seq}\n{self.hash}\n{self.time}\n{self.key_id}\n".encode()

    def verified_by(self, public_keys: Mapping[str, bytes]) -> bool:
        """Tell whether one of these keys (id to 32 raw bytes) made the signature."""
        key = public_keys.get(self.key_id)
        if key is None:
            return False
        try:
            signature = base64.b64decode(self.signature + "==", altchars=b"-_", validate=True)
            Ed25519PublicKey.from_public_bytes(key).verify(signature, self.message())
        except (InvalidSignature, ValueError):
            return False
        # The last character has bits to spare: other spellings of one signature are changes all the same.
        return _text(signature) == self.signature


def sign_head(link: Link, time: str, signer: Signer) -> Head:
    """Return the signed head of a log that ends with `link`."""
    head = Head(link.seq, link.hash, time, signer.key_id)
    return msgspec.structs.replace(head, signature=_text(signer.sign(head.message())))


def is_own_forgery(head: Head, signer: Signer) -> bool:
    """Tell whether a head names the signer's key and is not its work: Ed25519 gives each message one signature."""
    return head.key_id == signer.key_id and head.signature != _text(signer.sign(head.message()))


def read_head(folder: Path) -> Head | None:
    """Return the head that lies in a folder, or None where there is none.

    Raises:
        IntegrityError: it is not what the log writes, byte for byte (`head_invalid`).
    """
    try:
        data = (folder / HEAD_FILE).read_bytes()
    except FileNotFoundError:
        return None
    try:
        head = msgspec.json.decode(data, type=Head)
    except (msgspec.DecodeError, ValueError) as error:
        raise IntegrityError(f"the head cannot be read: {error}", code="head_invalid") from None
    if msgspec.json.encode(head) + b"\n" != data:
        raise IntegrityError("the head is not as the log writes it", code="head_invalid")
    return head


def stage_head(folder: Path, head: Head) -> Path:
    """Write the head to a file of this process beside the real one, on the disk; return its path."""
    path = folder / f".{HEAD_FILE}-{os.getpid()}.tmp"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        write_all(fd, msgspec.json.encode(head) + b"\n")
        os.fsync(fd)
    finally:
        os.close(fd)
    return path


def _text(signature: bytes) -> str:
    return base64.urlsafe_b64encode(signature).decode().rstrip("=")

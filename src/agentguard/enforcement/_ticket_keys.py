"""The public keys that an executor keeps: a JWK Set in a file of its own."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from msgspec import Meta

from agentguard.core import ConfigError, Location, TicketError

_MAX_BYTES = 1024 * 1024
_HINT = "write it with `agentguard ticket keys`, or get it from the sidecar's `/v1/tickets/keys`"


class _Key(msgspec.Struct, frozen=True):
    """One public key (RFC 8037); unknown members are ignored, as RFC 7517 says. A private one is refused."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: str
    kid: Annotated[str, Meta(min_length=1)]
    d: None = None


class _Set(msgspec.Struct, frozen=True):
    issuer: Annotated[str, Meta(min_length=1)]
    keys: tuple[_Key, ...]


class KeyFile:
    """The public keys in the file at `path`, read again when it changes. Safe to use from many threads.

    Raises:
        ConfigError: the file cannot be read, or is no JWK Set with the issuer's name (`ticket_keys_invalid`).
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()
        self._seen = self._signature()
        self.issuer, self._keys = self._read()

    def find(self, key_id: str) -> OKPKey | None:
        """Return the key of that id.

        Raises:
            TicketError: the file has changed and cannot be read (`ticket_keys_unavailable`).
        """
        try:
            seen = self._signature()
            if seen != self._seen:
                with self._lock:
                    self.issuer, self._keys = self._read()
                    self._seen = seen
        except ConfigError as error:
            raise TicketError(str(error), code="ticket_keys_unavailable") from None
        return self._keys.get(key_id)

    def _signature(self) -> tuple[int, int, int]:
        try:
            status = self._path.stat()
        except OSError as error:
            raise self._invalid((error.strerror or str(error)).lower()) from None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _read(self) -> tuple[str, dict[str, OKPKey]]:
        try:
            with self._path.open("rb") as stream:
                found = msgspec.json.decode(stream.read(_MAX_BYTES), type=_Set)
            keys = {
                each.kid: OKPKey.import_key({"kty": each.kty, "crv": each.crv, "x": each.x})
                for each in found.keys
            }
        except OSError as error:
            raise self._invalid((error.strerror or str(error)).lower()) from None
        except (ValueError, RecursionError, JoseError):
            raise self._invalid("is no set of public keys with an issuer") from None
        if any(key.thumbprint() != key_id for key_id, key in keys.items()):
            raise self._invalid("has a key whose `kid` is not its thumbprint")
        return found.issuer, keys

    def _invalid(self, what: str) -> ConfigError:
        return ConfigError(what, code="ticket_keys_invalid", location=Location(str(self._path)), hint=_HINT)

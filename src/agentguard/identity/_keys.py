"""Key rings in the state folder: one current key, and the public halves of those before it."""

from __future__ import annotations

import secrets
import threading
import time
from typing import TYPE_CHECKING, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.errors import JoseError
from joserfc.jwk import OctKey, OKPKey

from agentguard.identity._limits import LEEWAY_S, MAX_TTL_S
from agentguard.identity._revocations import Revocations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentguard.identity._state import StateFolder

_ED25519_FILE = "token-ed25519-keys.json"
_HS256_FILE = "token-hs256-keys.json"
_DAMAGED = (
    "restore it from a backup, or move it away to make new keys; what the old ones signed is then refused"
)

Algorithm = Literal["Ed25519", "HS256"]


class _Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One key as it is in the file (RFC 7517 members); `retired` is when it ceased to sign, Unix seconds."""

    kid: str
    created: float
    jwk: dict[str, str]
    retired: float | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file: the current key first."""

    version: Literal[1]
    algorithm: Algorithm
    keys: tuple[_Stored, ...]


class Ed25519Signer:
    """Signs with one Ed25519 key (RFC 8032); implements `core.Signer`."""

    def __init__(self, key_id: str, key: OKPKey) -> None:
        self._key_id = key_id
        private = key.private_key
        assert isinstance(private, Ed25519PrivateKey)
        self._private = private

    @property
    def key_id(self) -> str:
        """The RFC 7638 thumbprint of the public key."""
        return self._key_id

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of the signature over `message`."""
        return self._private.sign(message)


class VerificationKey(msgspec.Struct, frozen=True):
    """A key that still verifies: `until` Unix seconds, or for ever."""

    key: OKPKey | OctKey
    algorithm: Algorithm
    until: float


class KeyRing:
    """The keys of one purpose, shared by all processes through the state folder.

    A retired Ed25519 key keeps only its public half. It verifies for `keep_s` seconds more, then it is dropped;
    with `keep_s` None it is kept for ever.
    """

    def __init__(
        self,
        state: StateFolder,
        name: str,
        *,
        algorithm: Algorithm = "Ed25519",
        keep_s: float | None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._state = state
        self._name = name
        self._algorithm: Algorithm = algorithm
        self._keep_s = keep_s
        self._now = now
        self._lock = threading.Lock()
        self.generation = 0  # counts how often the content has changed
        self._seen = state.signature(name)
        self._load(state.read_or_create(name, self._first))

    @property
    def algorithm(self) -> Algorithm:
        """What the keys of this ring sign with, and nothing else."""
        return self._algorithm

    def current(self) -> tuple[str, OKPKey | OctKey]:
        """Return the id and the private key that sign now, rotated or not by another process."""
        self.refresh()
        return self._current

    def signer(self) -> Ed25519Signer:
        """Return a signer that keeps the key of now, so that id and signature go together."""
        key_id, key = self.current()
        assert isinstance(key, OKPKey)
        return Ed25519Signer(key_id, key)

    def verification_key(self, key_id: str) -> VerificationKey | None:
        """Return the key of that id if it is ours and still verifies."""
        found = self._verifying.get(key_id)
        return found if found is not None and self._now() < found.until else None

    def public_keys(self) -> Mapping[str, bytes]:
        """Return the raw 32-byte Ed25519 public keys by id, old ones included."""
        self.refresh()
        return {
            key_id: found.key.public_key.public_bytes_raw()
            for key_id, found in self._verifying.items()
            if isinstance(found.key, OKPKey)
        }

    def rotate(self) -> str:
        """Make a new current key and return its id; the old one verifies on as the class says.

        Raises:
            ConfigError: the file cannot be read or written; nothing has changed then.
            IntegrityError: the file is damaged.
        """
        with self._state.locked(self._name):
            now = self._now()
            current, *older = self._parse(self._state.read(self._name)).keys
            # Without `d`, the private half. A shared secret has none: it stays as long as it verifies.
            public = {name: value for name, value in current.jwk.items() if name != "d"}
            retired = msgspec.structs.replace(current, retired=now, jwk=public)
            kept = [key for key in (retired, *older) if now < self._until(key)]
            fresh = self._make()
            self._state.write(self._name, self._encode((fresh, *kept)))
        self.refresh()
        return fresh.kid

    def refresh(self) -> None:
        """Read the file again if another process has changed it.

        Raises:
            IntegrityError: the file is gone or damaged.
        """
        seen = self._state.signature(self._name)
        if seen == self._seen:
            return
        with self._lock:
            try:
                self._load(self._state.read(self._name))
            except FileNotFoundError:
                raise self._state.corrupt(self._name, _DAMAGED) from None
            self._seen = seen
            self.generation += 1

    def _first(self) -> bytes:
        return self._encode((self._make(),))

    def _make(self) -> _Stored:
        key: OKPKey | OctKey
        if self._algorithm == "Ed25519":
            key = OKPKey.generate_key("Ed25519")
        else:
            key = OctKey.import_key(secrets.token_bytes(32))
        jwk = {name: str(value) for name, value in key.as_dict(private=True).items()}
        return _Stored(kid=key.thumbprint(), created=self._now(), jwk=jwk)

    def _load(self, data: bytes) -> None:
        stored = self._parse(data).keys
        try:
            keys = [self._import(each) for each in stored]
        except (JoseError, ValueError):
            raise self._state.corrupt(self._name, _DAMAGED) from None
        pairs = list(zip(stored, keys, strict=True))
        if not keys[0].is_private or any(key.thumbprint() != each.kid for each, key in pairs):
            raise self._state.corrupt(self._name, _DAMAGED)
        self._verifying = {
            each.kid: VerificationKey(key, self._algorithm, self._until(each)) for each, key in pairs
        }
        self._current = (stored[0].kid, keys[0])

    def _parse(self, data: bytes) -> _File:
        try:
            file = msgspec.json.decode(data, type=_File)
        except msgspec.MsgspecError:
            raise self._state.corrupt(self._name, _DAMAGED) from None
        if file.algorithm != self._algorithm or not file.keys:
            raise self._state.corrupt(self._name, _DAMAGED)
        return file

    def _import(self, stored: _Stored) -> OKPKey | OctKey:
        jwk: dict[str, str | list[str]] = {**stored.jwk}
        if self._algorithm == "HS256":
            return OctKey.import_key(jwk)
        key = OKPKey.import_key(jwk)
        # With `d` the public key comes from it, so the two halves are compared here.
        public = OKPKey.import_key({name: value for name, value in jwk.items() if name != "d"})
        if public.public_key != key.public_key:
            raise ValueError("the halves do not belong together")
        return key

    def _encode(self, keys: tuple[_Stored, ...]) -> bytes:
        return msgspec.json.encode(_File(version=1, algorithm=self._algorithm, keys=keys))

    def _until(self, stored: _Stored) -> float:
        if stored.retired is None or self._keep_s is None:
            return float("inf")
        return stored.retired + self._keep_s


class TokenKeys:
    """The keys of a project's tokens, with what has been revoked of them.

    With `hs256` new tokens carry an HS256 signature; Ed25519 ones are verified in either case.

    Raises:
        ConfigError: the state folder cannot be used.
        IntegrityError: a key file is damaged.
        IdentityError: there are keys but the list of revoked tokens is gone (`revocations_unavailable`).
    """

    def __init__(
        self, state: StateFolder, *, hs256: bool = False, now: Callable[[], float] = time.time
    ) -> None:
        # INVARIANT: the revocations are made before the first key, so keys without them mean a loss.
        had_keys = any(state.exists(name) for name in (_ED25519_FILE, _HS256_FILE))
        self.revocations = Revocations(state, must_exist=had_keys, now=now)
        self.issuer = f"agentguard:{state.project_id}"
        self.now = now
        keep_s = MAX_TTL_S + LEEWAY_S
        rings = [KeyRing(state, _ED25519_FILE, keep_s=keep_s, now=now)]
        if hs256:
            rings.append(KeyRing(state, _HS256_FILE, algorithm="HS256", keep_s=keep_s, now=now))
        self._rings = tuple(rings)

    @property
    def algorithms(self) -> tuple[Algorithm, ...]:
        """What tokens may be signed with."""
        return tuple(ring.algorithm for ring in self._rings)

    def current(self) -> tuple[str, OKPKey | OctKey, Algorithm]:
        """Return the id, the key and the algorithm that new tokens are signed with."""
        ring = self._rings[-1]
        return (*ring.current(), ring.algorithm)

    def find(self, key_id: str) -> VerificationKey | None:
        """Return the key of that id if it verifies, looked up anew if another process may have made it."""
        for ring in self._rings:
            found = ring.verification_key(key_id)
            if found is None:
                ring.refresh()
                found = ring.verification_key(key_id)
            if found is not None:
                return found
        return None

    def rotate(self) -> str:
        """Make a new key for new tokens and return its id; tokens of the old one last until they expire."""
        return self._rings[-1].rotate()

    @property
    def generation(self) -> tuple[int, ...]:
        """What differs when keys or revocations have changed, whoever read the change."""
        return (self.revocations.generation, *(ring.generation for ring in self._rings))

    def refresh(self) -> None:
        """Read again what other processes have changed.

        Raises:
            IdentityError: the list of revoked tokens cannot be read (`revocations_unavailable`).
            IntegrityError: a key file is gone or damaged.
        """
        self.revocations.refresh()
        for ring in self._rings:
            ring.refresh()


def audit_keys(state: StateFolder) -> KeyRing:
    """Return the keys that sign heads of the audit log; old public keys are kept for ever."""
    return KeyRing(state, "audit-keys.json", keep_s=None)


def kernel_keys(state: StateFolder) -> KeyRing:
    """Return the keys that sign kernel policies; one signed by an older key is not to be enforced."""
    return KeyRing(state, "kernel-keys.json", keep_s=0)


def link_key(state: StateFolder) -> bytes:
    """Return the 32-byte key with which links to decide are signed (HMAC-SHA256).

    Raises:
        IntegrityError: the file does not hold 32 bytes.
    """
    key = state.read_or_create("link.key", lambda: secrets.token_bytes(32))
    if len(key) != 32:  # noqa: PLR2004 - bytes of a SHA-256 key
        raise state.corrupt("link.key", "move it away; links that were sent are void then")
    return key


def commitment_key(state: StateFolder) -> bytes:
    """Return the 32-byte key under which secret values are committed to (HMAC-SHA256).

    Raises:
        IntegrityError: the file does not hold 32 bytes.
    """
    key = state.read_or_create("commitment.key", lambda: secrets.token_bytes(32))
    if len(key) != 32:  # noqa: PLR2004 - bytes of a SHA-256 key
        raise state.corrupt("commitment.key", "restore it from a backup")
    return key

"""A signer and a clock for tests of the audit log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class Ed25519Signer:
    """A real key, held in memory."""

    def __init__(self, key_id: str = "key-1") -> None:
        self._key = Ed25519PrivateKey.generate()
        self._key_id = key_id

    @property
    def key_id(self) -> str:
        return self._key_id

    @property
    def public_keys(self) -> dict[str, bytes]:
        return {self._key_id: self._key.public_key().public_bytes_raw()}

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


class SetClock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 21, 23, 59, 59, 999_990, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def advance(self, **by: float) -> None:
        self.time += timedelta(**by)

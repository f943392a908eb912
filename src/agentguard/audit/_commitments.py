"""Commitments: what stands in the log for a value that must not."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from agentguard.core import ConfigError

_DOMAIN = b"agentguard-commitment-v1\n"
_MIN_KEY_BYTES = 16
_BLOCK = 64


class Commitments:
    """Replaces secret values by HMAC-SHA256 (RFC 2104) under a key of the project.

    Equal values have equal commitments, so one sees that a secret was used again; without the key nobody can
    try out guesses.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < _MIN_KEY_BYTES:
            raise ConfigError(f"a commitment key has at least {_MIN_KEY_BYTES} bytes", code="key_invalid")
        block = (key if len(key) <= _BLOCK else hashlib.sha256(key).digest()).ljust(_BLOCK, b"\0")
        # RFC 2104 with both keyed states made once: to set OpenSSL's HMAC up costs more than a short value's digest.
        self._inner = hashlib.sha256(bytes(each ^ 0x36 for each in block) + _DOMAIN)
        self._outer = hashlib.sha256(bytes(each ^ 0x5C for each in block))

    def commit(self, value: Any) -> dict[str, str]:
        """Return `{"c": "<64 hex>"}` for any JSON value; the order of an object's keys does not matter."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))
        outer.update(inner.digest())
        return {"c": outer.hexdigest()}

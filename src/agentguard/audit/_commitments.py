"""Commitments: what stands in the log for a value that must not."""

from __future__ import annotations

import hmac
from typing import Any

import orjson

from agentguard.core import ConfigError

_DOMAIN = b"agentguard-commitment-v1\n"
_MIN_KEY_BYTES = 16


class Commitments:
    """Replaces secret values by HMAC-SHA256 (RFC 2104) under a key of the project.

    Equal values have equal commitments, so one sees that a secret was used again; without the key nobody can
    try out guesses.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < _MIN_KEY_BYTES:
            raise ConfigError(f"a commitment key has at least {_MIN_KEY_BYTES} bytes", code="key_invalid")
        self._key = key

    def commit(self, value: Any) -> dict[str, str]:
        """Return `{"c": "<64 hex>"}` for any JSON value; the order of an object's keys does not matter."""
        data = _DOMAIN + orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        return {"c": hmac.digest(self._key, data, "sha256").hex()}

"""Masks the texts in a value of plain types; what it cannot look into, it refuses."""

from __future__ import annotations

from typing import Any

from agentguard.core import ExecutionError
from agentguard.enforcement._obligation import compile_pattern

MASK = "[masked]"
MAX_DEPTH = 64
MAX_NODES = 1_000_000
_PLAIN = frozenset((int, float, bool, type(None)))
_KEYS = _PLAIN | {str}


def mask(value: Any, patterns: tuple[str, ...] | None) -> Any:
    """Return a copy of `value` with every match of `patterns`, or with every text, replaced by `[masked]`.

    Raises:
        ExecutionError: it holds a value of another type than JSON's, tuples and bytes, bytes or text that are
            no UTF-8, or is nested deeper than 64 or larger than 1,000,000 values.
    """
    return _Mask(patterns).of(value, MAX_DEPTH)


class _Mask:
    def __init__(self, patterns: tuple[str, ...] | None) -> None:
        self._patterns = None if patterns is None else [compile_pattern(pattern) for pattern in patterns]
        self._budget = MAX_NODES

    def of(self, value: Any, depth: int) -> Any:
        self._budget -= 1
        if depth == 0 or self._budget < 0:
            raise ExecutionError("the result is nested too deeply or too large to be masked")
        # Exact types: a subclass may carry a text where nothing here would look for it.
        kind = type(value)
        if kind is str:
            return self._text(value)
        if kind in _PLAIN:
            return value
        if kind is dict:
            return {self._key(key): self.of(item, depth - 1) for key, item in value.items()}
        if kind is list or kind is tuple:
            return kind(self.of(item, depth - 1) for item in value)
        if kind is bytes:
            return self._bytes(value)
        raise ExecutionError(f"a result of type `{kind.__name__}` cannot be masked")

    def _text(self, text: str) -> str:
        if self._patterns is None:
            return MASK
        try:
            for pattern in self._patterns:
                text = pattern.sub(MASK, text)
        except UnicodeEncodeError:
            raise ExecutionError("a result that is no valid Unicode cannot be masked") from None
        return text

    def _bytes(self, data: bytes) -> bytes:
        try:
            return self._text(data.decode()).encode()
        except UnicodeDecodeError:
            raise ExecutionError("a result that is no UTF-8 cannot be masked") from None

    def _key(self, key: Any) -> Any:
        if type(key) not in _KEYS:
            raise ExecutionError(f"a result with a key of type `{type(key).__name__}` cannot be masked")
        return key

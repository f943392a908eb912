"""A deep copy of JSON data that refuses everything else.

A caller can change its own objects, from another thread too, between the check and the effect. So the
decision is made on a copy, and the copy is what is executed.
"""

from __future__ import annotations

import math
from typing import Any

from agentguard.core.errors import RequestError

MAX_DEPTH = 32
MAX_NODES = 20_000
_ATOMS = frozenset((str, bool, type(None)))
_SAFE_INT = 2**63


def snapshot(params: object) -> dict[str, Any]:
    """Return a deep copy of `params`, with tuples as lists.

    Raises:
        RequestError: `params` is no mapping of strings to JSON values, or is too deep (32), too large
            (20,000 values), or holds a number that JSON cannot carry (not finite, or beyond 64 bits), or a
            text that is no valid Unicode.
    """
    if type(params) is not dict:
        raise RequestError(f"params are a {type(params).__name__}, not an object", code="params_invalid")
    budget = [MAX_NODES]
    return _copy_dict(params, MAX_DEPTH, budget)


def _copy_dict(value: dict[Any, Any], depth: int, budget: list[int]) -> dict[str, Any]:
    budget[0] -= len(value)
    if depth == 0 or budget[0] < 0:
        raise RequestError("params are nested too deeply or too large", code="params_invalid")
    copy: dict[str, Any] = {}
    # dict.copy() is one atomic step, so another thread cannot change the size while we walk.
    for key, item in value.copy().items():
        if type(key) is not str:
            raise RequestError("params have a key that is no text", code="params_invalid")
        if not key.isascii():
            _text(key)
        # Most values are short texts: they are spared the call.
        copy[key] = item if type(item) is str and item.isascii() else _copy(item, depth, budget)
    return copy


def _copy(item: object, depth: int, budget: list[int]) -> Any:
    kind = type(item)
    if kind is str:
        return _text(item)  # type: ignore[arg-type]  # exact type was compared
    if kind in _ATOMS:
        return item
    if kind is int:
        if not -_SAFE_INT <= item < _SAFE_INT:  # type: ignore[operator]  # exact type was compared
            raise RequestError("params have an integer beyond 64 bits", code="params_invalid")
        return item
    if kind is float:
        if not math.isfinite(item):  # type: ignore[arg-type]  # exact type was compared
            raise RequestError("params have a number that is not finite", code="params_invalid")
        return item
    if kind is dict:
        return _copy_dict(item, depth - 1, budget)  # type: ignore[arg-type]  # exact type was compared
    if kind is list or kind is tuple:
        items = list(item)  # type: ignore[call-overload]  # exact type was compared
        budget[0] -= len(items)
        if depth == 1 or budget[0] < 0:
            raise RequestError("params are nested too deeply or too large", code="params_invalid")
        return [_copy(each, depth - 1, budget) for each in items]
    raise RequestError(f"params have a value that JSON cannot carry: {kind.__name__}", code="params_invalid")


def _text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise RequestError("params have a text that is no valid Unicode", code="params_invalid") from None
    return value

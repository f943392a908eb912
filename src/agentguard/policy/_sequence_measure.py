"""What a request adds to a limit: an amount, or one more value."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import PolicyError, Resource
from agentguard.policy._conditions import pointer
from agentguard.policy._sequence_cells import Amount, exact

if TYPE_CHECKING:
    from agentguard.policy._sequence_rule import Limit

Measured = Amount | str | None
Measure = Callable[[dict[str, Any], Resource], Measured]

_SHORT = 64


def measure_of(rule: Limit) -> Measure:
    """Return what measures a request for `rule`: an amount, a value's name, or None where it cannot.

    Raises:
        PolicyError: a path is no JSON pointer.
    """
    if rule.sum is not None:
        return _amount(rule.sum)
    if rule.distinct is None:
        return lambda _params, _resource: 1
    if rule.distinct == "resource":
        return lambda _params, resource: _name(resource.id)
    read = _reader(rule.distinct)

    def measure(params: dict[str, Any], _resource: Resource) -> Measured:
        value = read(params)
        return None if value is None else _name(msgspec.json.encode(value[0], order="deterministic").decode())

    return measure


def _amount(path: str) -> Measure:
    read = _reader(path)

    def measure(params: dict[str, Any], _resource: Resource) -> Measured:
        found = read(params)
        value = found[0] if found is not None else None
        if type(value) is int:
            return max(value, 0)
        if type(value) is float and math.isfinite(value):
            return exact(max(value, 0.0))
        return None

    return measure


def _reader(path: str) -> Callable[[dict[str, Any]], tuple[Any] | None]:
    if not path.startswith("/") or path == "/":
        raise PolicyError(f"`{path}` is no JSON pointer", hint="write it as `/amount`")
    steps = pointer(path)

    def read(params: Any) -> tuple[Any] | None:
        for step in steps:
            if type(params) is not dict or step not in params:
                return None
            params = params[step]
        return (params,)

    return read


def _name(value: str) -> str:
    """Return what stands for a value: itself where it is short, else its hash, so that size is bounded."""
    if len(value) <= _SHORT:
        return f"={value}"
    return "#" + hashlib.blake2b(value.encode(), digest_size=16).hexdigest()

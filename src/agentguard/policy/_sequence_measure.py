"""What a request adds to a limit: an amount, or one more value."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import PolicyError, Resource
from agentguard.policy._pointer import pointer
from agentguard.policy._sequence_cells import UNIT, millionths

if TYPE_CHECKING:
    from agentguard.policy._sequence_rule import Limit

# In millionths; the name of a value; None where the request does not say.
Measured = int | str | None
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
        return lambda _params, _resource: UNIT
    if rule.distinct == "resource":
        return lambda _params, resource: _name(resource.id)
    read = _reader(rule.distinct)

    def measure(params: dict[str, Any], _resource: Resource) -> Measured:
        value = read(params)
        # By its hash alone: it may be secret, and a history is kept in a file.
        return None if value is None else _hash(msgspec.json.encode(value[0], order="deterministic"))

    return measure


def _amount(path: str) -> Measure:
    read = _reader(path)

    def measure(params: dict[str, Any], _resource: Resource) -> Measured:
        found = read(params)
        value = found[0] if found is not None else None
        if type(value) is int or (type(value) is float and math.isfinite(value)):
            return millionths(max(value, 0))
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


def _name(resource_id: str) -> str:
    """Return what stands for a resource: its id where it is short, else its hash, so that size is bounded."""
    return f"={resource_id}" if len(resource_id) <= _SHORT else _hash(resource_id.encode())


def _hash(value: bytes) -> str:
    return "#" + hashlib.blake2b(value, digest_size=16).hexdigest()

"""What a request adds to a limit: an amount, or more values."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import FACTS, FactKind, PolicyError
from agentguard.policy._pointer import pointer
from agentguard.policy._sequence_cells import UNIT, millionths

if TYPE_CHECKING:
    from agentguard.policy._facts import Facts
    from agentguard.policy._sequence_rule import Limit

# In millionths; the names of values; None where the request does not say.
Measured = int | tuple[str, ...] | None
Measure = Callable[["Facts"], Measured]

_SHORT = 64


def measure_of(rule: Limit) -> Measure:
    """Return what measures a request for `rule`: an amount, the names of values, or None where it cannot.

    Raises:
        PolicyError: a path is neither a JSON pointer nor a fact of the right type.
    """
    if rule.sum is not None:
        return _amount(rule.sum)
    if rule.distinct is None:
        return lambda _facts: UNIT
    if rule.distinct == "resource":
        return lambda facts: (_name(facts.resource.id),)
    if rule.distinct in FACTS:
        return _members(rule.distinct)
    read = _reader(rule.distinct)

    def measure(facts: Facts) -> Measured:
        value = read(facts.params)
        # By its hash alone: it may be secret, and a history is kept in a file.
        return None if value is None else (_hash(msgspec.json.encode(value[0], order="deterministic")),)

    return measure


def asks_facts(rule: Limit) -> bool:
    """Tell whether what `rule` measures is a fact about arguments."""
    return rule.sum in FACTS or rule.distinct in FACTS


def _members(name: str) -> Measure:
    def measure(facts: Facts) -> Measured:
        value = facts.facts.get(name)
        if value is None:
            return None
        members = value if type(value) is tuple else (value,)
        return tuple(_name(str(each)) for each in members)

    return measure


def _amount(path: str) -> Measure:
    if path in FACTS:
        if FACTS[path].kind is not FactKind.NUMBER:
            raise PolicyError(f"fact `{path}` is no number", hint="`sum` adds numbers, as `data.bytes`")
        return lambda facts: _millionths(facts.facts.get(path))
    read = _reader(path)

    def measure(facts: Facts) -> Measured:
        found = read(facts.params)
        return _millionths(found[0]) if found is not None else None

    return measure


def _millionths(value: Any) -> int | None:
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return millionths(max(value, 0))
    return None


def _reader(path: str) -> Callable[[dict[str, Any]], tuple[Any] | None]:
    if not path.startswith("/") or path == "/":
        raise PolicyError(
            f"`{path}` is neither a JSON pointer nor a fact", hint="write it as `/amount` or `net.host`"
        )
    steps = pointer(path)

    def read(params: Any) -> tuple[Any] | None:
        for step in steps:
            if type(params) is not dict or step not in params:
                return None
            params = params[step]
        return (params,)

    return read


def _name(text: str) -> str:
    """Return what stands for a resource or a host: itself where it is short, else its hash: size is bounded."""
    return f"={text}" if len(text) <= _SHORT else _hash(text.encode("utf-8", "surrogatepass"))


def _hash(value: bytes) -> str:
    return "#" + hashlib.blake2b(value, digest_size=16).hexdigest()

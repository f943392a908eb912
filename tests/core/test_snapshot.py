"""A snapshot shares nothing with what it was made of, and holds only what JSON can carry."""

from __future__ import annotations

import enum
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.core import RequestError, snapshot
from agentguard.core.snapshot import MAX_DEPTH, MAX_NODES

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=20,
)
objects = st.dictionaries(st.text(st.characters(codec="utf-8")), json_values, max_size=5)


def containers(value: Any) -> list[int]:
    """Return the identities of all dicts and lists in `value`."""
    if isinstance(value, dict):
        return [id(value), *(each for item in value.values() for each in containers(item))]
    if isinstance(value, list):
        return [id(value), *(each for item in value for each in containers(item))]
    return []


@given(objects)
def test_copy_is_equal_shares_nothing_and_survives_json(params: dict[str, Any]) -> None:
    copy = snapshot(params)
    assert copy == params
    assert not set(containers(copy)) & set(containers(params))
    assert msgspec.json.decode(msgspec.json.encode(copy)) == copy


def test_tuples_become_lists() -> None:
    assert snapshot({"a": (1, (2,))}) == {"a": [1, [2]]}


def test_later_change_of_the_original_does_not_reach_the_copy() -> None:
    params: dict[str, Any] = {"to": ["a@example.com"], "o": {"k": 1}}
    copy = snapshot(params)
    params["to"].append("evil@example.com")
    params["o"]["k"] = 2
    assert copy == {"to": ["a@example.com"], "o": {"k": 1}}


class _Text(str):
    __slots__ = ()


class _Dict(dict[str, Any]):
    pass


class _Level(enum.IntEnum):
    ONE = 1


def deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def cyclic() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = value
    return value


REFUSED: list[Any] = [
    None, [], "text", 3, _Dict(), {1: 2}, {None: 1}, {_Text("a"): 1}, {"a": _Text("b")}, {"a": _Dict()}, {"a": _Level.ONE},
    {"a": object()}, {"a": {1}}, {"a": b"bytes"}, {"a": math.nan}, {"a": math.inf}, {"a": 2**63}, {"a": -(2**63) - 1},
    {"a": "\ud800"}, {"\ud800": 1}, deep(MAX_DEPTH + 1), cyclic(), {"a": [0] * (MAX_NODES + 1)},
    {"a": [[0] * 100 for _ in range(MAX_NODES // 100)]},
    {str(number): 0 for number in range(MAX_NODES + 1)},
]  # fmt: skip


@pytest.mark.parametrize("params", REFUSED, ids=lambda params: repr(params)[:30])
def test_what_json_cannot_carry_is_refused(params: object) -> None:
    with pytest.raises(RequestError) as caught:
        snapshot(params)
    assert caught.value.code == "params_invalid"


def test_limits_themselves_are_taken() -> None:
    assert snapshot(deep(MAX_DEPTH)) == deep(MAX_DEPTH)
    assert len(snapshot({"a": [0] * (MAX_NODES - 1)})["a"]) == MAX_NODES - 1
    assert snapshot({"a": 2**63 - 1, "b": -(2**63)}) == {"a": 2**63 - 1, "b": -(2**63)}


def test_very_deep_lists_are_refused_without_a_crash() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(RequestError):
        snapshot({"a": value})
    while value:  # taken apart by hand: freeing it in one go would recurse
        value = value[0]

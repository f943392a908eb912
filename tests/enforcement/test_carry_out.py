from __future__ import annotations

import json
from collections import namedtuple
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.core import Decision, Effect, ExecutionError, Obligation
from agentguard.enforcement import carry_out

M = "[masked]"


def carried(result: Any, *obligations: tuple[str, Any]) -> Any:
    decision = Decision(
        effect=Effect.ALLOW,
        reason="because",
        principal="p",
        action="a@1",
        resource="b/c",
        obligations=tuple(Obligation(name, value) for name, value in obligations),
    )
    return carry_out(decision, result)


@pytest.mark.parametrize(
    ("result", "limit", "expected"),
    [
        ("hello", 5, "hello"),
        ("hello", 4, "hell"),
        ("", 1, ""),
        ("aé", 2, "a"),
        ("é", 1, ""),
        ("日本", 5, "日"),
        ("😀😀", 7, "😀"),
        ("aé".encode(), 2, b"a"),
        (b"\x80" * 10, 6, b"\x80" * 3),
        (b"abc", 3, b"abc"),
        ({"a": 1}, 7, {"a": 1}),
        ([1, 2], 5, [1, 2]),
        (12345, 5, 12345),
        (None, 1, None),
    ],
)
def test_result_is_bounded(result: Any, limit: int, expected: Any) -> None:
    assert carried(result, ("max_bytes", limit)) == expected


@pytest.mark.parametrize("result", [{"a": 1}, [1, 2, 3], 1234567])
def test_long_value_that_cannot_be_cut_is_withheld(result: Any) -> None:
    with pytest.raises(ExecutionError, match="bytes as JSON"):
        carried(result, ("max_bytes", 6))


@pytest.mark.parametrize("result", [object(), {1, 2}, {"a": object()}, "\ud800", ["\ud800"], 2**70])
def test_value_that_cannot_be_measured_is_withheld(result: Any) -> None:
    with pytest.raises(ExecutionError, match="cannot be measured"):
        carried(result, ("max_bytes", 1000))


@given(text=st.text(), limit=st.integers(1, 40))
def test_bounded_text_is_the_longest_prefix_that_fits(text: str, limit: int) -> None:
    cut = carried(text, ("max_bytes", limit))
    assert text.startswith(cut)
    assert len(cut.encode()) <= limit
    if cut != text:
        assert len(text[: len(cut) + 1].encode()) > limit


@given(data=st.binary(max_size=60), limit=st.integers(1, 40))
def test_bounded_bytes_are_a_prefix_that_fits(data: bytes, limit: int) -> None:
    cut = carried(data, ("max_bytes", limit))
    assert data.startswith(cut)
    assert min(len(data), limit) - 3 <= len(cut) <= limit


@pytest.mark.parametrize(
    ("result", "value", "expected"),
    [
        ("secret", True, M),
        (b"secret", True, M.encode()),
        ({"k": ["a", 1, None, True, 1.5], 3: ("b",)}, True, {"k": [M, 1, None, True, 1.5], 3: (M,)}),
        ("card 4111, pin 12", ["[0-9]+"], f"card {M}, pin {M}"),
        ({"token-1": "token-1 and more"}, ["token-[0-9]"], {"token-1": f"{M} and more"}),
        ("né 12".encode(), ["[0-9]+"], f"né {M}".encode()),
        ("abc", ["a", "c"], f"{M}b{M}"),
        (7, ["7"], 7),
    ],
)
def test_output_is_masked(result: Any, value: Any, expected: Any) -> None:
    assert carried(result, ("mask_output", value)) == expected


def test_masking_leaves_the_original_alone() -> None:
    original = {"a": ["secret"]}
    carried(original, ("mask_output", True))
    assert original == {"a": ["secret"]}


class Text(str):
    __slots__ = ()


Pair = namedtuple("Pair", "a b")  # noqa: PYI024 - the untyped kind is what must be refused too


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "result",
    [object(), {1, 2}, bytearray(b"x"), Text("x"), Pair("a", "b"), {"a": object()}, {("k",): 1}, deep(100)],
)
def test_value_that_cannot_be_looked_into_is_withheld(result: Any) -> None:
    with pytest.raises(ExecutionError, match="masked"):
        carried(result, ("mask_output", True))


@pytest.mark.parametrize("result", [b"\xff", "\ud800"])
def test_text_that_is_no_unicode_is_withheld_from_patterns(result: Any) -> None:
    with pytest.raises(ExecutionError, match="cannot be masked"):
        carried(result, ("mask_output", ["x"]))


def test_result_that_contains_itself_is_withheld() -> None:
    loop: list[Any] = []
    loop += [loop, loop]
    with pytest.raises(ExecutionError, match="too deeply or too large"):
        carried(loop, ("mask_output", True))
    with pytest.raises(ExecutionError, match="cannot be measured"):
        carried(loop, ("max_bytes", 10))


@given(st.recursive(st.text() | st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_no_matching_text_is_left_after_masking(value: Any) -> None:
    masked = carried({"v": value, "w": ["12", "x3y"]}, ("mask_output", ["[0-9]+"]))

    def leaves(item: Any) -> list[str]:
        if isinstance(item, dict):
            return [leaf for each in item.values() for leaf in leaves(each)]
        if isinstance(item, list):
            return [leaf for each in item for leaf in leaves(each)]
        return [item] if isinstance(item, str) else []

    assert not [leaf for leaf in leaves(masked) if any(char in "0123456789" for char in leaf)]


def test_mask_comes_before_the_bound_so_that_no_half_secret_escapes() -> None:
    assert carried("key=abcdef", ("max_bytes", 7), ("mask_output", ["abcdef"])) == "key=[ma"


def test_of_several_obligations_all_hold() -> None:
    assert carried("abcdef", ("max_bytes", 5), ("max_bytes", 2)) == "ab"
    assert carried("ab", ("mask_output", ["a"]), ("mask_output", ["b"])) == M + M
    assert carried("ab", ("mask_output", ["a"]), ("mask_output", True)) == M


def test_without_obligations_the_result_is_the_same_object() -> None:
    result = object()
    assert carried(result) is result
    assert carried(result, ("log_level", "info")) is result


@pytest.mark.parametrize("obligation", [("sing", True), ("max_bytes", 0)])
def test_unknown_obligation_withholds_the_result(obligation: tuple[str, Any]) -> None:
    with pytest.raises(ExecutionError):
        carried("x", obligation)


@given(st.dictionaries(st.text(max_size=5), st.integers(-5, 5), max_size=5), st.integers(1, 60))
def test_json_value_passes_whole_or_not_at_all(value: dict[str, int], limit: int) -> None:
    size = len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())
    try:
        assert carried(value, ("max_bytes", limit)) is value
    except ExecutionError:
        assert size > limit

from __future__ import annotations

import json
import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.core import RequestError, canonical_hash, canonical_json, read_json_object

# RFC 8785, appendix B.
NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}
# RFC 8785, section 3.2.2.
SAMPLE = r"""{
  "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
  "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
  "literals": [null, true, false]
}"""
CANONICAL = (
    '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
    '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
)
# RFC 8785, section 3.2.3.
SORTING = r"""{
  "\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One",
  "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control", "\u00f6": "Latin Small Letter O With Diaeresis"
}"""
SORTED = [
    "Carriage Return",
    "One",
    "Control",
    "Latin Small Letter O With Diaeresis",
    "Euro Sign",
    "Emoji: Grinning Face",
    "Hebrew Letter Dalet With Dagesh",
]


@pytest.mark.parametrize(("bits", "text"), NUMBERS.items())
def test_numbers_are_written_as_the_rfc_says(bits: str, text: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical_json(value).decode() == text


def test_the_samples_of_the_rfc_come_out_as_it_says() -> None:
    assert canonical_json(read_json_object(SAMPLE)).decode() == CANONICAL
    assert list(json.loads(canonical_json(read_json_object(SORTING))).values()) == SORTED


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        2**53,
        -(2**53),
        10**400,
        "\ud800",
        {"\udfff": 1},
        {"é\ud800": 1, "a": 2},
        {1: 2},
        {None: 2},
        {("a",): 2},
        b"bytes",
        {1, 2},
        object(),
        Text("a"),
        {Text("a"): 1},
        deep(34),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(RequestError) as error:
        canonical_json({"deep": {"in": [value]}} if value != deep(34) else value)
    assert error.value.code == "params_invalid"


@pytest.mark.parametrize("value", [2**53 - 1, -(2**53) + 1, deep(33), {"a": (1, 2)}, True, None, 1e300])
def test_the_bounds_themselves_are_fine(value: Any) -> None:
    assert json.loads(canonical_json(value)) == json.loads(json.dumps(value))


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 1}',
        '{"a": {"b": 1, "b": 2}}',
        '{"a": 1, "\\u0061": 2}',
        '{"a": NaN}',
        '{"a": Infinity}',
        "[1]",
        "1",
        "",
        "{",
        '{"a": 1} {}',
        b"\xff{}",
        "[" * 100_000,
        '{"a": ' + "9" * 5000 + "}",
    ],
    ids=lambda text: str(text[:20]),
)
def test_a_text_that_can_be_read_in_two_ways_is_refused(text: str | bytes) -> None:
    with pytest.raises(RequestError) as error:
        read_json_object(text)
    assert error.value.code == "params_invalid"


def test_the_hash_is_of_the_canonical_text() -> None:
    empty = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert canonical_hash({}) == empty
    assert canonical_hash({"b": 1.0, "a": "é"}) == canonical_hash({"a": "é", "b": 1})
    assert canonical_hash({"n": True}) != canonical_hash({"n": 1})


numbers = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(value=values)
def test_canonical_text_is_a_fixed_point_that_says_the_same(value: Any) -> None:
    text = canonical_json(value)
    # Numbers are doubles to the RFC, also those that are written without a point.
    again = json.loads(text, parse_int=float)
    assert again == value
    assert canonical_json(again) == text


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_no_number_loses_a_bit(value: float) -> None:
    assert float(canonical_json(value)) == value


@given(members=st.dictionaries(st.text(max_size=4), st.integers(0, 9), max_size=6), data=st.data())
def test_the_order_of_keys_does_not_matter(members: dict[str, int], data: st.DataObject) -> None:
    shuffled = dict(data.draw(st.permutations(list(members.items()))))
    assert canonical_json(shuffled) == canonical_json(members)
    written = list(json.loads(canonical_json(members)))
    assert written == sorted(written, key=lambda key: key.encode("utf-16-be"))

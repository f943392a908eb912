"""JSON is read as strictly as YAML."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.core import DocumentError
from agentguard.documents import parse


@pytest.mark.parametrize(
    ("text", "why", "line"),
    [
        ('{"a": 1,\n "a": 2}', "duplicate key `a`", 2),
        ('{"o": {"é": 1,\n "é": 2}}', "duplicate key `é`", 2),
        ('{"a": NaN}', "`NaN` is no JSON number", None),
        ('{"a": -Infinity}', "`-Infinity` is no JSON number", None),
        ('{"a": 1,}', "expecting", 1),
        ("{\n'a': 1}", "expecting", 2),
        ("", "expecting value", 1),
        ("{} {}", "extra data", 1),
        ("[" * 100_000, "is no JSON", None),
        ("1" * 5000, "is no JSON", None),
    ],
)
def test_bad_json_is_refused_with_its_line(text: str, why: str, line: int | None) -> None:
    with pytest.raises(DocumentError) as caught:
        parse(text, file="x.json")
    assert why in str(caught.value)
    assert caught.value.location is not None
    assert caught.value.location.line == line


@pytest.mark.parametrize("text", ['{"a": 1e400}', '{"a": 99999999999999999999}', '{"a": "\\ud800"}'])
def test_value_that_json_elsewhere_cannot_carry_is_refused(text: str) -> None:
    with pytest.raises(DocumentError):
        parse(text, file="x.json")


def test_number_with_an_exponent_is_a_number() -> None:
    assert parse('{"a": 1e3}', file="x.json").value == {"a": 1000.0}


def test_lines_are_known_for_json_too() -> None:
    document = parse('{\n "a": [\n  1,\n  2]\n}', file="x.json")
    assert document.location("a", 1).line == 4
    assert str(document.error("is wrong", "a", 0)) == "x.json:3: a[0]: is wrong"


def test_lines_are_left_out_where_the_text_is_no_yaml() -> None:
    document = parse('{\n\t"a": 1e3}', file="x.json")
    assert document.location("a").line is None


@given(st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=20,
), st.sampled_from([None, 2]))  # fmt: skip
def test_what_json_writes_is_read_back(value: object, indent: int | None) -> None:
    assert parse(json.dumps(value, indent=indent), file="x.json").value == value


@given(st.text() | st.text(st.sampled_from('{}[]",:0123eE+-.\\u \ntrufalsn')))
def test_any_text_gives_a_value_or_a_document_error(text: str) -> None:
    with contextlib.suppress(DocumentError):
        parse(text, file="x.json")

"""YAML is read in one way or not at all."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.core import DocumentError
from agentguard.documents import parse

READ = [
    ("a: 1", 1),
    ("a: -7", -7),
    ("a: 1.5", 1.5),
    ("a: 1.0e+3", 1000.0),
    ("a: true", True),
    ("a: false", False),
    ("a: null", None),
    ("a: ~", None),
    ("a:", None),
    ("a: '1e3'", "1e3"),
    ('a: "no"', "no"),
    ('a: "22:00"', "22:00"),
    ("a: '0777'", "0777"),
    ("a: 2027-01-01", "2027-01-01"),
    ("a: 0.1.2", "0.1.2"),
    ("a: 10.0.0.1", "10.0.0.1"),
    ("a: |\n  two\n  lines\n", "two\nlines\n"),
    ("a: [1, [2]]", [1, [2]]),
    ("a: 9223372036854775807", 2**63 - 1),
    ("%YAML 1.2\n---\na: x", "x"),
]


@pytest.mark.parametrize(("text", "value"), READ)
def test_plain_value_is_read_as_every_reader_reads_it(text: str, value: object) -> None:
    read = parse(text, file="x.yaml").value["a"]
    assert read == value
    assert type(read) is type(value)


REFUSED = [
    # YAML 1.1 booleans and nulls
    *[
        (f"a: {word}", "quote it")
        for word in ("no", "NO", "yes", "on", "off", "True", "FALSE", "NULL", "Null")
    ],
    # numbers of one version that are texts or other numbers in the other
    *[
        (f"a: {number}", "quote it")
        for number in ("0777", "010", "08", "0o17", "0x1F", "0b11", "1_000", "+1", ".5", "5.", "-.5", "1.e3")
    ],
    *[(f"a: {number}", "write its digits out") for number in ("1e3", "1E3", "1e-3", "1.5e3", "0e0", "1e400")],
    *[(f"a: {number}", "quote it") for number in (".inf", "-.inf", ".nan", "1.0e+400")],
    *[(f"a: {time}", "sexagesimal") for time in ("22:00", "1:30", "12:30:45", "-1:30")],
    ("a: 99999999999999999999", "beyond 64 bits"),
    ("a: 1\na: 2", "duplicate key `a`"),
    ("a: {b: 1, 'b': 2}", "duplicate key `b`"),
    ("a: &x 1\nb: *x", "alias"),
    ("a: &x [1]\nb: {c: *x}", "alias"),
    ("&k a: 1\nb: {*k : 2}", "alias"),
    ("a: &x [*x]", "alias"),
    ("a: &x {k: 1}\nb:\n  <<: *x", "merge key"),
    ("a: <<", "tag"),
    ("a: !!int '3'", "tag"),
    ("a: !!python/object/apply:os.system [id]", "tag"),
    ("a: !custom x", "tag"),
    ("a: !!set {x}", "tag"),
    ("a: !!binary aGk=", "tag"),
    ("1: x", "is no text"),
    ("no: x", "quote it"),
    ("~: x", "is no text"),
    ("? [a]\n: x", "is no text"),
    ("a: 1\n---\na: 2", "another document"),
    ("a: [1", ""),
    ("a: 'x", ""),
    ("a: \t- x", ""),
    ("a: \x01", "no YAML"),
    ('a: "\\uD800"', ""),
    ("a: " + "[" * 100 + "]" * 100, "nested too deeply"),
    ("a: " + "{b: " * 70 + "1" + "}" * 70, "nested too deeply"),
]


@pytest.mark.parametrize(("text", "why"), REFUSED)
def test_text_that_two_readers_may_read_in_two_ways_is_refused(text: str, why: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse(text, file="x.yaml")
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_anchor_bomb_is_refused_before_it_grows() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    with pytest.raises(DocumentError, match="alias"):
        parse("\n".join(lines), file="x.yaml")


def test_very_deep_nesting_is_refused_without_a_crash() -> None:
    with pytest.raises(DocumentError):
        parse("[" * 20_000, file="x.yaml")


def test_error_names_file_line_and_field() -> None:
    with pytest.raises(DocumentError) as caught:
        parse("rules:\n  - id: x\n    when: no\n", file="p.yaml")
    location = caught.value.location
    assert location is not None
    assert (location.file, location.line, location.field) == ("p.yaml", 3, "rules[0].when")


@pytest.mark.parametrize("text", ["", "   \n", "# only a comment\n", "---\n"])
def test_empty_document_is_null(text: str) -> None:
    assert parse(text, file="x.yaml").value is None


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    # JSON escapes as a surrogate pair, which YAML does not know, what lies beyond the first 65,536.
    | st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=("Cs", "Cc"))),
    lambda inner: (
        st.lists(inner, max_size=4)
        # A key of more than 1,024 bytes has to be written in another way in YAML.
        | st.dictionaries(
            st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=("Cs", "Cc")), max_size=20),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


def _exponents(value: object) -> bool:
    """Tell whether JSON writes a number of `value` with an exponent, which YAML 1.1 reads otherwise."""
    if isinstance(value, float):
        return "e" in repr(value)
    if isinstance(value, list):
        return any(map(_exponents, value))
    return isinstance(value, dict) and any(map(_exponents, value.values()))


@given(json_values.filter(lambda value: not _exponents(value)))
def test_json_text_means_the_same_to_both_readers(value: object) -> None:
    text = json.dumps(value)
    assert parse(text, file="x.yaml").value == parse(text, file="x.json").value == value


@given(st.text() | st.text(st.sampled_from("ab:-[]{}&*!|>'\"%@`#,?\n \t0123.~<")))
def test_any_text_gives_a_value_or_a_document_error(text: str) -> None:
    with contextlib.suppress(DocumentError):
        parse(text, file="x.yaml")

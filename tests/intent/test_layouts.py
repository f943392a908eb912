"""Records in text as programs lay them out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.intent._layouts import (
    MAX_LINE,
    cut_list,
    headed,
    literal_of,
    pairs_of,
    ruled_table_of,
    tables_of,
    unwrapped,
)
from agentguard.intent._parse import parse_result

TABLE = "| id | name |\n|---|---|\n| 7 | Ann |\n| 8 | Bo |"
ROWS = [{"id": "7", "name": "Ann"}, {"id": "8", "name": "Bo"}]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('```json\n{"a": 1}\n```', {"a": 1}),
        ('<result>\n{"a": 1}\n</result>', {"a": 1}),
        ('<<{"a": 1}>>', {"a": 1}),
        ("{'a': 1, 'ok': True, 'none': None}", {"a": 1, "ok": True, "none": None}),
        ('Found 2 orders:\n[{"id": 3}]', [{"id": 3}]),
        ('[{"id": 3}, {"id": 4}, {"id": 5, "na', [{"id": 3}, {"id": 4}]),
        ("2 people\n\nid,name\n7,Ann\n8,Bo", ROWS),
        ("id=7 name=Ann\nid=8 name=Bo", ROWS),
        ("id=7, name='Ann'\nid=8, name=\"Bo\"", ROWS),
        ("room=living room temp=20", [{"room": "living room", "temp": "20"}]),
        ("LEVEL=info\nREGION=eu", {"LEVEL": "info", "REGION": "eu"}),
        (TABLE, ROWS),
        (f"{TABLE}\n", ROWS),
    ],
)
def test_layouts_of_programs_are_read(text: str, value: Any) -> None:
    assert parse_result(text).value == value


def test_a_table_among_other_lines_stands_beside_their_text() -> None:
    parsed = parse_result(f"# People\n\nThis is who works here.\n\n{TABLE}\n\nAsk Ann for more.")
    assert parsed.value["tables"] == [ROWS]
    assert "Ask Ann" in parsed.value["text"]
    assert parsed.is_loose
    assert parsed.is_document


def test_a_line_of_a_list_is_no_name_of_a_column() -> None:
    parsed = parse_result("c1, Marta (cleaner), doors d08, until 2026\nc2, Ravi, doors d09, until 2027")
    assert [each["partb"] for each in parsed.value] == ["Marta", "Ravi"]


def test_of_yaml_that_was_cut_the_last_entry_is_left_out() -> None:
    entries = "".join(f"- id: {at}\n  name: person {at}\n" for at in range(200))
    parsed = parse_result(f'{entries}- id: 200\n  name: "per')
    assert len(parsed.value) == 200
    assert parse_result('- id: 1\n- id: "per').value != [{"id": 1}]


@pytest.mark.parametrize(
    "text",
    ["[1, 2", '[{"a": 1}] trailing', "[", "no list", '[{"a": 1}, oops', "[" * 5_000],
)
def test_what_is_no_list_that_was_cut_is_left_alone(text: str) -> None:
    found = cut_list(text)
    assert found is None or found == [{"a": 1}]


def test_a_line_of_a_log_begins_with_what_it_is_about() -> None:
    assert pairs_of('OUT-3 place="The Quay" n=2\nOUT-4 place=Hill n=5') == [
        {"lead": "OUT-3", "place": "The Quay", "n": "2"},
        {"lead": "OUT-4", "place": "Hill", "n": "5"},
    ]


def test_a_table_of_a_database_has_a_rule_under_its_head() -> None:
    rows = [{"crew": "K1", "lead": "Ann Smith"}, {"crew": "K2", "lead": ""}]
    assert ruled_table_of(" crew | lead\n------+-----------\n K1   | Ann Smith\n K2   | \n(2 rows)") == rows
    framed = "+----+----+\n| a  | b  |\n+----+----+\n| 1  | 2  |\n+----+----+"
    assert ruled_table_of(framed) in ([{"a": "1", "b": "2"}], None)
    assert ruled_table_of("a | b\n1 | 2") is None
    assert ruled_table_of(" a | b\n---+---\n 1 | 2 | 3") is None


@pytest.mark.parametrize(
    "text",
    ["a=1", "words a=1 b=2", "a=1 a=2", "", "a=1\nwords", "a=1\na=2", f"a={'x' * MAX_LINE} b=1"],
)
def test_other_lines_are_no_pairs(text: str) -> None:
    assert pairs_of(text) is None


@pytest.mark.parametrize(
    "text", ["{'a': open('x')}", "{1, 2}", "{'a': {1}}", "(1, 2)", "{'a': ", "[" * 9_000, "{'a': b'x'}"]
)
def test_what_is_no_literal_is_none(text: str) -> None:
    assert literal_of(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "| a |\n|---|",
        "| a | b |\n| c | d |",
        "| a | a |\n|---|---|\n| 1 | 2 |",
        "a\nb",
        "| a |\n|---|\n| 1 | 2 |",
    ],
)
def test_other_lines_with_bars_are_no_table(text: str) -> None:
    assert tables_of(text) is None


def test_a_fence_inside_a_fence_stays() -> None:
    text = "```\na\n```\nb\n```"
    assert unwrapped(text) == text


@pytest.mark.parametrize("text", ["one line", "\nrest", "{\n}", f"{'x' * 100}:\nrest", "a title\nrest"])
def test_not_every_first_line_announces_something(text: str) -> None:
    assert headed(text) is None


@given(
    st.text(alphabet="ab=\"'`|<>[]{}:,-# \n", max_size=80),
)
def test_any_text_is_read(text: str) -> None:
    parse_result(text)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(("id", "name")), st.from_regex(r"[a-z]{1,8}", fullmatch=True), min_size=2
        ),
        min_size=1,
        max_size=4,
    )
)
def test_pairs_are_read_as_they_were_written(rows: list[dict[str, str]]) -> None:
    assert (
        pairs_of("\n".join(" ".join(f"{key}={value}" for key, value in row.items()) for row in rows)) == rows
    )


@pytest.mark.parametrize(
    "text",
    ["<a>" + " " * 100_000, "```" + "\n```" * 30_000 + "x", ("a=" + " " * 990 + "\n") * 100, "| a " * 30_000],
)
def test_hostile_texts_are_read_in_no_time(text: str) -> None:
    # What is not linear here takes minutes.
    parse_result(text)


def test_pairs_keep_what_is_quoted() -> None:
    assert pairs_of("id=7, name=\"Ann, the first\", say='a=b c'") == [
        {"id": "7", "name": "Ann, the first", "say": "a=b c"}
    ]

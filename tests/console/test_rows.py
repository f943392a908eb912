from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.console import row_of, visible

RECORD: dict[str, Any] = {
    "seq": 7,
    "timestamp": "2026-01-31T12:34:56.789000Z",
    "effect": "deny",
    "principal": "deploy-agent",
    "action": "file.read@1",
    "resource": "file:/etc/shadow",
    "reason": "nothing allows it",
}


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("plain", 10, "plain"),
        ("żółć 漢字 👍", 20, "żółć 漢字 👍"),
        ("a\u202eb", 10, "a⟨U+202E⟩b"),
        ("a\u200bb\ufeff", 10, "a⟨U+200B⟩b⟨U+FEFF⟩"),
        ("a\nb\x1b[31m", 10, "a⟨U+000A⟩b⟨U+001B⟩[31m"),
        ("\u2066x\u2069", 10, "⟨U+2066⟩x⟨U+2069⟩"),
        ("\ue000\udcff", 10, "⟨U+E000⟩⟨U+DCFF⟩"),
        ("x" * 2000, 4, "xxxx… (2,000 characters)"),
    ],
)
def test_text_is_made_visible_and_cut(text: str, limit: int, expected: str) -> None:
    assert visible(text, limit) == expected


@given(st.text())
def test_nothing_invisible_is_left(text: str) -> None:
    shown = visible(text, 1000)
    shown.encode("utf-8")
    assert not any(char in shown for char in "\u202e\u202d\u2066\u2067\u200b\x00\n\x7f")


def test_a_decision_becomes_a_row() -> None:
    row = row_of({**RECORD, "rule": "r1", "latency_us": 12.4, "params": {"a": [1]}})
    assert row
    assert (row.seq, row.time, row.label, row.icon, row.latency) == (7, "12:34:56", "deny", "✕", "12 µs")
    assert (row.rule, row.params) == ("r1", '{\n  "a": [\n    1\n  ]\n}')
    assert ("Rule", "r1") in row.facts


@pytest.mark.parametrize(
    "record", [{"seq": 1, "kind": "outcome"}, {"seq": 1, "effect": "maybe"}, {"seq": 1, "effect": ["allow"]}]
)
def test_what_is_no_decision_has_no_row(record: dict[str, Any]) -> None:
    assert row_of(record) is None


@pytest.mark.parametrize(
    ("name", "value", "label", "text"),
    [
        ("risk", {"action": 2, "resource": 4, "score": 8, "effect": "deny"}, "Risk", "action 2 \N{MULTIPLICATION SIGN} resource 4 = 8, calls for deny"),
        ("risk", {"score": 8}, "Risk", '{"score": 8}'),
        ("findings", [{"detector": "pii"}], "Findings", '[{"detector": "pii"}]'),
        ("context", {"session": "s", "task": ""}, "Context", '{"session": "s"}'),
        ("correlation_id", "c\u202e", "Correlation id", "c⟨U+202E⟩"),
    ],
)  # fmt: skip
def test_facts_are_shown_where_there_are_any(name: str, value: object, label: str, text: str) -> None:
    row = row_of({**RECORD, name: value})
    assert row
    assert (label, text) in row.facts


def test_a_delegated_principal_shows_on_whose_behalf_it_acts() -> None:
    row = row_of({**RECORD, "principal": {"id": "sub", "on_behalf_of": ["agent", "alice"]}})
    assert row
    assert row.principal == "sub for agent, alice"


@given(
    st.dictionaries(
        st.sampled_from([*RECORD, "params", "risk", "rule", "latency_us", "context"]),
        st.none() | st.text() | st.integers() | st.lists(st.text()) | st.dictionaries(st.text(), st.text()),
    )
)
def test_any_record_can_be_shown(fields: dict[str, Any]) -> None:
    row = row_of({**RECORD, **fields, "seq": 1, "effect": "allow"})
    assert row


def test_a_slow_decision_is_shown_in_milliseconds() -> None:
    row = row_of({**RECORD, "latency_us": 2345})
    assert row
    assert row.latency == "2.3 ms"

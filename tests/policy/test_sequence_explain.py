from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from agentguard.core import Action, Context, Effect, Principal, Resource, Risk
from agentguard.policy import Facts, History, SequenceRules, SequenceSet, compile_policies
from agentguard.policy._sequence_cells import Mark
from agentguard.policy._sequence_scope import ScopeState
from agentguard.policy._sequence_store import encode

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
BAN = {"id": "x", "effect": "deny", "after": {"actions": ["a*"]}, "then": {"actions": ["b"]}}
NEED = {"id": "x", "effect": "deny", "requires": {"actions": ["a*"]}, "then": {"actions": ["b"]}}
UNLESS = {"actions": ["c"]}
LIMIT = {"id": "x", "effect": "require_approval", "of": {"actions": ["b"]}}


def rules(entry: dict[str, Any], **more: Any) -> SequenceSet:
    key = "sequences" if "then" in entry else "limits" if entry else "none"
    written = {key: [entry], **more} if entry else more
    return compile_policies([], msgspec.convert(written, SequenceRules)).sequences


def ask(name: str, seconds: float, *, resource: str = "x/y", secret: bool = False, **params: Any) -> Facts:
    schema = {"properties": {"n": {"type": "number", "secret": secret}}}
    return Facts(
        Principal("bob"),
        Action(name, 1, "", Risk.LOW, schema),
        Resource(resource, "x"),
        params,
        Context(session="s"),
        NOON + timedelta(seconds=seconds),
    )


def said(sequences: SequenceSet, *steps: Facts, score: int = 0) -> str:
    """Let the steps happen, the last one asked about."""
    history = History()
    for step in steps[:-1]:
        history.commit(sequences, step, Effect.ALLOW, score=score)
    ruling = history.evaluate(sequences, steps[-1], score=score)
    return "" if ruling is None else ruling.explanation


CASES: list[tuple[str, dict[str, Any], list[Facts], str]] = [
    (
        "a ban for a time",
        {**BAN, "within": "10m"},
        [ask("ab", 0), ask("b", 120)],
        "`ab@1` came 2m ago; free again in 8m",
    ),
    (
        "a ban that something ends",
        {**BAN, "within": "2h", "unless": UNLESS},
        [ask("a", 0), ask("b", 90.5)],
        "`a@1` came 1m 31s ago; free again in 1h 58m or after `c`",
    ),
    ("a ban for the session", BAN, [ask("a", 0), ask("b", 3700)], "`a@1` came 1h 1m ago in this session"),
    (
        "a ban for the session that something ends",
        {**BAN, "unless": UNLESS},
        [ask("a", 0), ask("b", 0)],
        "`a@1` came 0s ago; free again after `c`",
    ),
    ("what never came", {**NEED, "within": "10m"}, [ask("b", 0)], "`a*` did not come before in the last 10m"),
    (
        "what came too long ago",
        {**NEED, "within": "10m"},
        [ask("a", 0), ask("b", 900)],
        "`a@1` came 15m ago, which is longer than 10m",
    ),
    ("what never came at all", NEED, [ask("b", 0)], "`a*` did not come before"),
    (
        "a count",
        {**LIMIT, "count": 2, "per": "1h"},
        [ask("b", 0), ask("b", 600), ask("b", 900)],
        "2 of 2 so far in 1h; free again in 45m",
    ),
    (
        "a count for the session",
        {**LIMIT, "count": 1},
        [ask("b", 0), ask("b", 9)],
        "1 of 1 so far in this session",
    ),
    (
        "a count for everyone",
        {**LIMIT, "count": 1, "scope": "all"},
        [ask("b", 0), ask("b", 9)],
        "1 of 1 so far",
    ),
    (
        "a sum",
        {**LIMIT, "sum": "/n", "max": 10, "per": "1d"},
        [ask("b", 0, n=4), ask("b", 60, n=5.5), ask("b", 3600, n=6)],
        "9.5 of 10 so far in 1d, 6 more are asked for; free again in 23h 1m",
    ),
    (
        "a sum that one request passes",
        {**LIMIT, "sum": "/n", "max": 10, "per": "1d"},
        [ask("b", 0, n=11)],
        "0 of 10 so far in 1d, 11 more are asked for; it alone is more than the limit",
    ),
    (
        "a sum of secrets",
        {**LIMIT, "sum": "/n", "max": 10, "per": "1h"},
        [ask("b", 0, n=7, secret=True), ask("b", 60, n=7, secret=True)],
        "what came before in 1h and this request are more than the limit together; free again in 59m",
    ),
    (
        "an amount that is missing",
        {**LIMIT, "sum": "/n", "max": 10},
        [ask("b", 0)],
        "`/n` is missing or cannot be counted, so that the limit may be passed",
    ),
    (
        "different values",
        {**LIMIT, "distinct": "resource", "max": 2, "per": "10m"},
        [ask("b", 0), ask("b", 60, resource="x/z"), ask("b", 120, resource="x/w")],
        "2 of 2 different ones so far in 10m, and this is another; free again in 8m",
    ),
]


@pytest.mark.parametrize(("entry", "steps", "text"), [pytest.param(*each[1:], id=each[0]) for each in CASES])
def test_what_counted_is_told(entry: dict[str, Any], steps: list[Facts], text: str) -> None:
    assert said(rules(entry), *steps) == text


def test_when_it_is_told_to_be_free_it_is() -> None:
    sequences = rules({**LIMIT, "count": 2, "per": "1h"})
    steps = [ask("b", 0), ask("b", 600)]
    assert said(sequences, *steps, ask("b", 3600)) != ""
    assert said(sequences, *steps, ask("b", 3601)) == ""


def test_a_pause_tells_how_long_it_lasts() -> None:
    sequences = rules({}, breaker={"denials": 2, "within": "5m", "pause": "10m"})
    history = History()
    for step in (ask("b", 0), ask("b", 1)):
        history.denied(sequences, step.principal, step.context, step.now)
    ruling = history.evaluate(sequences, ask("b", 61))
    assert ruling is not None
    assert ruling.explanation == "2 denials within 5m; paused for another 9m"


@pytest.mark.parametrize(
    ("score", "count", "text"),
    [
        (4, 2, "risk 8 so far in 1h, 4 more make 12; from 10 on it is asked about; free again in 59m 58s"),
        (9, 3, "risk 27 so far in 1h, 9 more make 36; from 20 on it is denied; free again in 59m 58s"),
        (12, 0, "risk 0 so far in 1h, 12 more make 12; from 10 on it is asked about"),
    ],
)
def test_a_sum_of_risks_tells_its_terms(score: int, count: int, text: str) -> None:
    sequences = rules({}, cumulative_risk={"window": "1h", "approval_from": 10, "deny_from": 20})
    steps = [ask("b", each) for each in range(count + 1)]
    assert said(sequences, *steps, score=score) == text


def test_what_an_older_history_noted_is_told_by_its_step() -> None:
    sequences = rules({**BAN, "within": "10m"})
    (entry,) = sequences.entries
    state = ScopeState(NOON.timestamp(), cells={entry.digest: Mark(NOON.timestamp(), 1)})
    history = History()
    history.restore(encode({("session", "bob", "s"): state}))
    ruling = history.evaluate(sequences, ask("b", 60))
    assert ruling is not None
    assert ruling.explanation == "`a*` came 1m ago; free again in 9m"

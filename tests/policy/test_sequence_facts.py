"""Sequences and limits about what is inside arguments: steps that ask for facts, limits that measure them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from agentguard.core import Action, ArgumentFacts, Context, Effect, PolicyError, Principal, Resource, Risk
from agentguard.policy import Facts, History, SequenceSet, parse_policies

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
READ = "{when: {facts: {sql.kinds: {present: true, in: [select]}}}}"
SEND = "{when: {facts: {net.egress: {present: true, equals: true}}}}"


def parsed(text: str) -> SequenceSet:
    return parse_policies(f"version: 1\n{text}\n").sequences


def facts(action: str = "act", **found: Any) -> Facts:
    named = {name.replace("_", ".", 1): value for name, value in found.items()}
    families = tuple(dict.fromkeys(name.partition(".")[0] for name in named))
    inside = ArgumentFacts(families, lambda: named)
    of = Action(action, 1, "", Risk.LOW)
    return Facts(Principal("bob"), of, Resource("a/b", "a"), {}, Context(), NOW, inside)


def allowed(rules: SequenceSet, history: History, asked: Facts) -> bool:
    reservation = history.reserve(rules, asked, Effect.ALLOW, now=NOW)
    if reservation is None:
        return True
    effect = Effect.ALLOW if reservation.ruling is None else reservation.ruling.effect
    history.settle(reservation, effect)
    return effect is Effect.ALLOW


def test_step_is_what_its_facts_say() -> None:
    rules, history = parsed(f"sequences: [{{id: s, effect: deny, after: {READ}, then: {SEND}}}]"), History()
    assert rules.asks_facts
    assert allowed(rules, history, facts(net_egress=True))
    assert allowed(rules, history, facts(sql_kinds=("insert",)))
    assert allowed(rules, history, facts(net_egress=True))
    assert allowed(rules, history, facts(sql_kinds=("insert", "select")))
    assert allowed(rules, history, facts(net_egress=False))
    assert allowed(rules, history, facts())
    assert not allowed(rules, history, facts(net_egress=True))


def test_fact_that_need_not_be_present_is_unknown_and_counts_on_the_strict_side() -> None:
    step = "{actions: [act], when: {facts: {net.egress: true}}}"
    rules = parsed(f"sequences: [{{id: s, effect: deny, after: {{actions: [read]}}, then: {step}}}]")
    history = History()
    assert allowed(rules, history, facts("read"))
    assert not allowed(rules, history, facts("act"))
    assert allowed(rules, history, facts("act", net_egress=False))


def test_first_by_id_stops_among_equals_whatever_family_it_needs() -> None:
    rules = parsed(
        "limits:\n"
        f"  - {{id: b, effect: deny, of: {SEND}, count: 1, per: 1h}}\n"
        "  - {id: a, effect: deny, of: {when: {facts: {sql.kinds: {present: true, in: [select]}}}}, count: 1, per: 1h}\n"
        "  - {id: c, effect: deny, of: {actions: [act]}, count: 1, per: 1h}\n"
    )
    history, asked = History(), facts(net_egress=True, sql_kinds=("select",))
    assert allowed(rules, history, asked)
    ruling = history.evaluate(rules, asked, now=NOW)
    assert ruling is not None
    assert ruling.rule == "a"


def test_each_member_of_a_fact_counts_and_is_given_back() -> None:
    limit = "{id: l, effect: deny, of: {when: {facts: {net.host: {present: true}}}}, distinct: net.host, max: 3, per: 1h}"
    rules, history = parsed(f"limits: [{limit}]"), History()
    assert rules.asks_facts
    assert not allowed(rules, history, facts(net_host=("a", "b", "c", "d")))
    assert allowed(rules, history, facts(net_host=("a", "b")))
    reservation = history.reserve(rules, facts(net_host=("b", "c")), Effect.ALLOW, now=NOW)
    assert reservation is not None
    history.settle(reservation, Effect.DENY)
    assert allowed(rules, history, facts(net_host=("x" * 300,)))
    assert not allowed(rules, history, facts(net_host=("c",)))
    assert not allowed(rules, history, facts(net_host=("a", "c")))
    assert allowed(rules, history, facts(net_host=("b", "a")))
    assert b"x" * 65 not in history.snapshot()


def test_value_that_a_measured_fact_does_not_have_stops_the_request() -> None:
    for limit in ("distinct: net.host, max: 3", "sum: data.bytes, max: 3"):
        rules = parsed(f"limits: [{{id: l, effect: deny, of: {{actions: [act]}}, {limit}, per: 1h}}]")
        assert not allowed(rules, History(), facts())


def test_single_fact_is_one_value() -> None:
    rules = parsed(
        "limits: [{id: l, effect: deny, of: {actions: [act]}, distinct: sql.limit, max: 1, per: 1h}]"
    )
    history = History()
    assert allowed(rules, history, facts(sql_limit=5))
    assert allowed(rules, history, facts(sql_limit=5))
    assert not allowed(rules, history, facts(sql_limit=6))


def test_number_that_is_a_fact_adds_up() -> None:
    rules = parsed(
        "limits: [{id: l, effect: deny, of: {actions: [act]}, sum: data.bytes, max: 100, per: 1h}]"
    )
    history = History()
    assert allowed(rules, history, facts(data_bytes=60))
    assert not allowed(rules, history, facts(data_bytes=41))
    assert allowed(rules, history, facts(data_bytes=40))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "limits: [{id: l, effect: deny, of: {actions: [a]}, sum: net.host, max: 3}]",
            "fact `net.host` is no number",
        ),
        (
            "limits: [{id: l, effect: deny, of: {actions: [a]}, distinct: net.hosts, max: 3}]",
            "`net.hosts` is neither a JSON pointer nor a fact",
        ),
        (
            "limits: [{id: l, effect: deny, of: {when: {facts: {net.hots: a}}}, count: 3}]",
            "there is no fact `net.hots`",
        ),
    ],
)
def test_fact_that_nobody_states_is_refused(text: str, error: str) -> None:
    with pytest.raises(PolicyError, match=error):
        parsed(text)

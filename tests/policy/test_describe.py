from __future__ import annotations

from agentguard.core import Action, Risk
from agentguard.policy import (
    PolicyCounts,
    PolicySet,
    compile_policies,
    concerns,
    count_policies,
    describe,
    parse_policies,
    shipped_rules,
)

TEXT = """\
version: 1
rules:
  - {id: all, effect: allow}
sequences:
  - {id: told, effect: deny, after: {actions: [read]}, then: {actions: ["s*"]}, unless: {actions: [send]}}
  - {id: from-database, effect: deny, after: {when: {facts: {sql.kinds: {present: true}}}}, then: {actions: [send]}}
limits:
  - {id: few, effect: require_approval, of: {actions: [send]}, count: 2, reason: enough}
breaker: {denials: 2, within: 5m, pause: 10m}
cumulative_risk: {window: 1h, approval_from: 10, deny_from: 20}
"""
POLICIES = parse_policies(TEXT, file="p.yaml")
SEND = Action("send", 1, "", Risk.LOW)
READ = Action("read", 1, "", Risk.LOW)


def test_each_kind_is_described_with_its_place() -> None:
    found = describe(POLICIES, problem="x")
    assert (found.version, found.problem) == (POLICIES.version, "x")
    places: dict[str, tuple[str | None, int | None]] = {}
    places |= {each.id: (each.file, each.line) for each in found.rules}
    places |= {each.id: (each.file, each.line) for each in found.sequences}
    places |= {each.id: (each.file, each.line) for each in found.limits}
    assert places == {
        "all": ("p.yaml", 3),
        "told": ("p.yaml", 5),
        "from-database": ("p.yaml", 6),
        "few": ("p.yaml", 8),
    }
    assert found.breaker is not None
    assert found.cumulative_risk is not None
    assert (found.breaker.line, found.cumulative_risk.line) == (9, 10)
    assert [each.reason for each in found.limits] == ["enough"]
    reasons = {each.id: each.reason for each in found.sequences}
    assert reasons["told"] == "s* comes after read without send"


def test_what_ships_stands_in_no_file() -> None:
    found = describe(PolicySet(shipped_rules()))
    assert {(each.file, each.line, each.shipped) for each in found.rules} == {(None, None, True)}
    assert (found.breaker, found.cumulative_risk) == (None, None)


def test_rules_that_were_built_in_code_stand_nowhere() -> None:
    (rule,) = describe(compile_policies([parse_policies(TEXT).rules[0].rule])).rules
    assert (rule.file, rule.shipped) == (None, False)


def test_own_and_shipped_are_counted_apart() -> None:
    shipped = shipped_rules()
    policies = PolicySet([*POLICIES.rules, *POLICIES.sequences.entries, *shipped])
    own = PolicyCounts(rules=1, sequences=2, limits=1, breaker=1, cumulative_risk=1)
    assert count_policies(policies, shipped=False) == own
    counted = count_policies(policies, shipped=True)
    assert counted.rules + counted.sequences + counted.limits == len(shipped)


def test_concerns_name_the_steps_that_an_action_is() -> None:
    found = {each.id: (each.kind, each.steps, each.line) for each in concerns(POLICIES, SEND)}
    assert found == {
        "told": ("sequence", ("then", "unless"), 5),
        "from-database": ("sequence", ("then", "after"), 6),
        "few": ("limit", ("of",), 8),
        "breaker": ("breaker", (), 9),
        "cumulative-risk": ("cumulative_risk", (), 10),
    }


def test_steps_about_facts_concern_actions_that_can_state_them() -> None:
    assert [each.id for each in concerns(POLICIES, READ, ("net",)) if each.steps] == ["told"]
    assert [each.id for each in concerns(POLICIES, READ, ("sql",)) if each.steps] == ["from-database", "told"]

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from agentguard.core import NO_FACTS, ArgumentFacts, PolicyError
from agentguard.policy import Facts, parse_policies
from property.worlds import random_facts

RULE = "version: 1\nrules:\n  - {{id: a, effect: {effect}, {part}: {{facts: {{{facts}}}}}}}\n"


def compiled(facts: str, *, effect: str = "deny", part: str = "when") -> Any:
    return parse_policies(RULE.format(effect=effect, part=part, facts=facts)).rules[0]


def holds(rule: Any, known: dict[str, Any]) -> bool:
    inside = ArgumentFacts(("sql",), lambda: known) if known else NO_FACTS
    facts: Facts = msgspec.structs.replace(random_facts(random.Random(1)), facts=inside)
    return all(test(facts) for test in rule.tests())


TABLE = [
    ("sql.kinds: [drop]", {"sql.kinds": ("select", "drop")}, True, False),
    ("sql.kinds: [drop]", {"sql.kinds": ("drop",)}, True, True),
    ("sql.kinds: [drop]", {"sql.kinds": ()}, False, False),
    ("sql.kinds: [drop]", {}, True, False),
    ("sql.kinds: {present: true, in: [drop]}", {}, False, False),
    ("sql.kinds: {present: true}", {"sql.kinds": ()}, True, True),
    ("sql.kinds: {present: false}", {}, True, True),
    ("sql.kinds: {pattern: 'd.*', in: [drop]}", {"sql.kinds": ("delete", "drop")}, True, False),
    ("sql.has_where: false", {"sql.has_where": False}, True, True),
    ("sql.has_where: false", {"sql.has_where": True}, False, False),
    ("net.port: {max: 1023}", {"net.port": (22, 8080)}, True, False),
    ("sql.limit: {min: 5}", {"sql.limit": 7}, True, True),
]


@pytest.mark.parametrize(("facts", "known", "for_deny", "for_allow"), TABLE)
def test_condition_holds_as_the_effect_asks(
    facts: str, known: dict[str, Any], *, for_deny: bool, for_allow: bool
) -> None:
    assert holds(compiled(facts), known) is for_deny
    assert holds(compiled(facts, effect="allow"), known) is for_allow


def test_exemption_from_a_ban_needs_every_member() -> None:
    rule = compiled("sql.kinds: [select]", part="unless")
    assert not holds(rule, {"sql.kinds": ("select",)})
    assert holds(rule, {"sql.kinds": ("select", "drop")})
    assert holds(rule, {})


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ("sql.kind: [drop]", "there is no fact `sql.kind`"),
        ("sql.kinds: 3", "is a texts"),
        ("sql.kinds: {min: 3}", "is a texts"),
        ("sql.stacked: {pattern: x}", "is a boolean"),
        ("sql.stacked: [1]", "is a boolean"),
        ("sql.kinds: {}", "says nothing"),
        ("sql.kinds: {present: false, in: [a]}", "contradicts itself"),
    ],
)
def test_condition_that_can_never_be_judged_is_refused(facts: str, says: str) -> None:
    with pytest.raises(PolicyError) as caught:
        compiled(facts)
    assert says in str(caught.value)
    assert caught.value.location is not None


def test_ban_that_needs_a_family_is_not_asked_without_it() -> None:
    policies = parse_policies(
        "version: 1\nrules:\n  - {id: b, tier: mandatory, effect: deny, when: {facts: {sql.stacked: {present: true, equals: true}}}}\n"
    )

    def unasked() -> dict[str, Any]:
        raise AssertionError

    base = random_facts(random.Random(1))
    other = msgspec.structs.replace(base, facts=ArgumentFacts(("net",), unasked))
    assert policies.evaluate(other).stage == "default"
    stacked = msgspec.structs.replace(base, facts=ArgumentFacts(("sql",), lambda: {"sql.stacked": True}))
    assert policies.evaluate(stacked).rule is not None


def test_severity_is_written_and_checked() -> None:
    rule = parse_policies("version: 1\nrules:\n  - {id: a, effect: deny, severity: high}\n").rules[0]
    assert rule.rule.severity is not None
    assert rule.rule.severity.value == "high"

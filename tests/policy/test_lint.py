from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from agentguard.core import Action, Principal, Request, Risk, Sensitivity
from agentguard.pdp import PolicyDecisionPoint, World, lint_policies
from agentguard.policy import Facts, LintFinding, LintKind, PolicySet, Rule, compile_policies
from agentguard.registry import ActionRegistry, Inventory, ResourceEntry

if TYPE_CHECKING:
    from collections.abc import Iterable

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
OPEN: dict[str, Any] = {
    "type": "object",
    "properties": {
        "n": {"type": "integer"},
        "mode": {"enum": ["x", "y"]},
        "spec": {"type": "object", "additionalProperties": True},
    },
}
REGISTRY = ActionRegistry.build(
    [
        Action("probe", 1, "p", Risk.LOW, OPEN),
        Action("probe-deep", 1, "p", Risk.LOW, OPEN),
        Action("scale", 1, "s", Risk.LOW, OPEN, resource_types=("deployment",)),
    ]
)
PEOPLE = [Principal("ann", roles=("dev",), groups=("g",)), Principal("bob", roles=("ops",))]
INVENTORY = Inventory.build(
    [
        ResourceEntry("prod/api", "deployment", "prod", Sensitivity.PUBLIC, "o", {"team": "a"}),
        ResourceEntry("vault/key", "secret", "prod", Sensitivity.CRITICAL),
    ],
    PEOPLE,
)
NO_ONE = Inventory.build([], [])


def rules(*written: dict[str, Any]) -> list[Rule]:
    return [
        msgspec.convert({"id": f"r{at}", "effect": "allow", **each}, Rule) for at, each in enumerate(written)
    ]


def findings(written: Iterable[Rule], inventory: Inventory = INVENTORY) -> list[LintFinding]:
    policies = compile_policies(written)
    found = lint_policies(policies, REGISTRY, inventory, now=NOW)
    for each in found:
        if each.witness is not None:
            check_witness(policies, each)
    return found


def check_witness(policies: PolicySet, finding: LintFinding) -> None:
    """Decide the witness with each of the two rules alone: both must apply; the schema must pass."""
    witness = finding.witness
    assert witness is not None
    action = REGISTRY.resolve(witness.action)
    assert action is not None
    assert action.check(witness.params) is None
    facts = Facts(
        witness.principal, action.action, witness.resource, witness.params, witness.context, witness.time
    )
    for rule in policies.rules:
        if rule.id in (finding.rule, finding.other):
            ruling = compile_policies([rule.rule]).evaluate(facts)
            assert ruling.rule is not None
            assert ruling.rule.id == rule.id
    winner = policies.evaluate(facts).rule
    assert winner is not None
    point = PolicyDecisionPoint(World(REGISTRY, INVENTORY, policies))
    context = msgspec.structs.replace(witness.context, time=witness.time)
    asked = Request(witness.principal, witness.action, witness.resource.id, witness.params, context)
    assert point.decide(asked).stage != "request"


def kinds(*written: dict[str, Any], inventory: Inventory = INVENTORY) -> set[LintKind]:
    return {each.kind for each in findings(rules(*written), inventory)}


DENY: dict[str, Any] = {"effect": "deny"}
CONFLICTS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({}, {**DENY, "when": {"params": {"n": 1}}, "actions": ["probe"]}, ""),
    ({"actions": ["probe"]}, {**DENY, "actions": ["probe"]}, "as specific"),
    ({"principals": ["ann"]}, {**DENY, "resources": ["prod/api"]}, "not comparable"),
    ({"principals": [{"role": "dev"}]}, {**DENY, "principals": [{"group": "g"}]}, "as specific"),
    ({"resources": ["prod/*"]}, {**DENY, "resources": ["*/api"]}, ""),
    ({"actions": ["prob*"]}, {**DENY, "actions": ["*deep"], "resources": ["prod/api"]}, "not comparable"),
    (
        {"when": {"params": {"n": {"min": 1, "max": 5}}}},
        {**DENY, "when": {"params": {"n": {"min": 5}}}},
        "as specific",
    ),
    ({"when": {"params": {"n": {"min": 1}}}}, {**DENY, "when": {"params": {"mode": "y"}}}, "as specific"),
    ({"when": {"params": {"/spec/x": 1}}}, {**DENY, "when": {"params": {"n": 1}}}, "as specific"),
    (
        {"when": {"params": {"n": {"present": False}}}},
        {**DENY, "when": {"params": {"n": {"min": 5}}}},
        "as specific",
    ),
    (
        {"when": {"context": {"ticket": "present"}}},
        {**DENY, "when": {"context": {"task": "x"}}},
        "as specific",
    ),
    ({"when": {"context": {"frozen": True}}}, {**DENY, "when": {"params": {"n": 1}}}, "as specific"),
    (
        {"when": {"time": {"between": ["02:10", "02:20"]}}},
        {**DENY, "when": {"time": {"days": ["wed"]}}},
        "as specific",
    ),
    ({"when": {"action_risk": {"max": "low"}}}, {**DENY, "when": {"params": {"n": 1}}}, "as specific"),
    ({"unless": {"params": {"n": 1}}}, {**DENY, "unless": {"params": {"n": 2}}}, "as specific"),
    ({"resources": [{"environment": "prod"}]}, {**DENY, "resources": [{"owner": "o"}]}, "as specific"),
    (
        {"resources": [{"environment": "dev"}]},
        {**DENY, "resources": [{"labels": {"zone": "z"}}]},
        "as specific",
    ),
    ({"principals": ["new-*"]}, {**DENY, "principals": ["*-bot"], "resources": ["prod/api"]}, ""),
    (
        {"principals": [{"kind": "human"}]},
        {**DENY, "when": {"params": {"n": 1, "mode": "x"}}},
        "not comparable",
    ),
    ({"expires": "2026-01-02"}, {**DENY, "actions": ["*"]}, ""),
]
DISJOINT: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"principals": ["ann"]}, {**DENY, "principals": ["bob"]}),
    ({"principals": ["ann"]}, {**DENY, "principals": [{"role": "ops"}]}),
    ({"principals": [{"role": "dev"}]}, {**DENY, "principals": [{"role": "ops"}]}),
    ({"principals": ["new-1"]}, {**DENY, "principals": ["new-2"]}),
    ({"principals": ["new-*"]}, {**DENY, "principals": [{"role": "ops"}]}),
    ({"resources": ["prod/api"]}, {**DENY, "resources": ["vault/key"]}),
    ({"resources": ["prod/x"]}, {**DENY, "resources": ["prod/y"]}),
    ({"resources": ["prod/*"]}, {**DENY, "resources": ["vault/*"]}),
    ({"resources": [{"environment": "prod"}]}, {**DENY, "resources": [{"environment": "dev"}]}),
    ({"actions": ["probe"]}, {**DENY, "actions": ["scale"]}),
    (
        {"actions": ["scale"], "resources": [{"type": "secret"}]},
        {**DENY, "actions": ["scale"], "resources": ["vault/key"]},
    ),
    ({"when": {"params": {"n": {"max": 4}}}}, {**DENY, "when": {"params": {"n": {"min": 5}}}}),
    ({"when": {"params": {"mode": "x"}}}, {**DENY, "when": {"params": {"mode": "y"}}}),
    ({"when": {"params": {"mode": "z"}}}, {**DENY, "when": {"params": {"n": {"present": True}}}}),
    ({"when": {"time": {"days": ["mon"]}}}, {**DENY, "when": {"time": {"days": ["tue"]}}}),
    ({"when": {"action_risk": {"max": "low"}}}, {**DENY, "when": {"action_risk": {"min": "high"}}}),
    ({"when": {"context": {"ticket": "present"}}}, {**DENY, "when": {"context": {"ticket": "absent"}}}),
]


@pytest.mark.parametrize(("one", "other", "how"), CONFLICTS[1:], ids=lambda each: str(each)[:70])
def test_overlap_of_different_effect_is_reported_with_a_witness(
    one: dict[str, Any], other: dict[str, Any], how: str
) -> None:
    found = [each for each in findings(rules(one, other)) if each.kind is LintKind.CONFLICT]
    if not how:
        return
    assert len(found) == 1
    assert found[0].witness is not None
    assert how in found[0].message


@pytest.mark.parametrize(("one", "other"), DISJOINT, ids=lambda each: str(each)[:70])
def test_rules_that_cannot_meet_are_not_reported(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert LintKind.CONFLICT not in kinds(one, other)


def test_rule_that_is_clearly_more_specific_is_no_conflict() -> None:
    assert LintKind.CONFLICT not in kinds({"principals": ["ann"]}, DENY)


def test_roles_are_invented_only_where_no_inventory_says_who_has_them() -> None:
    pair = ({"principals": [{"role": "a"}]}, {**DENY, "principals": [{"role": "b"}]})
    assert LintKind.CONFLICT in kinds(*pair, inventory=NO_ONE)
    assert LintKind.CONFLICT not in kinds(*pair)


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ([{"actions": ["drop-all"]}], LintKind.UNREACHABLE),
        ([{"actions": ["probe", "drop-all"]}], LintKind.UNREACHABLE),
        ([{"when": {"params": {"size": 1}}}], LintKind.UNDECLARED_PARAMETER),
        ([{"unless": {"params": {"size": 1}}}], LintKind.UNDECLARED_PARAMETER),
        (
            [{"effect": "transform", "transform": [{"op": "drop", "path": "/size/x"}]}],
            LintKind.UNDECLARED_PARAMETER,
        ),
        (
            [{"effect": "transform", "transform": [{"op": "keep", "params": ["size"]}]}],
            LintKind.UNDECLARED_PARAMETER,
        ),
        ([{"when": {"params": {"n": {"min": 5, "max": 1}}}}], LintKind.VACUOUS),
        ([{"when": {"params": {"n": {"in": []}}}}], LintKind.VACUOUS),
        ([{"when": {"params": {"n": []}}}], LintKind.VACUOUS),
        ([{"unless": {"params": {"n": []}}}], LintKind.VACUOUS),
        ([{"expires": "2026-01-01"}], LintKind.VACUOUS),
        ([{"obligations": [{"two_person": 2}]}], LintKind.UNKNOWN_OBLIGATION),
        ([{"effect": "deny", "expires": "2026-01-19"}], LintKind.EXPIRY),
        ([{"effect": "require_approval", "expires": "2026-01-06"}], LintKind.EXPIRY),
        ([{}, {"effect": "deny", "tier": "mandatory"}], LintKind.SHADOWED),
        (
            [{"actions": ["probe"]}, {"effect": "deny", "tier": "mandatory", "actions": ["**"]}],
            LintKind.SHADOWED,
        ),
        ([{}, DENY], LintKind.SHADOWED),
        ([{}, {"effect": "require_approval"}], LintKind.SHADOWED),
    ],
    ids=str,
)
def test_rule_that_is_probably_not_meant_is_reported(written: list[dict[str, Any]], kind: LintKind) -> None:
    assert kind in kinds(*written)


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ([{"expires": "2026-01-10"}], LintKind.EXPIRY),
        ([{"effect": "deny", "expires": "2026-02-10"}], LintKind.EXPIRY),
        ([{"when": {"params": {"/spec/x": 1}}}], LintKind.UNDECLARED_PARAMETER),
        ([{}, {"effect": "deny", "tier": "mandatory", "when": {"params": {"n": 1}}}], LintKind.SHADOWED),
        ([{}, {"effect": "deny", "tier": "mandatory", "principals": ["ann"]}], LintKind.SHADOWED),
        ([{"obligations": [{"max_bytes": 1}]}, {"effect": "require_approval"}], LintKind.SHADOWED),
        ([{"obligations": [{"max_bytes": 1}]}], LintKind.UNKNOWN_OBLIGATION),
    ],
    ids=str,
)
def test_benign_neighbour_is_not_reported(written: list[dict[str, Any]], kind: LintKind) -> None:
    assert kind not in kinds(*written)


def test_expiry_is_noticed_fourteen_days_ahead() -> None:
    end = (NOW + timedelta(days=14)).isoformat()
    later = (NOW + timedelta(days=14, seconds=1)).isoformat()
    assert LintKind.EXPIRY in kinds({**DENY, "expires": end})
    assert LintKind.EXPIRY not in kinds({**DENY, "expires": later})


def test_findings_say_which_rule_wins_and_where_it_stands() -> None:
    (conflict,) = list(findings(rules({"principals": ["ann"]}, {**DENY, "resources": ["prod/api"]})))
    assert (
        conflict.message
        == "overlaps `r1` (allow against deny) and is not comparable in specificity; `r0` wins"
    )
    assert (conflict.rule, conflict.other) == ("r0", "r1")

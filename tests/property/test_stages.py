from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from agentguard.core import NO_FACTS, Action, Decision, Effect, Request
from agentguard.documents import parse
from agentguard.flow import NOTHING_SEEN
from agentguard.pdp import PolicyDecisionPoint, RiskPolicy, Thresholds, World
from agentguard.policy import Facts, Rule, RuleFile, Tier, compile_policies, compile_rule, parse_policies
from agentguard.registry import ActionRegistry, Inventory, ResourceEntry
from property import oracle, worlds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "replicas": {"type": ["integer", "number", "string", "null", "boolean"], "maximum": 6},
        "image": {"type": ["string", "integer"]},
        "dry": {"type": ["boolean", "string"]},
        "spec": {},
    },
}
REGISTRY = ActionRegistry.build(
    [Action(each.name, each.version, "x", each.risk, SCHEMA) for each in worlds.ACTIONS]
)
INVENTORY = Inventory.build(
    [
        ResourceEntry(each.id, each.type, each.environment, each.sensitivity, each.owner, each.labels)
        for each in worlds.RESOURCES
        if each.listed
    ],
    worlds.PRINCIPALS,
)
LOOSE = RiskPolicy(Thresholds(17, 18))


@dataclass
class At:
    moment: datetime

    def now(self) -> datetime:
        return self.moment


def some_rules(rng: random.Random, most: int = 10) -> list[Rule]:
    return [worlds.random_rule(rng, number) for number in range(rng.randint(1, most))]


def decide(rules: list[Rule], facts: Facts, *, risk: RiskPolicy | None = None) -> Decision:
    world = World(REGISTRY, INVENTORY, compile_policies(rules), risk or RiskPolicy())
    request = Request(facts.principal, facts.action.name, facts.resource.id, facts.params, facts.context)
    return PolicyDecisionPoint(world, clock=At(facts.now)).decide(request)


def situations(
    seed: int, count: int = 150, each: int = 8
) -> Iterator[tuple[random.Random, list[Rule], Facts]]:
    rng = random.Random(seed)
    for _ in range(count):
        rules = some_rules(rng)
        for _ in range(each):
            # What the decision point itself knows of a request that no session has seen anything before.
            facts = worlds.random_facts(rng, inside=NO_FACTS)
            yield rng, rules, msgspec.structs.replace(facts, provenance=NOTHING_SEEN)


def test_adding_a_deny_never_turns_a_deny_into_anything_else() -> None:
    for rng, rules, facts in situations(3):
        if decide(rules, facts).effect is not Effect.DENY:
            continue
        ban = msgspec.structs.replace(worlds.random_rule(rng, 99), effect=Effect.DENY, transform=())
        assert decide([*rules, ban], facts).effect is Effect.DENY


@pytest.mark.parametrize("effect", [Effect.DENY, Effect.REQUIRE_APPROVAL])
def test_adding_a_mandatory_ban_never_loosens(effect: Effect) -> None:
    for rng, rules, facts in situations(4):
        ban = msgspec.structs.replace(
            worlds.random_rule(rng, 99), effect=effect, transform=(), tier=Tier.MANDATORY, expires=None
        )
        assert decide([*rules, ban], facts).effect.rank >= decide(rules, facts).effect.rank


def test_adding_a_mandatory_transform_never_loosens_what_the_rules_say() -> None:
    for rng, rules, facts in situations(5):
        made = worlds.random_rule(rng, 99)
        extra = msgspec.structs.replace(
            made,
            effect=Effect.TRANSFORM,
            tier=Tier.MANDATORY,
            expires=None,
            transform=msgspec.convert(
                {
                    "id": "x",
                    "effect": "transform",
                    "transform": [{"op": "clamp", "path": "/replicas", "max": 2}],
                },
                Rule,
            ).transform,
        )
        before, after = (compile_policies(each).evaluate(facts).effect for each in (rules, [*rules, extra]))
        assert after.rank >= before.rank


def test_the_risk_stage_never_loosens() -> None:
    for _, rules, facts in situations(6):
        assert decide(rules, facts).effect.rank >= decide(rules, facts, risk=LOOSE).effect.rank


def test_the_inventory_never_loosens() -> None:
    for _, rules, facts in situations(7):
        decision = decide(rules, facts, risk=LOOSE)
        said, _, names = oracle.rule(rules, facts)
        if not facts.resource.listed and not names:
            assert decision.effect is Effect.DENY
        if said == "deny" and decision.stage != "schema":
            assert decision.effect is Effect.DENY


def test_order_of_rules_does_not_matter() -> None:
    for rng, rules, facts in situations(8, count=100, each=4):
        shuffled = rng.sample(rules, len(rules))
        one, other = compile_policies(rules), compile_policies(shuffled)
        assert one.version == other.version
        left, right = one.evaluate(facts), other.evaluate(facts)
        assert (left.effect, left.stage, left.reason, left.obligations) == (
            right.effect,
            right.stage,
            right.reason,
            right.obligations,
        )
        assert (left.rule and left.rule.id) == (right.rule and right.rule.id)


def test_json_and_back_compiles_to_the_same_digest() -> None:
    rng = random.Random(9)
    for number in range(400):
        rule = worlds.random_rule(rng, number)
        text = msgspec.json.encode(RuleFile(1, (rule,))).decode()
        (again,) = parse(text, file="p.json").convert(RuleFile).rules
        assert compile_rule(again).digest == compile_rule(rule).digest
        assert parse_policies(text, file="p.json").version == compile_policies([rule]).version


def test_what_is_allowed_is_allowed_by_the_oracle_and_low_in_risk_and_valid() -> None:
    allowed = 0
    for _, rules, facts in situations(10, count=300, each=15):
        decision = decide(rules, facts)
        if decision.effect is not Effect.ALLOW:
            continue
        allowed += 1
        effect, joined, names = oracle.rule(rules, facts)
        assert effect in ("allow", "transform")
        assert decision.rule in joined
        assert names or facts.resource.listed
        assert decision.params == facts.params
        if effect == "transform":
            assert not isinstance(facts.params.get("replicas"), str)
            assert not (facts.params.get("replicas") or 0) > 5
        assert decision.risk is not None
        assert decision.risk.score == facts.action.risk.weight * facts.resource.weight < 9
        compiled = REGISTRY.resolve(facts.action.name)
        assert compiled is not None
        assert compiled.check(decision.params) is None
    assert allowed > 50

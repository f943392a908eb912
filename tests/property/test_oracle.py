from __future__ import annotations

import random

import pytest
from msgspec import structs

from agentguard.policy import compile_policies
from property import oracle, worlds


def disagreements(seed: int, sets: int, per_set: int) -> list[tuple[object, ...]]:
    rng = random.Random(seed)
    found: list[tuple[object, ...]] = []
    for _ in range(sets):
        # An obligation named after its rule says which rules joined.
        made = [worlds.random_rule(rng, number) for number in range(rng.randint(1, 14))]
        rules = [structs.replace(rule, obligations=({rule.id: True},)) for rule in made]
        policies = compile_policies(rules)
        for _ in range(per_set):
            facts = worlds.random_facts(rng)
            ruling = policies.evaluate(facts)
            effect, joined, names = oracle.rule(rules, facts)
            mine = ruling.rule.id if ruling.rule else None
            said = {each.name for each in ruling.obligations}
            same = ruling.effect.value == effect and said == joined and (mine in joined or not joined)
            if not same or (effect != "deny" and ruling.names_resource is not names):
                found.append((ruling, effect, joined, facts, rules))
    return found


def test_index_agrees_with_the_oracle_on_random_sets() -> None:
    assert disagreements(seed=1, sets=100, per_set=40) == []


@pytest.mark.slow
def test_index_agrees_with_the_oracle_on_a_hundred_thousand_decisions() -> None:
    assert disagreements(seed=20261121, sets=1000, per_set=100) == []

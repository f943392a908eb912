"""What a decision says for itself holds what was found and what counted, and no secret."""

from __future__ import annotations

import msgspec
import pytest

from agentguard.core import Action, Principal, Request, Risk
from agentguard.pdp import PolicyDecisionPoint, World, concerns_of, facts_of
from agentguard.policy import parse_policies
from agentguard.registry import ActionRegistry, Inventory

SECRET = "hunter2"
RULES = """
version: 1
rules:
  - {id: all, effect: allow, resources: ["db/*"]}
  - {id: tables, effect: deny, actions: [query], resources: ["db/*"], when: {facts: {sql.tables: {present: true, in: [accounts]}}}}
  - {id: hosts, effect: deny, actions: [query], resources: ["db/*"], when: {facts: {net.host: {present: true, in: [a]}}}}
  - {id: origin, effect: deny, actions: [query], resources: ["db/*"], when: {provenance: {statement: {integrity: untrusted}}}}
limits:
  - {id: spent, effect: deny, of: {actions: [query]}, sum: /amount, max: 5000, per: 1h}
  - {id: other, effect: deny, of: {actions: [wipe]}, count: 1, per: 1h}
"""


def world(*, secret: bool) -> World:
    params = {
        "type": "object",
        "properties": {
            "statement": {"type": "string", "facts": "sql", "secret": secret},
            "url": {"type": "string", "facts": "url", "secret": secret},
            "amount": {"type": "integer", "secret": secret},
        },
    }
    registry = ActionRegistry.build(
        [Action("query", 1, "x", Risk.LOW, params), Action("wipe", 1, "x", Risk.LOW)]
    )
    return World(registry, Inventory.build([], []), parse_policies(RULES))


def ask(amount: int = 4321) -> Request:
    params = {"statement": f"TABLE {SECRET}", "url": f"https://{SECRET}.example/{SECRET}"}
    return Request(Principal("ann"), "query", "db/x", {**params, "amount": amount})


@pytest.mark.parametrize("secret", [True, False])
def test_explanations_of_an_action_with_secrets_repeat_none(secret: bool) -> None:  # noqa: FBT001 - a parameter
    point = PolicyDecisionPoint(world(secret=secret))
    first, second = (point.decide(ask(), trace=True) for _ in range(2))
    told = msgspec.json.encode((first.near_misses, second.near_misses, second.findings)).decode()
    assert {miss.rule for miss in first.near_misses} == {"tables", "hosts", "origin", "spent"}
    assert second.rule == "spent"
    assert "free again in" in told
    assert "the rule wants accounts" in told
    assert (SECRET in told, "4321" in told) == (not secret, not secret)


@pytest.mark.parametrize("secret", [True, False])
def test_facts_are_shown_without_secrets(secret: bool) -> None:  # noqa: FBT001 - a parameter
    shown = facts_of(world(secret=secret), ask())
    assert shown["sql.kinds"] == ("select",)
    assert (SECRET in repr(shown)) is not secret


def test_nothing_is_known_of_a_request_that_is_malformed() -> None:
    known = world(secret=False)
    bad = msgspec.structs.replace(ask(), action="no-such")
    assert (facts_of(known, bad), concerns_of(known, bad)) == ({}, ())
    assert concerns_of(known, msgspec.structs.replace(ask(), resource="a/../b")) == ()
    assert [each.id for each in concerns_of(known, ask())] == ["spent"]

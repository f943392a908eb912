"""Conditions on the origins of a call: they hold in sessions with an intent, and nowhere else."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest

from agentguard.core import (
    Access,
    Action,
    Asked,
    CallOrigins,
    Context,
    Effect,
    OriginKind,
    PolicyError,
    Principal,
    Reach,
    Resource,
    Risk,
)
from agentguard.policy import Facts, find_template, parse_policies, session_policies

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
TEMPLATE = find_template("intent")


def facts(risk: Risk = Risk.MEDIUM, **origins: Any) -> Facts:
    given: dict[str, Any] = {"access": Access.WRITE, "asked": Asked.THIS, "reach": Reach.INTERNAL}
    called = CallOrigins(**(given | origins)) if origins else None
    resource = Resource("tool:x", "tool", listed=True)
    return Facts(Principal("a"), Action("x", 1, "d", risk), resource, {}, Context(), NOW, origins=called)


def rules(text: str) -> Any:
    return parse_policies(f"version: 1\nrules:\n{text}")


def test_condition_holds_for_the_origins_that_it_names() -> None:
    policy = rules(
        "  - {id: r, effect: allow, when: {origin: {targets: [user, subject], access: write, carries: false}}}"
    )
    assert policy.evaluate(facts(targets=OriginKind.USER, carries=False)).effect is Effect.ALLOW
    assert policy.evaluate(facts(targets=OriginKind.USER, carries=True)).effect is Effect.DENY
    assert policy.evaluate(facts(targets=OriginKind.TEXT, carries=False)).effect is Effect.DENY


def test_outside_of_a_session_neither_a_ban_nor_an_exemption_holds() -> None:
    both = """
  - {id: may, effect: allow}
  - {id: ban, tier: mandatory, effect: deny, when: {origin: {targets: text}}}
  - {id: ask, tier: mandatory, effect: require_approval, unless: {origin: {targets: user}}}
"""
    policy = rules(both)
    assert policy.evaluate(facts()).effect is Effect.REQUIRE_APPROVAL
    assert policy.evaluate(facts(targets=OriginKind.USER)).effect is Effect.ALLOW
    assert policy.evaluate(facts(targets=OriginKind.TEXT)).rule.id == "ban"


@pytest.mark.parametrize("text", ["{origin: {}}", "{origin: {targets: nowhere}}", "{origin: {target: user}}"])
def test_condition_that_says_nothing_or_nonsense_is_refused(text: str) -> None:
    with pytest.raises((PolicyError, Exception)):
        rules(f"  - {{id: r, effect: allow, when: {text}}}")


CALLS = list(product(Risk, Asked, Reach, OriginKind, (True, False)))


def test_template_says_one_thing_of_every_call() -> None:
    policy = session_policies(rules("  []"))
    for risk, asked, reach, targets, carries in CALLS:
        for access in Access:
            ruling = policy.evaluate(
                facts(risk, access=access, asked=asked, reach=reach, targets=targets, carries=carries)
            )
            assert ruling.rule is not None, (access, risk, asked, reach, targets)


def test_template_never_allows_what_only_others_wrote() -> None:
    policy = session_policies(rules("  []"))
    for risk, asked, reach, targets, carries in CALLS:
        if targets.rank >= OriginKind.TEXT.rank:
            ruling = policy.evaluate(facts(risk, asked=asked, reach=reach, targets=targets, carries=carries))
            assert ruling.effect is Effect.DENY


@pytest.mark.parametrize("asked", list(Asked))
def test_more_risk_is_never_judged_milder(asked: Asked) -> None:
    policy = session_policies(rules("  []"))
    for reach, targets, carries in product(Reach, OriginKind, (True, False)):
        effects = [
            policy.evaluate(
                facts(risk, asked=asked, reach=reach, targets=targets, carries=carries)
            ).effect.rank
            for risk in Risk
        ]
        assert effects == sorted(effects), (reach, targets, carries)


def test_more_doubt_is_never_judged_milder() -> None:
    policy = session_policies(rules("  []"))
    kinds = [kind for kind in OriginKind if kind is not OriginKind.NONE]
    for risk, reach, carries in product(Risk, Reach, (True, False)):
        effects = [
            policy.evaluate(facts(risk, reach=reach, targets=kind, carries=carries)).effect.rank
            for kind in kinds
        ]
        assert effects[-4:] == [Effect.DENY.rank] * 4
        assert max(effects[:3]) <= min(effects[10:])

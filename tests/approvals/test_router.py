from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from agentguard.approvals import Router, rules_of
from agentguard.config import ApprovalSettings, EscalationSettings, RouteSettings, StandInSettings
from agentguard.core import Action, Argument, Quorum, Risk, Role

TRANSFER = Action(
    "bank.transfer",
    1,
    "Send money",
    Risk.CRITICAL,
    arguments={
        "/amount": Argument(Role.PAYLOAD, "amount"),
        "/items/*/price": Argument(Role.PAYLOAD, "amount"),
    },
)
RESTART = Action("restart-deployment", 2, "Restart", Risk.MEDIUM)
ROUTES = {
    "large": RouteSettings(actions=("bank.*",), amount_from=1000, groups=("finance",), quorum=Quorum(2)),
    "named": RouteSettings(amount_from=10, amount="/n/0/much", people=("anna",)),
    "prod": RouteSettings(
        risk=(Risk.MEDIUM,),
        resources=("prod/*",),
        people=("anna",),
        escalate=(EscalationSettings(60, groups=("leads",)),),
        limit_s=120,
        at_zero="allow",
    ),
    "versioned": RouteSettings(actions=("restart-deployment@2",), people=("ben",)),
}
ROUTER = Router(ApprovalSettings(routes=ROUTES))


@pytest.mark.parametrize(
    ("action", "resource", "params", "name"),
    [
        (TRANSFER, "bank/1", {"amount": 1000}, "large"),
        (TRANSFER, "bank/1", {"amount": 999.99}, "default"),
        (TRANSFER, "bank/1", {"amount": "1000000"}, "large"),  # no number: it may be any amount
        (TRANSFER, "bank/1", {"amount": True}, "large"),
        (TRANSFER, "bank/1", {"amount": float("nan")}, "large"),
        (TRANSFER, "bank/1", {}, "default"),
        (TRANSFER, "bank/1", {"amount": 1, "items": [{"price": 5}, {"price": 5000}]}, "large"),
        (RESTART, "prod/api", {}, "prod"),
        (RESTART, "staging/api", {}, "versioned"),
        (RESTART, "staging/api", {"n": [{"much": 10}]}, "named"),
        (RESTART, "staging/api", {"n": [{"much": 9}]}, "versioned"),
        (RESTART, "staging/api", {"n": "x"}, "versioned"),
        (RESTART, "staging/api", {"n": []}, "versioned"),
    ],
)
def test_the_first_route_that_fits_counts(
    action: Action, resource: str, params: dict[str, Any], name: str
) -> None:
    assert ROUTER.route(action, resource, params).name == name


@pytest.mark.parametrize(
    ("risk", "limit_s"), [("critical", 300), ("high", 3600), ("medium", 14_400), ("low", 86_400)]
)
def test_the_time_limit_is_that_of_the_risk(risk: str, limit_s: float) -> None:
    action = Action("a", 1, "", Risk(risk))
    assert Router(ApprovalSettings()).route(action, "r", {}).limit_s == limit_s


def test_a_route_says_who_how_many_how_long_and_what_then() -> None:
    route = ROUTER.route(RESTART, "prod/api", {})
    assert (route.people, route.limit_s, route.at_zero) == (("anna",), 120, "allow")
    assert route.escalations[0].groups == ("leads",)


def test_two_persons_are_two_persons_whatever_the_route_says() -> None:
    for resource in ("prod/api", "elsewhere/api"):
        route = ROUTER.route(RESTART, resource, {}, two_person=True)
        assert (route.quorum.approve, route.at_zero) == (2, "deny")
    assert ROUTER.route(TRANSFER, "b", {"amount": 5000}, two_person=True).quorum.approve == 2


def test_days_of_a_stand_in_count_whole() -> None:
    away = StandInSettings("ben", since=date(2026, 12, 24), until=date(2026, 12, 26))
    rules = rules_of(
        ApprovalSettings(stand_ins={"anna": (away, StandInSettings("cara"))}, glass_groups=("leads",))
    )
    first, second = rules.stand_ins
    assert first.holds(datetime(2026, 12, 26, 23, 59, tzinfo=UTC))
    assert not first.holds(datetime(2026, 12, 27, tzinfo=UTC))
    assert not first.holds(datetime(2026, 12, 23, 23, 59, tzinfo=UTC))
    assert second.holds(datetime(2020, 1, 1, tzinfo=UTC))
    assert rules.glass_groups == {"leads"}

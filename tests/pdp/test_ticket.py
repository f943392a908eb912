from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from agentguard.core import (
    Action,
    AuditError,
    Context,
    Decision,
    Effect,
    Principal,
    Request,
    Risk,
    Sensitivity,
    canonical_hash,
)
from agentguard.enforcement import read_ticket
from agentguard.pdp import PolicyDecisionPoint, World
from agentguard.policy import Rule, compile_policies
from agentguard.registry import ActionRegistry, Inventory, ResourceEntry
from tickets import Desk

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

AGENT = Principal("agent", on_behalf_of=("ann",))


class Log:
    """Keeps records in memory; `fails_at` says from which record on it takes none."""

    def __init__(self, *, fails_at: int = 1_000) -> None:
        self.records: list[dict[str, Any]] = []
        self._fails_at = fails_at

    def append(self, record: Mapping[str, Any]) -> str:
        if len(self.records) >= self._fails_at:
            raise AuditError("the disk is full")
        self.records.append(dict(record))
        return f"event-{len(self.records)}"

    def read(self, *, after: int = 0, limit: int | None = None) -> list[dict[str, Any]]:
        return self.records[after:limit]

    def close(self) -> None:
        pass


def rule(**fields: Any) -> Rule:
    return msgspec.convert({"id": "one", "effect": "allow", **fields}, Rule)


def point(desk: Desk, log: Log, *rules: Rule, **options: Any) -> PolicyDecisionPoint:
    world = World(
        registry=ActionRegistry.build(
            [
                Action(
                    "scale", 1, "Scale", Risk.LOW, {"type": "object", "properties": {"n": {"type": "number"}}}
                )
            ]
        ),
        inventory=Inventory.build(
            [ResourceEntry("prod/api", "deployment", sensitivity=Sensitivity.INTERNAL)], []
        ),
        policies=compile_policies(rules or (rule(),)),
    )
    return PolicyDecisionPoint(world, audit=log, **{"tickets": desk.issuer, **options})


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def ask(
    pdp: PolicyDecisionPoint, params: dict[str, Any] | None = None, executor: Any = "deployer"
) -> Decision:
    return pdp.decide(Request(AGENT, "scale", "prod/api", params or {"n": 9}, Context(), executor))


def test_an_allow_carries_a_ticket_for_just_what_was_decided(desk: Desk) -> None:
    log = Log()
    decision = ask(point(desk, log))
    ticket = read_ticket(decision.ticket, desk.keys, now=desk.now)
    assert (ticket.action, ticket.resource) == ("scale@1", "prod/api")
    assert (ticket.principal, ticket.on_behalf_of) == ("agent", ("ann",))
    assert ticket.params_hash == canonical_hash({"n": 9})
    assert ticket.audit_id == decision.audit_id == "event-1"
    assert log.records[0]["ticket"] == {"jti": ticket.jti, "aud": "deployer", "exp": ticket.expires_at}
    assert decision.ticket not in str(log.records)


def test_a_transform_is_bound_to_what_it_became(desk: Desk) -> None:
    fix = rule(effect="transform", transform=[{"op": "clamp", "path": "/n", "max": 5}])
    decision = ask(point(desk, Log(), fix))
    assert decision.effect is Effect.TRANSFORM
    assert read_ticket(decision.ticket, desk.keys, now=desk.now).params_hash == canonical_hash({"n": 5})


@pytest.mark.parametrize("effect", [Effect.DENY, Effect.REQUIRE_APPROVAL])
@pytest.mark.parametrize("executor", ["deployer", 5, "\n"])
def test_what_lets_nothing_through_carries_none(desk: Desk, effect: Effect, executor: Any) -> None:
    log = Log()
    decision = ask(point(desk, log, rule(effect=effect.value)), executor=executor)
    assert (decision.effect, decision.ticket) == (effect, "")
    assert "ticket" not in log.records[0]


def test_who_asks_for_none_gets_none(desk: Desk) -> None:
    log = Log()
    assert ask(point(desk, log), executor="").ticket == ""
    assert "ticket" not in log.records[0]


def test_a_plan_carries_none(desk: Desk) -> None:
    request = Request(AGENT, "scale", "prod/api", {"n": 9}, Context(), "deployer")
    (decision,) = point(desk, Log()).decide_plan([request])
    assert (decision.effect, decision.ticket) == (Effect.ALLOW, "")


@pytest.mark.parametrize(
    ("params", "executor", "options", "why"),
    [
        ({"n": 2**53}, "deployer", {}, "an integer beyond 2^53"),
        ({"n": 9}, "a\nb", {}, "no executor's name"),
        ({"n": 9}, 5, {}, "no executor's name"),
        ({"n": 9}, "deployer", {"tickets": None}, "issues none"),
    ],
)
def test_a_ticket_that_cannot_be_issued_is_a_deny_on_record(
    desk: Desk, params: dict[str, Any], executor: Any, options: dict[str, Any], why: str
) -> None:
    log = Log()
    decision = ask(point(desk, log, **options), params, executor)
    assert (decision.effect, decision.stage, decision.ticket) == (Effect.DENY, "ticket", "")
    assert why in decision.reason
    assert (log.records[0]["effect"], "ticket" in log.records[0]) == ("deny", False)


def test_a_decision_that_is_not_on_record_carries_no_ticket(desk: Desk) -> None:
    decision = ask(point(desk, Log(fails_at=0)))
    assert (decision.effect, decision.stage, decision.ticket) == (Effect.DENY, "audit", "")


@pytest.mark.parametrize("fails_at", [1, 1000])
def test_keys_that_break_after_the_record_are_a_deny(desk: Desk, fails_at: int) -> None:
    log = Log(fails_at=fails_at)
    pdp = point(desk, log)
    (desk.folder / "agentguard" / desk.project / "ticket-keys.json").write_text("{}")
    decision = ask(pdp)
    assert (decision.effect, decision.stage, decision.ticket) == (Effect.DENY, "ticket", "")
    assert log.records[0]["effect"] == "allow"
    outcomes = [(each["decision"], each["status"]) for each in log.records[1:]]
    assert outcomes == ([("event-1", "refused")] if fails_at > 1 else [])

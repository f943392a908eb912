from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from agentguard.audit import MemoryLog
from agentguard.backends import MemoryLedger
from agentguard.core import (
    Action,
    AttemptState,
    AuditError,
    Context,
    Effect,
    Principal,
    Request,
    Risk,
    Sensitivity,
    Spender,
    SpendFilter,
    Unit,
)
from agentguard.pdp import ActionCosts, PolicyDecisionPoint, World
from agentguard.policy import Rule, compile_policies
from agentguard.registry import ActionRegistry, Inventory, ResourceEntry
from spending import Desk, desk

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

REGISTRY = ActionRegistry.build(
    [Action(name, 1, name, Risk.LOW, {"type": "object"}) for name in ("web-search", "look")]
)
INVENTORY = Inventory.build([ResourceEntry("web/all", "web", "prod", Sensitivity.PUBLIC)], [])
BOB = Principal("bob")
BUDGETS = """budgets:
  - {id: tools, scope: session, window: total, unit: tool_cost, limit: 0.02}
  - {id: asked, scope: agent, of: ann, window: total, unit: tool_cost, limit: 0, at: [{percent: 100, do: ask}]}
tools:
  - {action: web-search, usd: 0.01}
"""


class FullLog(MemoryLog):
    """A log that takes no record."""

    def append(self, _record: Mapping[str, Any]) -> str:
        raise AuditError("the disk is full")


def point(desk_: Desk, *, log: MemoryLog | None = None, effect: str = "allow") -> PolicyDecisionPoint:
    rules = msgspec.convert([{"id": "r", "effect": effect}], list[Rule])

    def spender(principal: Principal, context: Context) -> Spender:
        return Spender(agent=principal.id, session=context.session)

    return PolicyDecisionPoint(
        World(REGISTRY, INVENTORY, compile_policies(rules)),
        audit=log or MemoryLog(),
        costs=ActionCosts(desk_.keeper, spender),
    )


def ask(action: str = "web-search", *, principal: Principal = BOB, session: str = "s-1") -> Request:
    return Request(principal, action, "web/all", context=Context(session=session))


def states(desk_: Desk) -> list[AttemptState]:
    assert isinstance(desk_.ledger, MemoryLedger)
    return [each.state for each in desk_.ledger.entries(SpendFilter())]


@pytest.fixture
def costs(tmp_path: Path) -> Desk:
    return desk(tmp_path, BUDGETS)


def test_an_action_that_costs_is_let_through_as_long_as_its_budget_lasts(costs: Desk) -> None:
    decider = point(costs)
    assert [decider.decide(ask()).effect for _ in range(2)] == [Effect.ALLOW] * 2
    refused = decider.decide(ask())
    assert (refused.effect, refused.stage, refused.rule) == (Effect.DENY, "spend", None)
    assert refused.reason == (
        "budget `tools` of the session `s-1` has no room: 0.02 USD of 0.02 USD used, 0.01 USD needed"
    )
    assert decider.decide(ask(session="s-2")).effect is Effect.ALLOW
    assert decider.decide(ask("look")).effect is Effect.ALLOW
    assert states(costs) == [AttemptState.SETTLED] * 3


def test_the_record_says_that_the_budget_refused(costs: Desk) -> None:
    log = MemoryLog()
    decider = point(costs, log=log)
    for _ in range(3):
        decider.decide(ask())
    assert [each["effect"] for each in log.read()] == ["allow", "allow", "deny"]


def test_a_budget_can_ask_a_person(costs: Desk) -> None:
    asked = point(costs).decide(ask(principal=Principal("ann")))
    assert (asked.effect, asked.stage) == (Effect.REQUIRE_APPROVAL, "spend")


def test_what_is_denied_costs_nothing(costs: Desk) -> None:
    assert point(costs, effect="deny").decide(ask()).stage != "spend"
    assert states(costs) == []


def test_what_cannot_be_recorded_costs_nothing(costs: Desk) -> None:
    assert point(costs, log=FullLog()).decide(ask()).effect is Effect.DENY
    assert states(costs) == [AttemptState.RELEASED]


def test_a_plan_costs_nothing(costs: Desk) -> None:
    decisions = point(costs).decide_plan([ask()] * 3)
    assert [each.effect for each in decisions] == [Effect.ALLOW] * 3
    assert states(costs) == []


def test_a_ledger_that_cannot_reserve_denies(costs: Desk) -> None:
    costs.ledger.close()
    refused = point(costs).decide(ask())
    assert (refused.effect, refused.stage) == (Effect.DENY, "spend")
    assert refused.reason == "the ledger cannot reserve: the ledger is closed"


def test_a_booking_that_fails_leaves_the_reservation(costs: Desk, caplog: pytest.LogCaptureFixture) -> None:
    class ClosingLog(MemoryLog):
        def append(self, record: Mapping[str, Any]) -> str:
            costs.ledger.close()
            return super().append(record)

    assert point(costs, log=ClosingLog()).decide(ask()).effect is Effect.ALLOW
    assert "could not be booked: the ledger is closed" in caplog.text


def test_what_an_action_costs_is_in_the_history(costs: Desk) -> None:
    point(costs).decide(ask())
    assert isinstance(costs.ledger, MemoryLedger)
    (entry,) = costs.ledger.entries(SpendFilter(kind="tool"))
    assert (entry.model, entry.amounts) == ("web-search@1", {Unit.TOOL_COST: 10_000})

"""Tells the bus when a threshold is passed, or a bill was higher than what was reserved for it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from agentguard.core import Event, EventKind
from agentguard.events import event_ids
from agentguard.spend._account import amount_text
from agentguard.spend._budget import Budgets, budget_of_meter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from agentguard.core import EventBus, Rise, Spender

log = logging.getLogger("agentguard.spend")


class Alerts:
    """Events of kind `alert` (`spend.threshold`, `spend.overrun`), and a line in the log for each."""

    def __init__(self, budgets: Budgets, bus: EventBus | None) -> None:
        self._budgets = budgets
        self._bus = bus

    def rises(self, rises: Sequence[Rise], spender: Spender, now: datetime) -> None:
        """Tell of each threshold that what is booked has passed; the ledger tells each rise once."""
        for rise in rises:
            budget_id, value = budget_of_meter(rise.meter)
            budget = self._budgets.budget(budget_id)
            for step in budget.steps if budget is not None else ():
                if budget is not None and rise.before < step.amount <= rise.after:
                    spent, limit = amount_text(budget.unit, rise.after), amount_text(budget.unit, rise.limit)
                    self._tell(
                        {
                            "action": "spend.threshold",
                            "resource": f"budget/{budget.id}",
                            "reason": f"{step.percent} % of the {budget.scope}'s budget is spent: {spent} of {limit}",
                            "scope": budget.scope,
                            "of": value,
                            "percent": step.percent,
                            "unit": budget.unit.value,
                            "spent": rise.after,
                            "limit": rise.limit,
                        },
                        spender,
                        now,
                    )

    def overrun(self, model: str, attempt: str, spender: Spender, now: datetime) -> None:
        """Tell that a bill was higher than its reservation."""
        self._tell(
            {
                "action": "spend.overrun",
                "resource": f"model/{model}",
                "reason": "more was booked than was reserved",
                "attempt": attempt,
            },
            spender,
            now,
        )

    def _tell(self, payload: dict[str, Any], spender: Spender, now: datetime) -> None:
        log.warning("%s %s: %s", payload["action"], payload["resource"], payload["reason"])
        if self._bus is not None:
            event_id = event_ids([now])[0]
            event = Event(event_id, EventKind.ALERT, now, spender.agent, spender.session, payload)
            self._bus.publish([event], droppable=True)

"""Tells the bus when a threshold is passed, or a bill was higher than what was reserved for it."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from agentguard.core import Event, EventKind
from agentguard.events import event_ids
from agentguard.spend._account import amount_text
from agentguard.spend._budget import Budget, Budgets, budget_of_meter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from agentguard.core import EventBus, Rise, Spender

STOP = "spend.stop"
_ALL = 100

log = logging.getLogger("agentguard.spend")


class Alerts:
    """Events of kind `alert` (`spend.threshold`, `spend.overrun`, `spend.stop`), and a line in the log for each."""

    def __init__(self, budgets: Budgets, bus: EventBus | None) -> None:
        self.budgets = budgets
        self._bus = bus
        self._held = threading.local()

    @contextmanager
    def after(self) -> Iterator[None]:
        """Tell what this thread finds inside at the end, and nothing of it where that raises."""
        held: list[Event] = []
        self._held.events = held
        try:
            yield
        finally:
            self._held.events = None
        for event in held:
            self._publish(event)

    def rises(self, rises: Sequence[Rise], spender: Spender, now: datetime) -> None:
        """Tell of each threshold that what is booked has passed; the ledger tells each rise once."""
        for rise in rises:
            budget_id, value = budget_of_meter(rise.meter)
            budget = self.budgets.budget(budget_id)
            for step in budget.steps if budget is not None else ():
                if budget is not None and rise.before < step.amount <= rise.after:
                    # The claim's own limit is higher where people have let somebody past the budget's.
                    spent, limit = (
                        amount_text(budget.unit, rise.after),
                        amount_text(budget.unit, budget.limit),
                    )
                    self._tell(
                        {
                            "action": "spend.threshold",
                            "resource": f"budget/{budget.id}",
                            "reason": f"{step.percent} % of the {budget.scope}'s budget is spent: {spent} of {limit}",
                            "scope": budget.scope,
                            "of": value,
                            "percent": step.percent,
                            "severity": "high" if step.percent >= _ALL else "medium",
                            "unit": budget.unit.value,
                            "spent": rise.after,
                            "limit": budget.limit,
                        },
                        spender,
                        now,
                    )

    def stop(self, budget: Budget, reason: str, spender: Spender, now: datetime) -> None:
        """Tell whoever runs the agent that it is to be frozen or ended: its call found no room."""
        if budget.stop != "deny":
            self._tell(
                {
                    "action": STOP,
                    "resource": f"budget/{budget.id}",
                    "reason": reason,
                    "stop": budget.stop,
                    "severity": "high",
                    "key": spender.key,
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
        event = Event(event_ids([now])[0], EventKind.ALERT, now, spender.agent, spender.session, payload)
        held: list[Event] | None = getattr(self._held, "events", None)
        if held is None:
            self._publish(event)
        else:
            held.append(event)

    def _publish(self, event: Event) -> None:
        payload = event.payload
        log.warning("%s %s: %s", payload["action"], payload["resource"], payload["reason"])
        if self._bus is not None:
            self._bus.publish([event], droppable=True)

"""The budgets that model calls are held to, as enforcement sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from agentguard.core import SpendAnswer, Spender, SpendQuestion
    from agentguard.spend import Admission, Call, Report, Settlement


class Budgets(Protocol):
    """Reserves before a call what it may cost, and books after it what it did; a `BudgetKeeper` is one."""

    def reserve(self, call: Call, spender: Spender, *, attempt: str) -> Admission:
        """Return whether the budgets let a call pass, with what it may cost reserved if they do. Never raises."""

    def settle(self, admission: Admission, report: Report | None, *, estimated: bool = False) -> Settlement:
        """Book what a call cost. Raises SpendError if nothing is booked."""

    def release(self, admission: Admission) -> Settlement:
        """Give back what was reserved. Raises SpendError if nothing is given back."""

    def grant(self, question: SpendQuestion, given_at: datetime) -> None:
        """Go on past a threshold: people said yes to it."""

    def turn_down(self, admission: Admission, answer: SpendAnswer) -> Admission:
        """Return the refusal of a call whose question got an answer that is no yes."""

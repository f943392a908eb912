"""What was spent, refused and overrun, as figures for a scrape; how many different names they have is bounded."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import Level, SpendError, SpendHistory, Unit
from agentguard.spend._account import Account
from agentguard.spend._budget import budget_of_meter

if TYPE_CHECKING:
    from datetime import datetime

    from agentguard.core import Ledger, Spender
    from agentguard.spend._budget import Budget, Budgets

OTHER = "other"
MOST_NAMES = 500
MOST_ACCOUNTS = 100
# A session, a task and a token are new every time: they are for reports, not for figures.
_SCOPES = frozenset(("organisation", "project", "agent", "model"))

Who = tuple[str, str, str]


class Standing(msgspec.Struct, frozen=True):
    """How far one account of a budget is used in the present window."""

    budget: str
    scope: str
    value: str
    unit: Unit
    level: Level


class SpendFigures(msgspec.Struct, frozen=True):
    """Since this process began, by project, agent and model: micro-dollars, calls, overruns; and refusals by code."""

    spent: dict[Who, int]
    calls: dict[Who, int]
    overruns: dict[Who, int]
    refused: dict[tuple[Who, str], int]
    standings: list[Standing]


class Figures:
    """Counts what a keeper does. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: set[Who] = set()
        self._spent: Counter[Who] = Counter()
        self._calls: Counter[Who] = Counter()
        self._overruns: Counter[Who] = Counter()
        self._refused: Counter[tuple[Who, str]] = Counter()

    def booked(self, spender: Spender, model: str, micro_usd: int, *, overrun: bool) -> None:
        """Count a call that was booked."""
        with self._lock:
            who = self._who(spender, model)
            self._spent[who] += micro_usd
            self._calls[who] += 1
            self._overruns[who] += overrun

    def refused(self, spender: Spender, model: str, code: str) -> None:
        """Count a call that was not admitted; `code` is one of ours."""
        with self._lock:
            self._refused[self._who(spender, model), code] += 1

    def read(self, standings: list[Standing]) -> SpendFigures:
        """Return all of it."""
        with self._lock:
            return SpendFigures(
                dict(self._spent), dict(self._calls), dict(self._overruns), dict(self._refused), standings
            )

    def _who(self, spender: Spender, model: str) -> Who:
        who = (spender.project, spender.agent, model)
        if who not in self._known:
            # Agents choose the names of models.
            if len(self._known) >= MOST_NAMES:
                return (spender.project, OTHER, OTHER)
            self._known.add(who)
        return who


def standings_of(budgets: Budgets, ledger: Ledger, now: datetime) -> list[Standing]:
    """Return the accounts that have something in their present window: of each budget `MOST_ACCOUNTS` at most.

    Empty where the ledger keeps no history, or cannot be asked.
    """
    if not isinstance(ledger, SpendHistory):
        return []
    found: list[Standing] = []
    try:
        for budget in budgets.budgets:
            if budget.scope in _SCOPES:
                found += _of_budget(budget, ledger, ledger, now)
    except SpendError:
        return []
    return found


def _of_budget(budget: Budget, ledger: Ledger, history: SpendHistory, now: datetime) -> list[Standing]:
    meters = history.meters(budget.meter(""), limit=MOST_ACCOUNTS)
    values = [budget_of_meter(meter)[1] for meter in meters]
    levels = ledger.levels([Account(budget, value).claim(now, {}) for value in values])
    return [
        Standing(budget.id, budget.scope, value, budget.unit, level)
        for value, level in zip(values, levels, strict=True)
        if level.used
    ]

"""Accounts: a budget, and whose part of it a call goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agentguard.core import MOST_AMOUNT, SpendQuestion
from agentguard.spend._budget import MICRO, MONEY, Budget, Budgets, Step

if TYPE_CHECKING:
    from datetime import datetime

    from agentguard.core import Claim, Level, Spender, Unit

_PERCENT = 100
# Who is let past a limit gets so much of it more, as often as the call needs it.
_MORE_PERCENT = 10


class Account(msgspec.Struct, frozen=True):
    """One budget's account of one spender or model; people have let who asks use it until `until`."""

    budget: Budget
    value: str
    until: int = 0

    def claim(self, now: datetime, amounts: dict[Unit, int]) -> Claim:
        """Return the claim of a call that counts so much."""
        claim = self.budget.claim(self.value, now, amounts.get(self.budget.unit, 0))
        return claim if self.until <= claim.limit else msgspec.structs.replace(claim, limit=self.until)

    def asks(self, level: Level, amount: int) -> tuple[Step, int] | None:
        """Return the threshold at which people have to be asked, and until what they would let it be used.

        What does not fit is theirs to let through where they are asked at the limit; else nobody can.
        """
        asking = [step for step in self.budget.steps if step.do == "ask"]
        if level.used + amount > level.limit:
            if not asking or asking[-1].percent != _PERCENT:
                return None
            # In whole steps, so that calls that need about as much ask the same.
            step = max(self.budget.limit * _MORE_PERCENT // _PERCENT, 1)
            steps = -(-(level.used + amount - level.limit) // step)
            return asking[-1], min(level.limit + steps * step, MOST_AMOUNT)
        reached = [step for step in asking if self.until <= step.amount <= level.used]
        if not reached:
            return None
        after = [step.amount for step in asking if step.amount > reached[-1].amount]
        return reached[-1], max(after[0] if after else self.budget.limit, reached[-1].amount + 1)

    def question(
        self, asked: tuple[Step, int], level: Level, *, who: str, model: str, amount: int, now: datetime
    ) -> SpendQuestion:
        """Return what people are asked at a threshold that `asks` returned."""
        step, until = asked
        budget, unit = self.budget, self.budget.unit
        ends = budget.span(now).ends
        used, limit = amount_text(unit, level.used), amount_text(unit, level.limit)
        how_long = "" if ends is None else f", in the window that ends {ends:%Y-%m-%d %H:%M} UTC"
        return SpendQuestion(
            who,
            budget.id,
            budget.scope,
            self.value,
            unit,
            budget.window_name(now),
            step.percent,
            level.used,
            budget.limit,
            until,
            amount,
            model,
            f"{self.text} is used up to {used} of {limit}, and a call of `{model}` for {amount_text(unit, amount)} at most"
            f" waits; approved, `{who}` may use it until {amount_text(unit, until)}{how_long}",
            ends,
            budget.rolling.total_seconds(),
        )

    def met(self, level: Level, amount: int) -> list[Step]:
        """Return the thresholds that are reached, the highest first; all of them, if the amount does not fit."""
        reach = level.used if level.used + amount <= level.limit else level.limit
        return [step for step in reversed(self.budget.steps) if step.amount <= reach]

    @property
    def text(self) -> str:
        """The account in words."""
        budget = self.budget
        return f"budget `{budget.id}` of the {budget.scope} `{self.value}`"

    def shortage(self, level: Level, amount: int) -> str:
        """Say in words that an amount does not fit."""
        unit = self.budget.unit
        used, limit = amount_text(unit, level.used), amount_text(unit, level.limit)
        return f"{self.text} has no room: {used} of {limit} used, {amount_text(unit, amount)} needed"

    def reached(self, level: Level) -> str:
        """Say in words how far it is used."""
        percent = level.used * _PERCENT // level.limit if level.limit else _PERCENT
        return f"{self.text} is {percent} % used"


def accounts_of(budgets: Budgets, spender: Spender, model: str, units: frozenset[Unit]) -> list[Account]:
    """Return the accounts that a call goes on; one of no model has no account by model."""
    found = []
    for budget in budgets.budgets:
        if budget.unit in units and (model or budget.scope != "model"):
            value = budget.value(spender, model)
            if value is not None:
                found.append(Account(budget, value))
    return found


def amount_text(unit: Unit, amount: int) -> str:
    """Return an amount as people write it: `1.25 USD`, `300 tokens`."""
    if unit in MONEY:
        return f"{usd_text(amount)} USD"
    return f"{amount} {unit.value if amount != 1 else unit.value.removesuffix('s')}"


def usd_text(micro: int) -> str:
    """Return micro-dollars as dollars: with cents, and as many more places as it takes."""
    whole, rest = divmod(abs(micro), MICRO)
    places = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"{'-' if micro < 0 else ''}{whole}.{places}"

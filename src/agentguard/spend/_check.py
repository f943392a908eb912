"""What is probably not meant in `budgets.yaml`, although it can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agentguard.core import Unit
from agentguard.spend._account import amount_text
from agentguard.spend._call import prices_for
from agentguard.spend._prices import dearest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from agentguard.spend._budget import Budget, Budgets, Step
    from agentguard.spend._prices import PriceTable


class BudgetFinding(msgspec.Struct, frozen=True):
    """Something about one budget, name or price that is probably not meant."""

    subject: str
    message: str


def check_budgets(budgets: Budgets, table: PriceTable, now: datetime) -> list[BudgetFinding]:
    """Return what is probably not meant."""
    return [*_of_budgets(budgets, table, now), *_of_names(budgets, table, now)]


def _of_budgets(budgets: Budgets, table: PriceTable, now: datetime) -> Iterator[BudgetFinding]:
    for budget in budgets.budgets:
        if budget.limit == 0:
            yield BudgetFinding(
                budget.id, f"has a limit of {amount_text(budget.unit, 0)}: nothing passes that counts"
            )
        if budget.unit is Unit.TOOL_COST and not budgets.tools:
            yield BudgetFinding(budget.id, "counts what actions cost, and `tools` gives no action a price")
        if budget.unit is Unit.TOOL_COST and budget.scope == "model":
            yield BudgetFinding(budget.id, "holds for nothing: an action has no model")
        for step in budget.steps:
            yield from _of_step(budget, step, table, now)


def _of_step(budget: Budget, step: Step, table: PriceTable, now: datetime) -> Iterator[BudgetFinding]:
    if budget.unit is Unit.TOOL_COST and step.do == "downgrade":
        yield BudgetFinding(budget.id, "would replace a model, and it counts what actions cost")
    for glob, model in step.to:
        cheap = [
            prices
            for provider in table.providers
            if (prices := prices_for(table.find(provider, model), "", now)) is not None
        ]
        if not cheap:
            yield BudgetFinding(budget.id, f"replaces models by `{model}`, whose price nobody knows")
            continue
        dear = [
            prices
            for provider in table.providers
            if glob.is_literal
            and (prices := prices_for(table.find(provider, glob.text), "", now)) is not None
        ]
        if dear and min(dearest(each.output) for each in cheap) >= max(dearest(each.output) for each in dear):
            yield BudgetFinding(budget.id, f"replaces `{glob.text}` by `{model}`, which is no cheaper")


def _of_names(budgets: Budgets, table: PriceTable, now: datetime) -> Iterator[BudgetFinding]:
    for (provider, name), model in budgets.aliases.items():
        if prices_for(table.find(provider, model), "", now) is None:
            yield BudgetFinding(name, f"stands for `{model}`, whose price at `{provider}` nobody knows")

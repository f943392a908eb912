"""What was spent, as Prometheus has it: money in dollars, names as bounded as `spend` bounds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from agentguard.spend import MONEY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

    from agentguard.spend import SpendFigures

_MICRO = 1_000_000
_WHO = ("project", "agent", "model")
_ACCOUNT = ("budget", "scope", "of", "unit")


def spend_figures(figures: SpendFigures) -> Iterable[Metric]:
    """Yield the figures of what was spent, and how far budgets are used."""
    spent = CounterMetricFamily("agentguard_spend_usd", "Dollars booked since the start", labels=_WHO)
    calls = CounterMetricFamily("agentguard_spend_calls", "Calls booked since the start", labels=_WHO)
    overruns = CounterMetricFamily(
        "agentguard_spend_overruns", "Bills above what was reserved for them", labels=_WHO
    )
    refused = CounterMetricFamily(
        "agentguard_spend_refused", "Calls that the budgets did not let pass", labels=(*_WHO, "code")
    )
    for who, micro in figures.spent.items():
        spent.add_metric(who, micro / _MICRO)
        calls.add_metric(who, figures.calls[who])
        overruns.add_metric(who, figures.overruns.get(who, 0))
    for (who, code), count in figures.refused.items():
        refused.add_metric((*who, code), count)
    yield from (spent, calls, overruns, refused)
    used = {
        name: GaugeMetricFamily(
            f"agentguard_budget_{name}", f"{text}, in the present window", labels=_ACCOUNT
        )
        for name, text in (
            ("spent", "What is booked on an account of a budget"),
            ("reserved", "What is reserved on it"),
            ("limit", "The most that both may be"),
        )
    }
    for each in figures.standings:
        labels = (each.budget, each.scope, each.value, each.unit.value)
        share = _MICRO if each.unit in MONEY else 1
        for name, family in used.items():
            family.add_metric(labels, getattr(each.level, name) / share)
    yield from used.values()

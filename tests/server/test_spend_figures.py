from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from agentguard.core import Level, Unit
from agentguard.server._spend_figures import spend_figures
from agentguard.spend import SpendFigures, Standing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

WHO = ("shop", 'bob"\n', "gpt-4o")
FIGURES = SpendFigures(
    {WHO: 1_250_000},
    {WHO: 3},
    {},
    {(WHO, "budget_exceeded"): 2},
    [
        Standing("day", "agent", "bob", Unit.USD, Level("m", 1_250_000, 500_000, 20_000_000)),
        Standing("calls", "project", "shop", Unit.CALLS, Level("m", 3, 1, 100)),
    ],
)


class _Figures(Collector):
    def collect(self) -> Iterable[Metric]:
        return spend_figures(FIGURES)


def test_spend_is_told_in_dollars_and_whole_units_with_names_that_cannot_break_out() -> None:
    registry = CollectorRegistry()
    registry.register(_Figures())
    lines = generate_latest(registry).decode().splitlines()
    who = r'{agent="bob\"\n",model="gpt-4o",project="shop"}'
    for line in (
        f"agentguard_spend_usd_total{who} 1.25",
        f"agentguard_spend_calls_total{who} 3.0",
        f"agentguard_spend_overruns_total{who} 0.0",
        'agentguard_budget_spent{budget="day",of="bob",scope="agent",unit="usd"} 1.25',
        'agentguard_budget_reserved{budget="day",of="bob",scope="agent",unit="usd"} 0.5',
        'agentguard_budget_limit{budget="calls",of="shop",scope="project",unit="calls"} 100.0',
    ):
        assert line in lines
    assert any(line.startswith("agentguard_spend_refused_total") and line.endswith("2.0") for line in lines)

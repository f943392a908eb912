from __future__ import annotations

from typing import TYPE_CHECKING

from agentguard.backends import SqliteLedger
from agentguard.core import Spender, Unit, Usage
from agentguard.spend import Report
from agentguard.spend._figures import MOST_NAMES, OTHER, Figures
from spending import chat, desk

if TYPE_CHECKING:
    from pathlib import Path

BOB = Spender(project="demo", agent="bob", session="s-1")
TEXT = """budgets:
  - {id: day, scope: agent, window: daily, unit: usd, limit: 0.03}
  - {id: sessions, scope: session, window: total, unit: calls, limit: 100}
"""


def test_figures_tell_what_was_spent_refused_and_overrun_and_how_far_budgets_are_used(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.sqlite")
    world = desk(tmp_path, TEXT, ledger=ledger)
    first = world.keeper.reserve(chat(), BOB, attempt="one")
    world.keeper.reserve(chat(), BOB, attempt="two")
    assert not world.keeper.reserve(chat(), BOB, attempt="three").is_admitted
    world.keeper.settle(first, Report(Usage(input_tokens=2_000, output_tokens=1_000), "gpt-4o"))
    world.keeper.settle(first, Report(Usage(input_tokens=9_000, output_tokens=1_000), "gpt-4o"))
    figures = world.keeper.figures()
    who = ("demo", "bob", "gpt-4o")
    assert (figures.spent, figures.calls, figures.overruns) == ({who: 15_000}, {who: 1}, {who: 1})
    assert figures.refused == {(who, "budget_exceeded"): 1}
    # A session is no name for a figure.
    (standing,) = figures.standings
    assert (standing.budget, standing.value, standing.unit) == ("day", "bob", Unit.USD)
    assert (standing.level.spent, standing.level.reserved, standing.level.limit) == (15_000, 12_500, 30_000)
    ledger.close()
    assert world.keeper.figures().standings == []


def test_names_that_agents_choose_are_bounded() -> None:
    figures = Figures()
    for number in range(MOST_NAMES + 7):
        figures.booked(BOB, f"model-{number}", 1, overrun=False)
    found = figures.read([])
    assert len(found.spent) == MOST_NAMES + 1
    assert found.spent["demo", OTHER, OTHER] == 7

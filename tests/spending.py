"""A project's budgets for tests: real prices, a ledger in memory, a clock that is set by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agentguard.backends import MemoryLedger
from agentguard.events import InProcessBus
from agentguard.spend import Api, BudgetKeeper, Budgets, Call, load_budgets, load_prices

if TYPE_CHECKING:
    from pathlib import Path

    from agentguard.core import Event, Ledger

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@dataclass
class HandClock:
    """A clock that stands still until it is set."""

    time: datetime = NOW

    def now(self) -> datetime:
        return self.time


@dataclass
class Desk:
    """A keeper, and all that it works with."""

    keeper: BudgetKeeper
    ledger: Ledger
    clock: HandClock
    bus: InProcessBus = field(default_factory=InProcessBus)

    def __post_init__(self) -> None:
        self._place = self.bus.subscribe("test")

    def events(self) -> list[Event]:
        """Return what was published since the last look."""
        return self._place.take(1_000, timeout_s=0)


def budgets_of(folder: Path, text: str) -> Budgets:
    """Return what a `budgets.yaml` with this text says."""
    path = folder / "budgets.yaml"
    path.write_text("version: 1\n" + text, encoding="utf-8")
    return load_budgets(path, name="budgets.yaml")


def desk(folder: Path, text: str, *, ledger: Ledger | None = None) -> Desk:
    """Return a keeper of the budgets in this text."""
    budgets = budgets_of(folder, text)
    clock, bus, held = HandClock(), InProcessBus(), ledger or MemoryLedger()
    keeper = BudgetKeeper(
        budgets,
        load_prices(own=budgets.prices),
        held,
        clock=clock,
        bus=bus,
        digest=lambda prompt: f"d{len(prompt)}",
    )
    return Desk(keeper, held, clock, bus)


def chat(model: str = "gpt-4o", *, tokens: int = 1_000, most: int | None = 1_000, **more: object) -> Call:
    """Return a call of a chat model with an input of so many tokens at most."""
    return Call("openai", model, tokens * 3, Api.CHAT, most, **more)  # type: ignore[arg-type]  # fields by name

"""What it costs to hold a call to its budgets, and a race of many processes: `python -m benchmarks spend`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentguard.backends import MemoryLedger, SqliteLedger
from agentguard.core import Spender, Usage
from agentguard.spend import (
    Api,
    BudgetKeeper,
    Call,
    Report,
    StreamUsage,
    cost_of,
    load_budgets,
    load_prices,
    read_report,
)
from benchmarks.measure import best_s, cost
from benchmarks.report import COST_COLUMNS, cost_cells, table

if TYPE_CHECKING:
    from agentguard.core import Ledger

ROOT = Path(__file__).resolve().parent.parent
ADMISSIONS, PROCESSES = 100_000, 16
BUDGETS = """version: 1
budgets:
  - {id: project, scope: project, window: monthly, unit: usd, limit: 1000000}
  - {id: agent, scope: agent, window: daily, tz: Europe/Berlin, unit: usd, limit: 1000000}
  - {id: session, scope: session, window: rolling, within: 5h, unit: calls, limit: 100000000}
"""
WHO = Spender(project="demo", agent="bob", session="s-1")
CALL = Call("openai", "gpt-4o-2024-08-06", 6_000, max_output_tokens=500)
BODY = {
    "model": "gpt-4o-2024-08-06",
    "usage": {
        "prompt_tokens": 1_900,
        "completion_tokens": 120,
        "prompt_tokens_details": {"cached_tokens": 1_024},
    },
}
CHUNK = {"model": "gpt-4o", "choices": [{"delta": {"content": " token"}}], "usage": None}


def keeper(folder: Path, ledger: Ledger) -> BudgetKeeper:
    path = folder / "budgets.yaml"
    path.write_text(BUDGETS, encoding="utf-8")
    return BudgetKeeper(load_budgets(path), load_prices(), ledger)


def _pair(desk: BudgetKeeper) -> Any:
    names, report = count(), Report(Usage(input_tokens=1_900, output_tokens=120), "gpt-4o-2024-08-06")

    def pair(call: Call) -> None:
        admission = desk.reserve(call, WHO, attempt=f"n-{next(names)}")
        desk.settle(admission, report)

    return pair


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sqlite = SqliteLedger(folder / "ledger.sqlite")
        stream = StreamUsage(Api.CHAT)
        model = load_prices().find("openai", "gpt-4o")
        assert model is not None
        prices, usage = (
            model.prices[0].prices,
            Usage(input_tokens=1_900, cache_read_tokens=1_024, output_tokens=120),
        )
        rows = [
            (
                "reserve and settle, memory",
                *cost_cells(cost(_pair(keeper(folder, MemoryLedger())), [CALL], calls=2_000)),
            ),
            (
                "reserve and settle, SQLite",
                *cost_cells(cost(_pair(keeper(folder, sqlite)), [CALL], calls=1_000)),
            ),
            (
                "read a report",
                *cost_cells(cost(lambda body: read_report(Api.CHAT, body), [BODY], calls=20_000)),
            ),
            ("count one event of a stream", *cost_cells(cost(stream.feed, [CHUNK], calls=20_000))),
            (
                "work out an invoice",
                *cost_cells(cost(lambda each: cost_of(each, prices), [usage], calls=20_000)),
            ),
        ]
        sqlite.close()
        table("a call under three budgets (project, agent, session)", ("", *COST_COLUMNS), rows)
    from agentguard.spend._prices import _shipped

    def load() -> None:
        _shipped.cache_clear()
        load_prices()

    best, median = best_s(load)
    table("reading the price list", ("", "best ms", "median ms"), [("prices.json", best * 1e3, median * 1e3)])
    race()


def race() -> None:
    """Let processes loose on one ledger, killing one every half second; then the same with a look and a write."""
    rows = []
    for name, more, asked in (("ours", [], ADMISSIONS), ("look, then write", ["--naive"], ADMISSIONS // 10)):
        command = [sys.executable, str(ROOT / "tests" / "ledger_race.py"), str(asked), str(PROCESSES), *more]
        done = subprocess.run(
            command, capture_output=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}
        )
        found = json.loads(done.stdout)
        rows.append(
            (
                name,
                found["asked"],
                found["killed"],
                found["breaches"],
                found["excess_micro_usd"],
                found["seconds"],
            )
        )
        if not more and (found["breaches"] or found["meters_that_differ_from_history"]):
            raise SystemExit(f"over-admission: {found}")
    columns = ("", "asked", "killed", "breaches", "over, µUSD in all", "s")
    table(f"{PROCESSES} processes on one ledger", columns, rows)


if __name__ == "__main__":
    main()

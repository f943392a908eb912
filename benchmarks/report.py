"""Tables for people, and the same figures as JSON for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.measure import Cost

COST_COLUMNS = ("p50 µs", "p99 µs", "cpu µs", "per second")

tables: list[dict[str, Any]] = []
"""Every table that was printed since this list was last cleared, in order."""


def table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, notes: Sequence[str] = ()
) -> None:
    """Print one table, its first column to the left and the rest to the right, and keep it."""
    texts = [[_text(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *texts, strict=True)]
    print(f"\n{title}")
    for row in (list(columns), *texts):
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
        ]
        print("  " + "  ".join(cells).rstrip())
    for note in notes:
        print(f"  {note}")
    tables.append(
        {
            "title": title,
            "rows": [dict(zip(("name", *columns[1:]), row, strict=True)) for row in rows],
            "notes": list(notes),
        }
    )


def cost_cells(cost: Cost) -> tuple[float, float, float, int]:
    """Return the cells under `COST_COLUMNS`."""
    return cost.p50, cost.p99, cost.cpu, round(cost.rate)


def _text(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.2f}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)

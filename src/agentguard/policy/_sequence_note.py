"""What one rule asks of its cell, and what it notes there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from agentguard.policy._sequence_cells import Cell, Mark, Seen, Tally, total_with
from agentguard.policy._sequence_compile import CompiledLimit, CompiledRisk, CompiledSequence

if TYPE_CHECKING:
    from agentguard.policy._sequence_measure import Measured
    from agentguard.policy._sequence_scope import ScopeState
    from agentguard.policy._sequence_set import Counted

Undo = Callable[[], None]


def problem(entry: Counted, cell: Cell | None, now: float, measured: Measured) -> bool:
    """Tell whether the rule stops a request that comes `now`, and adds `measured`."""
    if isinstance(entry, CompiledSequence):
        recent = isinstance(cell, Mark) and now - cell.at <= entry.window
        return recent is not entry.needs
    if measured is None:
        # What cannot be measured could be anything.
        return True
    if isinstance(measured, str):
        if not isinstance(cell, Seen):
            return False
        cell.expire(now, entry.window)
        return measured not in cell.values and len(cell.values) >= entry.ceiling
    if isinstance(cell, Tally):
        cell.expire(now, entry.window)
        return total_with(cell, measured) > entry.ceiling
    return total_with(Tally(), measured) > entry.ceiling


def note(entry: Counted | CompiledRisk, state: ScopeState, measured: Measured) -> Undo:
    """Note a request at the time of `state`; return what takes that back."""
    if isinstance(entry, CompiledSequence):
        return _mark(entry, state)
    if isinstance(entry, CompiledLimit) and entry.distinct:
        return _see(entry, state, measured)
    return _count(entry, state, measured)


def _mark(entry: CompiledSequence, state: ScopeState) -> Undo:
    cells, name = state.cells, entry.digest
    before, mark = cells.get(name), Mark(state.seen, state.order)
    cells[name] = mark

    def undo() -> None:
        if cells.get(name) is mark:
            if before is None:
                del cells[name]
            else:
                cells[name] = before

    return undo


def _see(entry: CompiledLimit, state: ScopeState, measured: Measured) -> Undo:
    seen = state.cells.get(entry.digest)
    if not isinstance(seen, Seen):
        seen = state.cells[entry.digest] = Seen()
    if not isinstance(measured, str) or (measured not in seen.values and len(seen.values) >= entry.ceiling):
        # Only where it was decided elsewhere: the bound on memory holds, and the limit is reached already.
        return _nothing
    known, at, values = measured in seen.values, state.seen, seen.values
    seen.add(at, measured)

    def undo() -> None:
        # A value that was seen before stays at the later time, which is stricter.
        if not known and values.get(measured) == at:
            del values[measured]

    return undo


def _count(entry: CompiledLimit | CompiledRisk, state: ScopeState, measured: Measured) -> Undo:
    tally = state.cells.get(entry.digest)
    if not isinstance(tally, Tally):
        tally = state.cells[entry.digest] = Tally()
    if measured is None or isinstance(measured, str):
        # Only where it was decided elsewhere: it uses up all there is.
        assert isinstance(entry, CompiledLimit)
        measured = entry.ceiling
    counted, amount, at, window = tally, measured, state.seen, entry.window
    counted.expire(at, window)
    counted.add(at, amount, window)

    def undo() -> None:
        counted.remove(at, amount, state.seen, window)

    return undo


def _nothing() -> None:
    pass

"""What one rule asks of its cell, what it notes there, and how that is taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentguard.policy._sequence_cells import UNIT, Cell, Mark, Seen, Tally
from agentguard.policy._sequence_compile import CompiledLimit, CompiledRisk, CompiledSequence

if TYPE_CHECKING:
    from agentguard.policy._sequence_measure import Measured
    from agentguard.policy._sequence_scope import ScopeState
    from agentguard.policy._sequence_set import Counted

# What was noted: by which rule, where, what, when, and what stood there before.
Noted = tuple["Counted | CompiledRisk", "ScopeState", "Mark | int | str", float, "Mark | float | None"]


def stops(entry: Counted, cell: Cell | None, now: float, measured: Measured) -> bool:
    """Tell whether the rule stops a request that comes `now`, and adds `measured`."""
    if isinstance(entry, CompiledSequence):
        return (isinstance(cell, Mark) and now - cell.at <= entry.window) is not entry.needs
    if isinstance(measured, int):
        if isinstance(cell, Tally):
            cell.expire(now, entry.window)
            return cell.total + measured > entry.ceiling
        return measured > entry.ceiling
    if measured is None:
        # What cannot be measured could be anything.
        return True
    if not isinstance(cell, Seen):
        return len(measured) > entry.ceiling
    cell.expire(now, entry.window)
    return len(cell.values) + sum(each not in cell.values for each in measured) > entry.ceiling


def note(entry: Counted | CompiledRisk, state: ScopeState, measured: Measured | str, by: str) -> Noted:
    """Note a request for the action `by` at the time of `state`, one value at a time; return what takes that back."""
    name, at = entry.digest, state.seen
    cell = state.cells.get(name)
    if isinstance(entry, CompiledSequence):
        mark = state.cells[name] = Mark(at, state.order, by)
        return entry, state, mark, at, cell if isinstance(cell, Mark) else None
    if isinstance(entry, CompiledLimit) and entry.distinct:
        # A value that is missing is a value of its own, where it was decided elsewhere.
        value = measured if isinstance(measured, str) else ""
        if not isinstance(cell, Seen):
            cell = state.cells[name] = Seen()
        before = cell.values.get(value)
        cell.add(at, value, entry.ceiling + 1)
        return entry, state, value, at, before
    if not isinstance(cell, Tally):
        cell = state.cells[name] = Tally()
    if not isinstance(measured, int):
        # Only where it was decided elsewhere: it uses up all there is.
        measured = entry.ceiling if isinstance(entry, CompiledLimit) else UNIT
    if cell.entries and at - cell.entries[0][0] > entry.window:
        cell.expire(at, entry.window)
    return entry, state, cell.add(at, measured, entry.window), at, None


def take_back(noted: Noted) -> None:
    """Undo one note. What other requests noted since stays, and where both cannot be told apart, so does this."""
    entry, state, what, at, before = noted
    cells, name = state.cells, entry.digest
    cell = cells.get(name)
    if isinstance(what, Mark):
        if cell is what:
            if isinstance(before, Mark):
                cells[name] = before
            else:
                del cells[name]
    elif isinstance(cell, Tally) and isinstance(what, int):
        cell.remove(at, what, state.seen, entry.window)
    elif isinstance(cell, Seen) and isinstance(what, str) and not isinstance(before, Mark):
        cell.remove(at, what, before)

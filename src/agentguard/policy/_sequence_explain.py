"""What counted when a rule about more than one request stopped one, in words: how much, since when, until when.

Only counts, times and names of actions are told. A total of amounts is left out where the action's schema says
that the amount is secret.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from agentguard.policy._sequence_cells import FOREVER, UNIT, Cell, Mark, Seen, Tally
from agentguard.policy._sequence_compile import CompiledBreaker, CompiledLimit, CompiledRisk, CompiledSequence

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentguard.core import Action
    from agentguard.policy._sequence_measure import Measured
    from agentguard.policy._sequence_set import Counted

_MINUTE_S = 60
_SPANS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def stopped_text(entry: Counted, cell: Cell | None, now: float, measured: Measured, action: Action) -> str:
    """Return why `entry` stops a request for `action` that comes `now`, and when it will be free again."""
    if isinstance(entry, CompiledSequence):
        return _sequence_text(entry, cell, now)
    if measured is None:
        path = entry.rule.sum or entry.rule.distinct
        return f"`{path}` is missing or cannot be counted, so that the limit may be passed"
    if isinstance(measured, int):
        tally = cell if isinstance(cell, Tally) else Tally()
        return _tally_text(entry, tally, now, measured, conceal=_conceals(entry, action))
    seen = cell if isinstance(cell, Seen) else Seen()
    most, window = entry.ceiling, entry.window
    # They stand in the order of their times, that longest ago first; one more than the limit may be kept.
    more = sum(each not in seen.values for each in measured)
    over = len(seen.values) + more - most
    leaves = islice(seen.values.values(), over - 1, over) if more <= most else ()
    another = "this is another" if more == 1 else f"here are {more} more"
    return (
        f"{min(len(seen.values), most)} of {most} different ones so far{_within(entry)}, and {another}"
        + _free([at + window for at in leaves], now)
    )


def paused_text(entry: CompiledBreaker, until: float, now: float) -> str:
    """Return for how long the breaker still denies."""
    rule = entry.rule
    return f"{rule.denials} denials within {rule.within}; paused for another {_span(until - now)}"


def risk_text(entry: CompiledRisk, tally: Tally | None, now: float, score: int) -> str:
    """Return how the sum of risk scores came about; `score` is in millionths."""
    known = tally or Tally()
    before = known.total
    deny = before + score >= entry.deny_from
    most = (entry.deny_from if deny else entry.approval_from) - UNIT
    what = "denied" if deny else "asked about"
    return (
        f"risk {before // UNIT} so far in {entry.rule.window}, {score // UNIT} more make"
        f" {(before + score) // UNIT}; from {(most + UNIT) // UNIT} on it is {what}"
        + _free(_leaving(known.entries, before + score - most, entry.window), now)
    )


def _sequence_text(entry: CompiledSequence, cell: Cell | None, now: float) -> str:
    first = f"`{entry.first.text}`"
    if not isinstance(cell, Mark):
        within = f" in the last {entry.rule.within}" if entry.rule.within else ""
        return f"{first} did not come before{within}"
    what = f"`{cell.by}`" if cell.by else first
    ago = _span(now - cell.at)
    if entry.needs:
        return f"{what} came {ago} ago, which is longer than {entry.rule.within}"
    ends = [f"in {_span(cell.at + entry.window - now)}"] if entry.window != FOREVER else []
    if entry.cancel is not None:
        ends.append(f"after `{entry.cancel.text}`")
    if not ends:
        return f"{what} came {ago} ago in this {entry.rule.scope.value}"
    return f"{what} came {ago} ago; free again {' or '.join(ends)}"


def _tally_text(entry: CompiledLimit, tally: Tally, now: float, measured: int, *, conceal: bool) -> str:
    most = entry.ceiling
    free = _free(_leaving(tally.entries, tally.total + measured - most, entry.window), now)
    if measured > most:
        free = "; it alone is more than the limit"
    if conceal:
        return f"what came before{_within(entry)} and this request are more than the limit together{free}"
    more = "" if entry.rule.count is not None else f", {_amount(measured)} more are asked for"
    return f"{_amount(tally.total)} of {_amount(most)} so far{_within(entry)}{more}{free}"


def _within(entry: CompiledLimit) -> str:
    if entry.window != FOREVER:
        return f" in {entry.rule.per}"
    return f" in this {entry.rule.scope.value}" if entry.rule.scope.value != "all" else ""


def _leaving(entries: Iterable[tuple[float, int]], over: int, window: float) -> list[float]:
    """Return when enough has left the window for `over` to be gone; nothing where it never is."""
    for at, amount in entries:
        over -= amount
        if over <= 0:
            return [at + window]
    return []


def _free(moments: list[float], now: float) -> str:
    if not moments or moments[0] == FOREVER:
        return ""
    return f"; free again in {_span(moments[0] - now)}"


def _amount(millionths: int) -> str:
    whole, part = divmod(millionths, UNIT)
    return str(whole) if not part else f"{whole}.{part:06d}".rstrip("0")


def _span(seconds: float) -> str:
    """Return a span of time with its two greatest units, as `1h 5m`; rounded up to a second."""
    left = max(0, -int(-seconds // 1))
    if left < _MINUTE_S:
        return f"{left}s"
    parts = []
    for size, unit in _SPANS:
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number}{unit}")
    return " ".join(parts[:2])


def _conceals(entry: CompiledLimit, action: Action) -> bool:
    return entry.rule.sum is not None and _has_secret(action.params)


def _has_secret(schema: object) -> bool:
    """Tell whether a schema marks anything secret, wherever it stands."""
    if isinstance(schema, dict):
        return schema.get("secret") is True or any(map(_has_secret, schema.values()))
    return isinstance(schema, list) and any(map(_has_secret, schema))

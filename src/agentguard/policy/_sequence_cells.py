"""What is remembered for one rule in one scope: small things whose size does not grow with history.

Each kind errs to the strict side: what is approximated is approximated from above.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Context, Decimal

import msgspec

EXACT = 64  # entries that are kept one by one
BUCKETS = 60  # into how many parts a window is cut beyond that
FOREVER = float("inf")

Amount = int | Decimal

# Sums never come out below the true one, and amounts count as they are written: 10 times 0.1 is 1.
_ARITHMETIC = Context(prec=40, rounding=ROUND_CEILING, traps=[])


def exact(number: float) -> Decimal:
    """Return a number as its shortest decimal form says it."""
    return Decimal(repr(number))


class Mark(msgspec.Struct, tag="mark"):
    """Something happened: last at `at`, as the scope's event number `order`."""

    at: float
    order: int


class Tally(msgspec.Struct, tag="tally"):
    """How much there was in a sliding window, or ever: `entries` are (time, amount), oldest first.

    Up to 64 entries are exact. Beyond, entries of one sixtieth of the window become one, at the later time:
    it leaves the window later than they would have, so the total is never too low.
    """

    total: Amount = 0
    entries: list[tuple[float, Amount]] = []

    def expire(self, now: float, window: float) -> None:
        """Forget what is older than the window; what is exactly as old still counts."""
        entries = self.entries
        if not entries or now - entries[0][0] <= window:
            return
        keep = 1
        while keep < len(entries) and now - entries[keep][0] > window:
            keep += 1
        for _, amount in entries[:keep]:
            self.total = _less(self.total, amount)
        del entries[:keep]
        if not entries:
            self.total = 0

    def add(self, now: float, amount: Amount, window: float) -> None:
        """Add an amount, which may not be negative; `now` never goes back."""
        self.total = _more(self.total, amount)
        if window == FOREVER:
            return
        entries = self.entries
        if len(entries) >= EXACT:
            width = window / BUCKETS
            if entries[-1][0] // width != now // width:
                self._coarsen(width)
            else:
                entries[-1] = (now, _more(entries[-1][1], amount))
                return
        entries.append((now, amount))

    def remove(self, at: float, amount: Amount, now: float, window: float) -> None:
        """Take back what was added at `at`; nothing, if it has left the window."""
        if window == FOREVER:
            self.total = _less(self.total, amount)
            return
        if now - at > window:
            return
        # The first that is not earlier is the entry itself, or the one that it was merged into.
        for place, (time, held) in enumerate(self.entries):
            if time >= at and held >= amount:
                self.total = _less(self.total, amount)
                if held == amount:
                    del self.entries[place]
                else:
                    self.entries[place] = (time, _less(held, amount))
                return

    def _coarsen(self, width: float) -> None:
        merged: list[tuple[float, Amount]] = []
        bucket = None
        for time, amount in self.entries:
            if time // width == bucket:
                merged[-1] = (time, _more(merged[-1][1], amount))
            else:
                merged.append((time, amount))
                bucket = time // width
        self.entries = merged


class Seen(msgspec.Struct, tag="seen"):
    """Different values, with the time when each was last seen, that longest ago first."""

    values: dict[str, float] = {}

    def expire(self, now: float, window: float) -> None:
        """Forget values not seen within the window."""
        while self.values:
            oldest = next(iter(self.values))
            if now - self.values[oldest] <= window:
                return
            del self.values[oldest]

    def add(self, now: float, value: str) -> None:
        """Note that a value is seen."""
        self.values.pop(value, None)
        self.values[value] = now


Cell = Mark | Tally | Seen


def total_with(tally: Tally, amount: Amount) -> Amount:
    """Return what the total would be with one more amount."""
    return _more(tally.total, amount)


def _more(one: Amount, other: Amount) -> Amount:
    if type(one) is int and type(other) is int:
        return one + other
    return _ARITHMETIC.add(Decimal(one), Decimal(other))


def _less(one: Amount, other: Amount) -> Amount:
    if type(one) is int and type(other) is int:
        return one - other
    return _ARITHMETIC.subtract(Decimal(one), Decimal(other))

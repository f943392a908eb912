"""What is remembered for one rule in one scope: small things whose size does not grow with history.

Each kind errs to the strict side: what is approximated is approximated from above.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import msgspec

EXACT = 64  # entries that are kept one by one
BUCKETS = 60  # into how many parts a window is cut beyond that
FOREVER = float("inf")
UNIT = 1_000_000  # amounts are counted in millionths: whole numbers never lose anything
MOST = 2**62  # where a total stops growing, above every limit


def millionths(number: float) -> int:
    """Return an amount in millionths as its shortest decimal form says it, rounded up; at most `MOST`."""
    if type(number) is int:
        return min(number * UNIT, MOST)
    if number >= MOST // UNIT:
        return MOST
    return int((Decimal(repr(number)) * UNIT).to_integral_value(ROUND_CEILING))


def bound(number: float) -> int:
    """Return a limit in millionths, rounded down."""
    return int((Decimal(repr(number)) * UNIT).to_integral_value(ROUND_FLOOR))


class Mark(msgspec.Struct, tag="mark"):
    """Something happened: last at `at`, as the scope's event number `order`, by the action `by`."""

    at: float
    order: int
    by: str = ""


class Tally(msgspec.Struct, tag="tally"):
    """How much there was in a sliding window, or ever: `entries` are (time, amount), oldest first.

    Up to 64 entries are exact. Beyond, entries of one sixtieth of the window become one, at the later time:
    it leaves the window later than they would have, so the total is never too low. A total for ever has no
    entries.
    """

    total: int = 0
    entries: list[tuple[float, int]] = []

    def expire(self, now: float, window: float) -> None:
        """Forget what is older than the window; what is exactly as old still counts."""
        entries = self.entries
        if not entries or now - entries[0][0] <= window:
            return
        gone = 0
        for at, amount in entries:
            if now - at <= window:
                break
            self.total -= amount
            gone += 1
        del entries[:gone]

    def add(self, now: float, amount: int, window: float) -> int:
        """Add an amount that is not negative, `now` never goes back; return how much was added."""
        total = self.total
        if total + amount > MOST:
            amount = MOST - total
        self.total = total + amount
        if window != FOREVER:
            entries = self.entries
            if len(entries) >= EXACT:
                width = window / BUCKETS
                last, held = entries[-1]
                if last // width == now // width:
                    entries[-1] = (now, held + amount)
                    return amount
                self._coarsen(width)
            entries.append((now, amount))
        return amount

    def remove(self, at: float, amount: int, now: float, window: float) -> None:
        """Take back what was added at `at`; nothing, if it has left the window."""
        if window == FOREVER:
            self.total -= amount
            return
        if now - at > window:
            return
        # The first that is not earlier is the entry itself, or the one that it was merged into.
        for place, (time, held) in enumerate(self.entries):
            if time >= at and held >= amount:
                self.total -= amount
                if held == amount:
                    del self.entries[place]
                else:
                    self.entries[place] = (time, held - amount)
                return

    def _coarsen(self, width: float) -> None:
        merged: list[tuple[float, int]] = []
        bucket = None
        for time, amount in self.entries:
            if time // width == bucket:
                merged[-1] = (time, merged[-1][1] + amount)
            else:
                merged.append((time, amount))
                bucket = time // width
        self.entries = merged


class Seen(msgspec.Struct, tag="seen"):
    """Different values, with the time when each was last seen, that longest ago first.

    One more than a limit allows is enough to know: the latest tell for how long the limit is reached.
    """

    values: dict[str, float] = {}

    def expire(self, now: float, window: float) -> None:
        """Forget values not seen within the window."""
        while self.values:
            oldest = next(iter(self.values))
            if now - self.values[oldest] <= window:
                return
            del self.values[oldest]

    def add(self, now: float, value: str, most: int) -> None:
        """Note that a value is seen; of more than `most`, that seen longest ago is forgotten."""
        self.values.pop(value, None)
        self.values[value] = now
        if len(self.values) > most:
            del self.values[next(iter(self.values))]

    def remove(self, at: float, value: str, before: float | None) -> None:
        """Take back that a value was seen at `at`; it was seen `before`, or never."""
        if self.values.get(value) == at:
            del self.values[value]
            if before is not None:
                seen = sorted([*self.values.items(), (value, before)], key=lambda item: item[1])
                self.values.clear()
                self.values.update(seen)


Cell = Mark | Tally | Seen

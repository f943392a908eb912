"""What is reserved and booked in memory, for one process."""

from __future__ import annotations

import threading
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import (
    MOST_AMOUNT,
    AttemptState,
    Bill,
    Booking,
    Claim,
    Hold,
    Level,
    Rise,
    SpendEntry,
    SpendError,
    Unit,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentguard.core import Reservation, SpendFilter

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class _Cell(msgspec.Struct):
    spent: int = 0
    reserved: int = 0


class MemoryLedger:
    """A `Ledger` and its `SpendHistory` that end with the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cells: dict[str, dict[int, _Cell]] = defaultdict(dict)
        self._open: dict[str, Reservation] = {}
        self._known: dict[str, tuple[Reservation, SpendEntry]] = {}
        self._last = 0
        self._closed = False

    def reserve(self, reservation: Reservation) -> Hold:
        """Reserve on all meters, or on none; see `Ledger.reserve`."""
        if not all(0 <= claim.amount <= MOST_AMOUNT for claim in reservation.claims):
            raise SpendError("an amount is negative or too large", code="spend_invalid")
        with self._lock:
            self._require_open()
            known = self._known.get(reservation.attempt)
            if known is not None:
                first, entry = known
                same = entry.state is AttemptState.OPEN and first.amounts == reservation.amounts
                return Hold(admitted=same, state=entry.state)
            rises = self._expire(reservation.at)
            taken: list[Claim] = []
            for claim in reservation.claims:
                level = self._level(claim)
                if level.used + claim.amount > claim.limit:
                    for each in taken:
                        self._cell(each).reserved -= each.amount
                    return Hold(admitted=False, refused=self._level(claim), rises=rises)
                self._cell(claim).reserved += claim.amount
                taken.append(claim)
            self._last += 1
            self._open[reservation.attempt] = reservation
            self._known[reservation.attempt] = (reservation, _entry(self._last, reservation))
            return Hold(admitted=True, rises=rises)

    def settle(self, attempt: str, bill: Bill, *, at: datetime) -> Booking:  # noqa: ARG002 - the port's
        """Book what an attempt cost; see `Ledger.settle`."""
        with self._lock:
            first, entry = self._find(attempt)
            if entry.state is AttemptState.SETTLED:
                return Booking(entry.state, repeated=True)
            held = {} if entry.state is AttemptState.RELEASED else first.amounts
            overrun = any(amount > held.get(unit, 0) for unit, amount in bill.amounts.items())
            rises = self._move(first, entry.state, bill.amounts)
            self._close(first, entry, AttemptState.SETTLED, bill, overrun=overrun)
            return Booking(AttemptState.SETTLED, overrun=overrun, rises=rises)

    def release(self, attempt: str, *, at: datetime) -> Booking:  # noqa: ARG002 - the port's
        """Give back what was reserved; see `Ledger.release`."""
        with self._lock:
            first, entry = self._find(attempt)
            if entry.state in (AttemptState.SETTLED, AttemptState.RELEASED):
                return Booking(entry.state, repeated=True)
            self._move(first, entry.state, {})
            self._close(first, entry, AttemptState.RELEASED, Bill({}))
            return Booking(AttemptState.RELEASED)

    def levels(self, claims: Sequence[Claim]) -> list[Level]:
        """Return how far meters are used; see `Ledger.levels`."""
        with self._lock:
            self._require_open()
            return [self._level(claim) for claim in claims]

    def meters(self, prefix: str, *, limit: int) -> list[str]:
        """Return the meters that begin so; see `SpendHistory.meters`."""
        with self._lock:
            self._require_open()
            return sorted(
                meter for meter, cells in self._cells.items() if cells and meter.startswith(prefix)
            )[:limit]

    def entries(self, wanted: SpendFilter, *, after: int = 0, limit: int = 1_000) -> list[SpendEntry]:
        """Return attempts after a place; see `SpendHistory.entries`."""
        with self._lock:
            self._require_open()
            found = (entry for _, entry in self._known.values() if entry.seq > after)
            return [entry for entry in found if _fits(entry, wanted)][:limit]

    def prune(self, *, before: datetime) -> int:
        """Forget what is old; see `SpendHistory.prune`."""
        with self._lock:
            self._require_open()
            edge = (before - _EPOCH) // _MICROSECOND
            for cells in self._cells.values():
                for bucket in [at for at, cell in cells.items() if 0 < at < edge and not cell.reserved]:
                    del cells[bucket]
            gone = [name for name, (_, entry) in self._known.items() if _is_over(entry, before)]
            for name in gone:
                del self._known[name]
            return len(gone)

    def close(self) -> None:
        """Forget everything. Idempotent."""
        with self._lock:
            self._closed = True

    def _require_open(self) -> None:
        if self._closed:
            raise SpendError("the ledger is closed", code="spend_closed")

    def _find(self, attempt: str) -> tuple[Reservation, SpendEntry]:
        self._require_open()
        if attempt not in self._known:
            raise SpendError(f"nothing was reserved for the attempt `{attempt}`", code="attempt_unknown")
        return self._known[attempt]

    def _cell(self, claim: Claim) -> _Cell:
        return self._cells[claim.meter].setdefault(claim.bucket, _Cell())

    def _level(self, claim: Claim) -> Level:
        cells = [cell for at, cell in self._cells[claim.meter].items() if at >= claim.since]
        spent, reserved = sum(cell.spent for cell in cells), sum(cell.reserved for cell in cells)
        return Level(claim.meter, spent, reserved, claim.limit)

    def _move(
        self, first: Reservation, state: AttemptState, actual: dict[Unit, int] | None
    ) -> tuple[Rise, ...]:
        rises = []
        for claim in first.claims:
            cell = self._cells[claim.meter].get(claim.bucket)
            if cell is None:
                # The window was pruned: nothing counts there any more.
                continue
            counted = claim.amount if state is AttemptState.EXPIRED else 0
            more = (claim.amount if actual is None else actual.get(claim.unit, 0)) - counted
            cell.reserved -= claim.amount if state is AttemptState.OPEN else 0
            cell.spent += more
            if more > 0:
                spent = self._level(claim).spent
                rises.append(Rise(claim.meter, claim.limit, spent - more, spent))
        return tuple(rises)

    def _expire(self, now: datetime) -> tuple[Rise, ...]:
        rises: list[Rise] = []
        for name in [name for name, wish in self._open.items() if wish.expires <= now]:
            first, entry = self._known[name]
            rises += self._move(first, AttemptState.OPEN, None)
            self._keep(first, msgspec.structs.replace(entry, state=AttemptState.EXPIRED))
        return tuple(rises)

    def _close(
        self, first: Reservation, entry: SpendEntry, state: AttemptState, bill: Bill, *, overrun: bool = False
    ) -> None:
        closed = msgspec.structs.replace(
            entry,
            state=state,
            amounts=bill.amounts,
            usage=bill.usage,
            model=bill.model or entry.model,
            overrun=overrun,
            estimated=bill.estimated,
            unpriced=bill.unpriced,
        )
        self._keep(first, closed)

    def _keep(self, first: Reservation, entry: SpendEntry) -> None:
        self._open.pop(entry.attempt, None)
        self._known[entry.attempt] = (first, entry)


def _entry(seq: int, wish: Reservation) -> SpendEntry:
    return SpendEntry(
        seq=seq,
        attempt=wish.attempt,
        state=AttemptState.OPEN,
        at=wish.at,
        spender=wish.spender,
        kind=wish.kind,
        provider=wish.provider,
        model=wish.model,
        amounts=wish.amounts,
        reserved=wish.amounts,
        prompt=wish.prompt,
    )


def _is_over(entry: SpendEntry, before: datetime) -> bool:
    return entry.at < before and entry.state is not AttemptState.OPEN


def _fits(entry: SpendEntry, wanted: SpendFilter) -> bool:
    who = msgspec.structs.asdict(entry.spender)
    return (
        all(not value or who[name] == value for name, value in msgspec.structs.asdict(wanted.spender).items())
        and (not wanted.model or entry.model == wanted.model)
        and (not wanted.kind or entry.kind == wanted.kind)
        and (wanted.since is None or entry.at >= wanted.since)
        and (wanted.until is None or entry.at < wanted.until)
    )

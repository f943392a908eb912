"""What is reserved and booked in an SQLite file, for all processes of one machine."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.backends._sqlite_file import SqliteFile
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
    Spender,
    SpendError,
    Unit,
    Usage,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from agentguard.core import Reservation, SpendFilter

_SCHEMA = """
CREATE TABLE IF NOT EXISTS cells (
    meter TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    spent INTEGER NOT NULL CHECK (spent >= 0),
    reserved INTEGER NOT NULL CHECK (reserved >= 0),
    PRIMARY KEY (meter, bucket)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS attempts (
    seq INTEGER PRIMARY KEY,
    attempt TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    at INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    organisation TEXT NOT NULL,
    project TEXT NOT NULL,
    agent TEXT NOT NULL,
    session TEXT NOT NULL,
    task TEXT NOT NULL,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    claims BLOB NOT NULL,
    reserved BLOB NOT NULL,
    amounts BLOB NOT NULL,
    usage BLOB NOT NULL,
    flags INTEGER NOT NULL,
    prompt TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS attempts_open ON attempts (expires) WHERE state = 'open';
"""
_KNOWN = "SELECT state, claims, reserved, seq FROM attempts WHERE attempt = ?"
_OPEN = (
    "INSERT INTO attempts (attempt, state, at, expires, organisation, project, agent, session, task, key, kind,"
    " provider, model, claims, reserved, amounts, usage, flags, prompt)"
    " VALUES (?, 'open', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)"
    " ON CONFLICT (attempt) DO NOTHING"
)
# INVARIANT: no row comes back unless all that counts, this amount included, is within the limit.
_RESERVE = """
INSERT INTO cells (meter, bucket, spent, reserved)
SELECT ?1, ?2, 0, ?3
WHERE (SELECT coalesce(sum(spent + reserved), 0) FROM cells WHERE meter = ?1 AND bucket >= ?4) + ?3 <= ?5
ON CONFLICT (meter, bucket) DO UPDATE SET reserved = reserved + excluded.reserved
RETURNING reserved
"""
# The bound keeps a sum inside 64 bits, whatever providers report; it is above every limit.
_MOVE = (
    "UPDATE cells SET spent = min(spent + ?, 1 << 62), reserved = reserved - ?"
    " WHERE meter = ? AND bucket = ? RETURNING spent"
)
_LEVEL = (
    "SELECT coalesce(sum(spent), 0), coalesce(sum(reserved), 0) FROM cells WHERE meter = ? AND bucket >= ?"
)
_METERS = "SELECT DISTINCT meter FROM cells WHERE meter >= ? AND meter < ? ORDER BY meter LIMIT ?"
_FIRST_LATE = "SELECT min(expires) FROM attempts WHERE state = 'open'"
_LATE = (
    "SELECT attempt, claims FROM attempts WHERE state = 'open' AND expires <= ? AND seq <> ?"
    " ORDER BY expires LIMIT ?"
)
_ENTRY = (
    "SELECT seq, attempt, state, at, organisation, project, agent, session, task, key, kind, provider, model,"
    " amounts, reserved, usage, flags, prompt FROM attempts"
)
# So that one reservation does not have to clear up after a whole crash.
_EXPIRE_AT_ONCE = 64
# No name sorts behind these characters.
_LAST = chr(0x10FFFF) * 2
_OVERRUN, _ESTIMATED, _UNPRICED = 1, 2, 4
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_STATES = {state.value: state for state in AttemptState}
_ENCODER = msgspec.json.Encoder()
_UNITS = tuple((unit, unit.value) for unit in Unit)
_CLAIMS = msgspec.json.Decoder(tuple[Claim, ...])
_AMOUNTS = msgspec.json.Decoder(dict[Unit, int])
_USAGE = msgspec.json.Decoder(Usage)


class SqliteLedger:
    """A `Ledger` and its `SpendHistory` in a file of its own; write-ahead log, synced at checkpoints.

    Raises:
        SpendError: the file cannot be opened, is none of ours, or was written by a newer version.
    """

    def __init__(self, path: Path) -> None:
        self._file = SqliteFile(
            path, name="ledger", schema=_SCHEMA, version=1, error=SpendError, prefix="spend"
        )
        # Of the transaction that is under way, where it is one for several; looked at under the file's lock.
        self._late: _Late | None = None

    @contextmanager
    def together(self) -> Iterator[None]:
        """Make all that this thread asks inside one step, which costs one write to the disk; see `Grouping`."""
        with self._file.told("write to"), self._file.transaction():
            self._late = _Late()
            try:
                yield
            finally:
                self._late = None

    def reserve(self, reservation: Reservation) -> Hold:
        """Reserve on all meters, or on none; see `Ledger.reserve`."""
        for claim in reservation.claims:
            if not 0 <= claim.amount <= MOST_AMOUNT:
                raise SpendError("an amount is negative or too large", code="spend_invalid")
        return self._file.step("write to", lambda base: _reserve(base, reservation, self._late))

    def settle(self, attempt: str, bill: Bill, *, at: datetime) -> Booking:  # noqa: ARG002 - the port's
        """Book what an attempt cost; see `Ledger.settle`."""
        return self._file.step("write to", lambda base: _settle(base, attempt, bill))

    def release(self, attempt: str, *, at: datetime) -> Booking:  # noqa: ARG002 - the port's
        """Give back what was reserved; see `Ledger.release`."""
        return self._file.step("write to", lambda base: _release(base, attempt))

    def levels(self, claims: Sequence[Claim]) -> list[Level]:
        """Return how far meters are used; see `Ledger.levels`."""
        with self._file.told("read"), self._file.lock:
            return [_level(self._file.base, claim) for claim in claims]

    def meters(self, prefix: str, *, limit: int) -> list[str]:
        """Return the meters that begin so; see `SpendHistory.meters`."""
        with self._file.told("read"), self._file.lock:
            rows = self._file.base.execute(_METERS, (prefix, prefix + _LAST, limit)).fetchall()
        return [meter for (meter,) in rows]

    def entries(self, wanted: SpendFilter, *, after: int = 0, limit: int = 1_000) -> list[SpendEntry]:
        """Return attempts after a place; see `SpendHistory.entries`."""
        where, values = _where(wanted, after)
        query = f"{_ENTRY} WHERE {where} ORDER BY seq LIMIT ?"
        with self._file.told("read"), self._file.lock:
            rows = self._file.base.execute(query, (*values, limit)).fetchall()
        return [_entry(row) for row in rows]

    def prune(self, *, before: datetime) -> int:
        """Forget what is old; see `SpendHistory.prune`."""
        with self._file.told("prune"), self._file.transaction() as base:
            base.execute(
                "DELETE FROM cells WHERE bucket > 0 AND bucket < ? AND reserved = 0", (_micros(before),)
            )
            return base.execute(
                "DELETE FROM attempts WHERE at < ? AND state <> 'open'", (_micros(before),)
            ).rowcount

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._file.close()


class _Late:
    """When the next reservation runs out, as far as that is known while one transaction keeps others from writing."""

    def __init__(self) -> None:
        self._is_first = True
        self._next = 0

    def may_be(self, base: sqlite3.Connection, now: int, expires: int) -> bool:
        """Tell whether there may be late ones; `expires` is when the one runs out that is being made."""
        if self._is_first:
            self._is_first = False
            return True
        if now >= self._next:
            (found,) = base.execute(_FIRST_LATE).fetchone()
            self._next = MOST_AMOUNT if found is None else found
        self._next = min(self._next, expires)
        return now >= self._next


def _reserve(base: sqlite3.Connection, reservation: Reservation, late: _Late | None) -> Hold:
    claims, amounts = _ENCODER.encode(reservation.claims), _amounts(reservation.amounts)
    at, expires = _micros(reservation.at), _micros(reservation.expires)
    new = base.execute(_OPEN, _row(reservation, at, expires, claims, amounts))
    if not new.rowcount:
        state, _, reserved, _ = _find(base, reservation.attempt)
        return Hold(admitted=state is AttemptState.OPEN and reserved == amounts, state=state)
    seq = new.lastrowid or 0
    rises = _expire(base, at, seq) if late is None or late.may_be(base, at, expires) else ()
    for number, claim in enumerate(reservation.claims):
        if not _take(base, claim):
            for taken in reservation.claims[:number]:
                base.execute(_MOVE, (0, taken.amount, taken.meter, taken.bucket)).fetchall()
            base.execute("DELETE FROM attempts WHERE seq = ?", (seq,))
            return Hold(admitted=False, refused=_level(base, claim), rises=rises)
    return Hold(admitted=True, rises=rises)


def _expire(base: sqlite3.Connection, now: int, new: int) -> tuple[Rise, ...]:
    """Book what is late at its reserved amount; the one that is `new` has taken nothing yet."""
    rises: list[Rise] = []
    for attempt, claims in base.execute(_LATE, (now, new, _EXPIRE_AT_ONCE)).fetchall():
        rises += _move(base, claims, AttemptState.OPEN, None)
        base.execute("UPDATE attempts SET state = 'expired' WHERE attempt = ?", (attempt,))
    return tuple(rises)


def _settle(base: sqlite3.Connection, attempt: str, bill: Bill) -> Booking:
    state, claims, reserved, seq = _find(base, attempt)
    if state is AttemptState.SETTLED:
        return Booking(state, repeated=True)
    held = {} if state is AttemptState.RELEASED else _AMOUNTS.decode(reserved)
    overrun = any(amount > held.get(unit, 0) for unit, amount in bill.amounts.items())
    rises = _move(base, claims, state, bill.amounts)
    flags = _OVERRUN * overrun | _ESTIMATED * bill.estimated | _UNPRICED * bill.unpriced
    _close(base, seq, AttemptState.SETTLED, bill, flags)
    return Booking(AttemptState.SETTLED, overrun=overrun, rises=rises)


def _release(base: sqlite3.Connection, attempt: str) -> Booking:
    state, claims, _, seq = _find(base, attempt)
    if state in (AttemptState.SETTLED, AttemptState.RELEASED):
        return Booking(state, repeated=True)
    _move(base, claims, state, {})
    _close(base, seq, AttemptState.RELEASED, Bill({}), 0)
    return Booking(AttemptState.RELEASED)


def _take(base: sqlite3.Connection, claim: Claim) -> bool:
    values = (claim.meter, claim.bucket, claim.amount, claim.since, claim.limit)
    # An UPSERT with RETURNING that is not read to its end does not finish.
    return bool(base.execute(_RESERVE, values).fetchall())


def _level(base: sqlite3.Connection, claim: Claim) -> Level:
    spent, reserved = base.execute(_LEVEL, (claim.meter, claim.since)).fetchone()
    return Level(claim.meter, spent, reserved, claim.limit)


def _find(base: sqlite3.Connection, attempt: str) -> tuple[AttemptState, bytes, bytes, int]:
    row = base.execute(_KNOWN, (attempt,)).fetchone()
    if row is None:
        raise SpendError(f"nothing was reserved for the attempt `{attempt}`", code="attempt_unknown")
    return _STATES[row[0]], row[1], row[2], row[3]


def _move(
    base: sqlite3.Connection, claims: bytes, state: AttemptState, actual: dict[Unit, int] | None
) -> tuple[Rise, ...]:
    """Book `actual` on each meter in place of what the attempt holds there; None books what is reserved."""
    rises = []
    for claim in _CLAIMS.decode(claims):
        reserved = claim.amount if state is AttemptState.OPEN else 0
        counted = claim.amount if state is AttemptState.EXPIRED else 0
        more = (claim.amount if actual is None else actual.get(claim.unit, 0)) - counted
        moved = base.execute(_MOVE, (more, reserved, claim.meter, claim.bucket)).fetchall()
        if more > 0 and moved:
            # A window of one bucket is known already.
            spent = moved[0][0] if claim.since == claim.bucket else _level(base, claim).spent
            rises.append(Rise(claim.meter, claim.limit, spent - more, spent))
    return tuple(rises)


def _close(base: sqlite3.Connection, seq: int, state: AttemptState, bill: Bill, flags: int) -> None:
    amounts, usage = _amounts(bill.amounts), _ENCODER.encode(bill.usage)
    base.execute(
        "UPDATE attempts SET state = ?, amounts = ?, usage = ?, flags = ?,"
        " model = CASE ? WHEN '' THEN model ELSE ? END WHERE seq = ?",
        (state.value, amounts, usage, flags, bill.model, bill.model, seq),
    )


def _amounts(amounts: dict[Unit, int]) -> bytes:
    # In one order, so that equal amounts are equal bytes.
    return _ENCODER.encode({name: amounts[unit] for unit, name in _UNITS if unit in amounts})


def _row(wish: Reservation, at: int, expires: int, claims: bytes, amounts: bytes) -> tuple[Any, ...]:
    who = wish.spender
    return (
        wish.attempt, at, expires,
        who.organisation, who.project, who.agent, who.session, who.task, who.key,
        wish.kind, wish.provider, wish.model, claims, amounts, amounts, b"{}", wish.prompt,
    )  # fmt: skip


def _entry(row: tuple[Any, ...]) -> SpendEntry:
    seq, attempt, state, at, *who, kind, provider, model, amounts, reserved, usage, flags, prompt = row
    return SpendEntry(
        seq=seq,
        attempt=attempt,
        state=AttemptState(state),
        at=_EPOCH + timedelta(microseconds=at),
        spender=Spender(*who),
        kind=kind,
        provider=provider,
        model=model,
        amounts=_AMOUNTS.decode(amounts),
        reserved=_AMOUNTS.decode(reserved),
        usage=_USAGE.decode(usage),
        overrun=bool(flags & _OVERRUN),
        estimated=bool(flags & _ESTIMATED),
        unpriced=bool(flags & _UNPRICED),
        prompt=prompt,
    )


def _where(wanted: SpendFilter, after: int) -> tuple[str, list[Any]]:
    terms: list[str] = ["seq > ?"]
    values: list[Any] = [after]
    names = {**msgspec.structs.asdict(wanted.spender), "model": wanted.model, "kind": wanted.kind}
    for name, value in names.items():
        if value:
            terms.append(f"{name} = ?")
            values.append(value)
    for sign, moment in ((">=", wanted.since), ("<", wanted.until)):
        if moment is not None:
            terms.append(f"at {sign} ?")
            values.append(_micros(moment))
    return " AND ".join(terms), values


def _micros(time: datetime) -> int:
    return (time - _EPOCH) // _MICROSECOND

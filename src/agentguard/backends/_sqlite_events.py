"""Events in an SQLite file, for all processes of one machine."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import Event, EventError, EventKind, Glob, StoredEvent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from agentguard.core import EventFilter

_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    time INTEGER NOT NULL,
    principal TEXT NOT NULL,
    session TEXT NOT NULL,
    action TEXT NOT NULL,
    resource TEXT NOT NULL,
    effect TEXT NOT NULL,
    payload BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS events_by_time ON events (time);
"""
_INSERT = (
    "INSERT OR IGNORE INTO events (event_id, kind, time, principal, session, action, resource, effect, payload)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_BUSY_S = 5.0
# Removing a whole month at once would keep writers waiting.
_PRUNE_AT_ONCE = 10_000


class SqliteEventStore:
    """An `EventStore` in a file of its own; write-ahead log, synced at checkpoints.

    What `append` returned from survives the process; the last moments before a power cut may be missing. Only
    the file's owner can read it.

    Raises:
        EventError: the file cannot be opened, is none of ours, or was written by a newer version.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        with self._told("open"):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _make(path)
            self._base = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            self._set_up()

    def append(self, events: Sequence[Event]) -> int:
        """Keep events; see `EventStore.append`."""
        rows = [_row(event) for event in events]
        with self._told("write to"), self._lock, self._transaction():
            before = self._base.total_changes
            self._base.executemany(_INSERT, rows)
            return self._base.total_changes - before

    def read(
        self, wanted: EventFilter, *, after: int = 0, limit: int = 1_000, newest: bool = False
    ) -> list[StoredEvent]:
        """Return events after a place; see `EventStore.read`."""
        where, values = _where(wanted, after)
        order = "DESC" if newest else "ASC"
        query = (
            "SELECT seq, event_id, kind, time, principal, session, payload FROM events"  # noqa: S608 - our own words
            f" WHERE {where} ORDER BY seq {order} LIMIT ?"
        )
        with self._told("read"), self._lock:
            rows = self._base.execute(query, (*values, limit)).fetchall()
        found = [_event(row) for row in rows]
        return found[::-1] if newest else found

    def prune(self, *, before: datetime, max_events: int) -> int:
        """Forget what is too old or too much; see `EventStore.prune`."""
        with self._told("prune"), self._lock:
            (surplus,) = self._base.execute("SELECT count(*) - ? FROM events", (max_events,)).fetchone()
            gone = self._remove("time < ? ORDER BY time", (_micros(before),), None)
            return gone + self._remove("TRUE ORDER BY seq", (), max(surplus - gone, 0))

    def close(self) -> None:
        """Close the file. Idempotent."""
        with self._lock:
            self._base.close()

    def _set_up(self) -> None:
        self._base.create_function("matches", 2, _matches, deterministic=True)
        self._base.create_function("matches_action", 2, _matches_action, deterministic=True)
        (version,) = self._base.execute("PRAGMA user_version").fetchone()
        if version > _VERSION:
            raise EventError(
                f"`{self._path}` was written by a newer version",
                hint="use that version, or move the file away",
            )
        for setting in ("journal_mode = WAL", "synchronous = NORMAL", "trusted_schema = OFF"):
            self._base.execute(f"PRAGMA {setting}")
        self._base.executescript(_SCHEMA)
        self._base.execute(f"PRAGMA user_version = {_VERSION}")

    def _remove(self, which: str, values: tuple[Any, ...], limit: int | None) -> int:
        query = f"DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE {which} LIMIT ?)"  # noqa: S608
        gone = 0
        while limit is None or gone < limit:
            at_once = _PRUNE_AT_ONCE if limit is None else min(_PRUNE_AT_ONCE, limit - gone)
            removed = self._base.execute(query, (*values, at_once)).rowcount
            gone += removed
            if removed < at_once:
                break
        return gone

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._base.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._base.execute("COMMIT")
        except BaseException:
            # A full disk has rolled it back already.
            if self._base.in_transaction:
                self._base.execute("ROLLBACK")
            raise

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            closed = isinstance(error, sqlite3.ProgrammingError)
            raise EventError(
                f"cannot {what} the event store `{self._path}`: {str(error).lower()}",
                code="events_closed" if closed else "events_unavailable",
                hint=None if closed else "see that its folder is writable and its disk has room",
            ) from None


def _make(path: Path) -> None:
    """Make the file for its owner alone, unless it is there.

    INVARIANT: a file that is there is never opened here. To close it again would drop the locks of every SQLite
    connection that this process has to it.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise OSError("it is no plain file") from None


def _row(event: Event) -> tuple[Any, ...]:
    payload = event.payload
    texts = (str(payload.get(name) or "") for name in ("action", "resource", "effect"))
    return (
        event.event_id,
        event.kind.value,
        _micros(event.time),
        _utf8(event.principal),
        _utf8(event.session),
        *map(_utf8, texts),
        _encoded(payload),
    )


def _encoded(payload: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(payload, enc_hook=str)
    except UnicodeEncodeError:
        return msgspec.json.encode(_without_surrogates(payload), enc_hook=str)


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_surrogates(inner) for inner in value]
    return _utf8(value) if isinstance(value, str) else value


def _event(row: tuple[Any, ...]) -> StoredEvent:
    seq, event_id, kind, micros, principal, session, payload = row
    time = _EPOCH + timedelta(microseconds=micros)
    return StoredEvent(
        seq, Event(event_id, EventKind(kind), time, principal, session, msgspec.json.decode(payload))
    )


def _where(wanted: EventFilter, after: int) -> tuple[str, list[Any]]:
    terms: list[str] = ["seq > ?"]
    values: list[Any] = [after]
    if wanted.kinds:
        terms.append(f"kind IN ({', '.join('?' * len(wanted.kinds))})")
        values += [kind.value for kind in wanted.kinds]
    for name in ("session", "effect"):
        if getattr(wanted, name):
            terms.append(f"{name} = ?")
            values.append(getattr(wanted, name))
    for name in ("principal", "action", "resource"):
        if getattr(wanted, name):
            terms.append(f"{'matches_action' if name == 'action' else 'matches'}(?, {name})")
            values.append(getattr(wanted, name))
    for sign, moment in ((">=", wanted.since), ("<", wanted.until)):
        if moment is not None:
            terms.append(f"time {sign} ?")
            values.append(_micros(moment))
    return " AND ".join(terms), values


_glob = lru_cache(maxsize=64)(Glob)


def _matches(pattern: str, text: str) -> bool:
    return _glob(pattern).matches(text)


def _matches_action(pattern: str, text: str) -> bool:
    return _matches(pattern, text) or _matches(pattern, text.partition("@")[0])


def _micros(time: datetime) -> int:
    return (time - _EPOCH) // _MICROSECOND


def _utf8(text: str) -> str:
    # What an agent named can hold half a surrogate pair, which no text column takes.
    return text if text.isascii() else text.encode("utf-8", "replace").decode()

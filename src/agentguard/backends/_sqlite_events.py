"""Events in an SQLite file, for all processes of one machine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.backends._sqlite_file import SqliteFile
from agentguard.core import Event, EventError, EventKind, Glob, StoredEvent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agentguard.core import EventFilter

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
        self._file = SqliteFile(
            path, name="event store", schema=_SCHEMA, version=1, error=EventError, prefix="events"
        )
        with self._file.told("open"):
            self._base = self._file.base
            self._base.create_function("matches", 2, _matches, deterministic=True)
            self._base.create_function("matches_action", 2, _matches_action, deterministic=True)

    def append(self, events: Sequence[Event]) -> int:
        """Keep events; see `EventStore.append`."""
        rows = [_row(event) for event in events]
        with self._file.told("write to"), self._file.transaction():
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
        with self._file.told("read"), self._file.lock:
            rows = self._base.execute(query, (*values, limit)).fetchall()
        found = [_event(row) for row in rows]
        return found[::-1] if newest else found

    def prune(self, *, before: datetime, max_events: int) -> int:
        """Forget what is too old or too much; see `EventStore.prune`."""
        with self._file.told("prune"), self._file.lock:
            (surplus,) = self._base.execute("SELECT count(*) - ? FROM events", (max_events,)).fetchone()
            gone = self._remove("time < ? ORDER BY time", (_micros(before),), None)
            return gone + self._remove("TRUE ORDER BY seq", (), max(surplus - gone, 0))

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._file.close()

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

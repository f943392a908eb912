"""Notices that wait to be delivered, in an SQLite file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.backends._sqlite_file import SqliteFile
from agentguard.core import Notice, NotifyError
from agentguard.notify import Delivery, Draft

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agentguard.notify import State

_SCHEMA = """
CREATE TABLE IF NOT EXISTS deliveries (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    notice_id TEXT NOT NULL,
    channel TEXT NOT NULL,
    key TEXT NOT NULL,
    created REAL NOT NULL,
    due REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT 'waiting',
    reason TEXT NOT NULL DEFAULT '',
    notice BLOB NOT NULL,
    UNIQUE (notice_id, channel)
) STRICT;
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (state, channel, due);
CREATE INDEX IF NOT EXISTS deliveries_key ON deliveries (channel, key, created);
CREATE TABLE IF NOT EXISTS spent_links (link_id TEXT PRIMARY KEY, until REAL NOT NULL) STRICT, WITHOUT ROWID;
"""
_COLUMNS = "number, notice, channel, created, due, attempts, state, reason"


class SqliteOutbox:
    """An `Outbox` in a file of its own; only the file's owner can read it.

    Raises:
        NotifyError: the file cannot be opened, is none of ours, or was written by a newer version.
    """

    def __init__(self, path: Path) -> None:
        self._file = SqliteFile(
            path, name="outbox", schema=_SCHEMA, version=1, error=NotifyError, prefix="notify"
        )
        with self._file.told("open"), self._file.lock:
            # A notice that was taken outlives the machine.
            self._file.base.execute("PRAGMA synchronous = FULL")

    def add(self, drafts: Sequence[Draft], *, now: float, repeat_after_s: float) -> int:
        """Keep deliveries; see `Outbox.add`."""
        with self._file.told("write to"), self._file.transaction() as base:
            before = base.total_changes
            for each in drafts:
                base.execute(
                    "INSERT OR IGNORE INTO deliveries (notice_id, channel, key, created, due, notice)"
                    " SELECT ?, ?, ?, ?, ?, ? WHERE NOT EXISTS"
                    " (SELECT 1 FROM deliveries WHERE channel = ? AND key = ? AND created > ?)",
                    (
                        each.notice.id, each.channel, each.key, now, each.due, msgspec.json.encode(each.notice),
                        each.channel, each.key, now - repeat_after_s,
                    ),
                )  # fmt: skip
            return base.total_changes - before

    def due(self, channel: str, *, now: float, limit: int) -> list[Delivery]:
        """Return what is due; see `Outbox.due`."""
        return self._select(
            "state = 'waiting' AND channel = ? AND due <= ? ORDER BY due, number LIMIT ?", channel, now, limit
        )

    def settle(self, number: int, state: State, *, due: float = 0.0, reason: str = "") -> None:
        """Keep what came of an attempt; see `Outbox.settle`."""
        with self._file.told("write to"), self._file.transaction() as base:
            base.execute(
                "UPDATE deliveries SET state = ?, due = ?, reason = ?, attempts = attempts + 1 WHERE number = ?",
                (state, due, reason[:500], number),
            )

    def dead(self) -> list[Delivery]:
        """Return what was given up; see `Outbox.dead`."""
        return self._select("state = 'dead' ORDER BY number LIMIT 10000")

    def revive(self, numbers: Sequence[int], *, now: float) -> int:
        """Let dead deliveries be tried again; see `Outbox.revive`."""
        return self._each(
            "UPDATE deliveries SET state = 'waiting', created = ?, due = ? WHERE number = ? AND state = 'dead'",
            numbers,
            now,
            now,
        )

    def drop(self, numbers: Sequence[int]) -> int:
        """Forget dead deliveries; see `Outbox.drop`."""
        return self._each("DELETE FROM deliveries WHERE number = ? AND state = 'dead'", numbers)

    def counts(self) -> dict[tuple[str, State], int]:
        """Count deliveries; see `Outbox.counts`."""
        with self._file.told("read"), self._file.lock:
            rows = self._file.base.execute(
                "SELECT channel, state, count(*) FROM deliveries GROUP BY channel, state"
            )
            return {(channel, state): count for channel, state, count in rows}

    def prune(self, *, before: float) -> None:
        """Forget what is over; see `Outbox.prune`."""
        with self._file.told("prune"), self._file.transaction() as base:
            base.execute("DELETE FROM deliveries WHERE state = 'sent' AND created < ?", (before,))
            base.execute("DELETE FROM spent_links WHERE until < ?", (before,))

    def spend_link(self, link_id: str, *, until: float) -> bool:
        """Use up a link; see `Outbox.spend_link`."""
        with self._file.told("write to"), self._file.transaction() as base:
            return (
                base.execute("INSERT OR IGNORE INTO spent_links VALUES (?, ?)", (link_id, until)).rowcount
                == 1
            )

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._file.close()

    def _select(self, where: str, *values: Any) -> list[Delivery]:
        query = f"SELECT {_COLUMNS} FROM deliveries WHERE {where}"  # noqa: S608 - our own words
        with self._file.told("read"), self._file.lock:
            rows = self._file.base.execute(query, values).fetchall()
        return [Delivery(row[0], msgspec.json.decode(row[1], type=Notice), *row[2:]) for row in rows]

    def _each(self, statement: str, numbers: Sequence[int], *values: float) -> int:
        with self._file.told("write to"), self._file.transaction() as base:
            return sum(base.execute(statement, (*values, number)).rowcount for number in numbers)

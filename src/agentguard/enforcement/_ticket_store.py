"""What makes a ticket count once: the executor's own SQLite file of used and revoked tickets."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import stat
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import TicketError
from agentguard.enforcement._ticket_form import MAX_NAME
from agentguard.identity import LEEWAY_S, MAX_TICKET_TTL_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentguard.core import Ticket

MAX_REFUSALS = 10_000
_APPLICATION = 0x41475453  # "AGTS"
_VERSION = 1
_BUSY_S = 2.0
# A row outlives its ticket by this much, so that a clock that is set back a little finds it still.
_GRACE_S = 60.0
_MAX_PAGES = 65_536  # of 4 KiB
_ASK_AGAIN = "ask for a new decision"
_SCHEMA = (
    "CREATE TABLE spent (jti TEXT PRIMARY KEY, until REAL NOT NULL, revoked INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE INDEX spent_until ON spent (until)",
    "CREATE TABLE bounds (made_at REAL NOT NULL, horizon REAL NOT NULL)",
    """CREATE TABLE refusals (seq INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL, code TEXT NOT NULL, jti TEXT NOT NULL, audit_id TEXT NOT NULL)""",
)


class Refusal(msgspec.Struct, frozen=True):
    """A ticket that was refused `at` a time (Unix seconds); `jti` and `audit_id` only where it was genuine."""

    at: float
    code: str
    jti: str
    audit_id: str


class TicketStore:
    """Remembers in the SQLite file at `path` which tickets were used or revoked. For one executor.

    Safe to use from many threads and processes, on one machine and a local disk: of all that consume one ticket
    at once, one succeeds. A used ticket is on the disk before `consume` returns. What expired is forgotten a
    minute later, and how far that went is remembered: a clock that is set back opens nothing again. Tickets
    older than the file are refused, so neither does deleting it. At most 256 MiB; a full store refuses.

    Raises:
        TicketError: the file cannot be made or used (`ticket_store_unavailable`).
    """

    def __init__(self, path: str | Path, *, now: Callable[[], float] = time.time) -> None:
        self._path = Path(path)
        self._now = now
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        _stores.add(self)
        with self._lock, self._failing_closed():
            self._connected()

    def consume(self, ticket: Ticket) -> None:
        """Use a verified ticket up.

        Raises:
            TicketError: it was used (`ticket_used`) or revoked (`ticket_revoked`), may have been used before
                the store was made (`ticket_older_than_store`), is older than what the store has forgotten
                (`ticket_expired`), or the store does not work (`ticket_store_unavailable`).
        """
        with self._writing() as database:
            made_at, horizon = self._bounds(database)
            # Tickets carry their time in whole microseconds.
            if ticket.issued_at + 1e-6 < made_at:
                raise TicketError(
                    "the ticket is older than the store, which cannot know whether it was used",
                    code="ticket_older_than_store",
                    hint="ask for a new decision; a store that is new refuses what came before it",
                )
            if ticket.expires_at <= max(horizon, self._now()):
                raise TicketError("the ticket has expired", code="ticket_expired", hint="compare the clocks")
            is_revoked = self._state_of(database, ticket.jti)
            if is_revoked:
                raise TicketError("the ticket was revoked", code="ticket_revoked", hint=_ASK_AGAIN)
            if is_revoked is not None:
                raise TicketError("the ticket was used already", code="ticket_used", hint=_ASK_AGAIN)
            database.execute("INSERT INTO spent VALUES (?, ?, 0)", (ticket.jti, ticket.expires_at))
            self._forget(database, horizon)

    def revoke(self, jti: str) -> bool:
        """Tell whether the ticket with the id `jti` is revoked now: False says that it was used before.

        Raises:
            TicketError: `jti` is no ticket's id (`ticket_malformed`), or the store does not work
                (`ticket_store_unavailable`).
        """
        if type(jti) is not str or not 0 < len(jti) <= MAX_NAME or not jti.isprintable():
            raise TicketError("this is no ticket's id", code="ticket_malformed")
        with self._writing() as database:
            found = self._state_of(database, jti)
            if found is None:
                # Whenever it was issued, it has expired by then.
                until = self._now() + MAX_TICKET_TTL_S + LEEWAY_S
                database.execute("INSERT INTO spent VALUES (?, ?, 1)", (jti, until))
            return found is not False

    def note_refusal(self, error: TicketError, ticket: Ticket | None) -> None:
        """Keep a refusal; the newest 10,000 are kept.

        Raises:
            TicketError: the store does not work (`ticket_store_unavailable`).
        """
        jti, audit_id = (ticket.jti, ticket.audit_id) if ticket is not None else ("", "")
        with self._writing() as database:
            row = (self._now(), error.code, jti, audit_id)
            last = database.execute(
                "INSERT INTO refusals (at, code, jti, audit_id) VALUES (?, ?, ?, ?)", row
            ).lastrowid
            database.execute("DELETE FROM refusals WHERE seq <= ?", ((last or 0) - MAX_REFUSALS,))

    def refusals(self) -> list[Refusal]:
        """Return the refusals that are kept, oldest first.

        Raises:
            TicketError: the store does not work (`ticket_store_unavailable`).
        """
        with self._writing() as database:
            rows = database.execute("SELECT at, code, jti, audit_id FROM refusals ORDER BY seq").fetchall()
        return [Refusal(*row) for row in rows]

    def close(self) -> None:
        """Close the file; used again, the store opens it again. Idempotent."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def abandon(self) -> object:
        """Let go of the file without closing it, and return what holds it: for the child after a fork."""
        self._lock = threading.Lock()
        connection, self._connection = self._connection, None
        return connection

    def _forget(self, database: sqlite3.Connection, horizon: float) -> None:
        """Drop what has expired, and remember up to which time that is."""
        limit = self._now() - _GRACE_S
        (newest,) = database.execute("SELECT max(until) FROM spent WHERE until <= ?", (limit,)).fetchone()
        if newest is not None:
            database.execute("DELETE FROM spent WHERE until <= ?", (newest,))
            database.execute("UPDATE bounds SET horizon = ?", (max(horizon, newest),))

    @staticmethod
    def _bounds(database: sqlite3.Connection) -> tuple[float, float]:
        made_at, horizon = database.execute("SELECT made_at, horizon FROM bounds").fetchone()
        return float(made_at), float(horizon)

    @staticmethod
    def _state_of(database: sqlite3.Connection, jti: str) -> bool | None:
        """Return None for a ticket that is free, False for a used one, True for a revoked one."""
        row = database.execute("SELECT revoked FROM spent WHERE jti = ?", (jti,)).fetchone()
        return None if row is None else bool(row[0])

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Hold the file against all other threads and processes; what is raised inside undoes everything."""
        with self._lock, self._failing_closed():
            database = self._connected()
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                # An error may have ended the transaction already.
                if database.in_transaction:
                    database.execute("ROLLBACK")
                raise

    def _connected(self) -> sqlite3.Connection:
        try:
            is_there = self._path.stat().st_ino == self._inode
        except FileNotFoundError:
            is_there = False
        # Who kept writing to a file that was deleted would agree with nobody.
        if self._connection is None or not is_there:
            self._connection = self._open()
            self._inode = self._path.stat().st_ino
        return self._connection

    def _open(self) -> sqlite3.Connection:
        lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            # Two that make the file at once: SQLite itself does not wait for the change to WAL.
            fcntl.flock(lock, fcntl.LOCK_EX)
            _make(self._path)
            database = sqlite3.connect(
                self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare(database)
            except BaseException:
                database.close()
                raise
            return database
        finally:
            os.close(lock)

    def _prepare(self, database: sqlite3.Connection) -> None:
        application = _pragma(database, "application_id")
        if application not in (0, _APPLICATION) or _pragma(database, "user_version") not in (0, _VERSION):
            raise sqlite3.DatabaseError("it is another program's file, or a newer version's")
        if _pragma(database, "journal_mode = WAL") != "wal":
            raise sqlite3.DatabaseError("it cannot have a write-ahead log there")
        # INVARIANT: a used ticket is on the disk before anybody acts on it.
        database.execute("PRAGMA synchronous = FULL")
        database.execute(f"PRAGMA max_page_count = {_MAX_PAGES}")
        if application == 0:
            if database.execute("SELECT 1 FROM sqlite_master").fetchone() is not None:
                raise sqlite3.DatabaseError("it is another program's file")
            database.execute("BEGIN")
            for statement in _SCHEMA:
                database.execute(statement)
            database.execute("INSERT INTO bounds VALUES (?, 0)", (self._now(),))
            database.execute(f"PRAGMA application_id = {_APPLICATION}")
            database.execute(f"PRAGMA user_version = {_VERSION}")
            database.execute("COMMIT")

    @contextlib.contextmanager
    def _failing_closed(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, TypeError, ValueError) as error:
            # The last two: a file that was tampered with can answer anything.
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise TicketError(
                f"the store of used tickets cannot be used: {why.lower()}",
                code="ticket_store_unavailable",
                hint=f"look at `{self._path}`, its permissions and the disk",
            ) from None


_stores: weakref.WeakSet[TicketStore] = weakref.WeakSet()
_inherited: list[object] = []


def _after_fork_in_child() -> None:
    # SQLite's connections do not survive a fork: the child neither uses nor closes its parent's. Another thread of
    # the parent may have held the lock.
    _inherited.extend(store.abandon() for store in _stores)


os.register_at_fork(after_in_child=_after_fork_in_child)


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


def _pragma(database: sqlite3.Connection, text: str) -> Any:
    (value,) = database.execute(f"PRAGMA {text}").fetchone()
    return value

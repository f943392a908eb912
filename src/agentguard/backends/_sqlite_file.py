"""One SQLite file as the stores here use it: only its owner reads it, a write-ahead log, errors in our own words."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from agentguard.core import AgentGuardError

T = TypeVar("T")

_BUSY_S = 5.0
# In pages of 4 KiB. A checkpoint waits for the disk: one in a thousand writes does, not one in two hundred.
_CHECKPOINT = "wal_autocheckpoint = 4000"


class SqliteFile:
    """An open file, shared by threads under `lock`; `name` says in errors what it is.

    Write-ahead log, synced at checkpoints: what was committed survives the process; the last moments before a
    power cut may be missing.

    Raises:
        AgentGuardError: as `error`, with the code `PREFIX_unavailable`: the file cannot be opened, is none of
            ours, or was written by a newer version.
    """

    def __init__(
        self, path: Path, *, name: str, schema: str, version: int, error: type[AgentGuardError], prefix: str
    ) -> None:
        self._path = path
        self._name = name
        self._error = error
        self._prefix = prefix
        self.lock = threading.RLock()
        self._depth = 0
        self._failed = False
        with self.told("open"):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _make(path)
            self.base = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            self._set_up(schema, version)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the lock and the file's only place for writers; all is kept, or nothing where it raises."""
        with self.lock:
            self.base.execute("BEGIN IMMEDIATE")
            self._depth, self._failed = 1, False
            try:
                yield self.base
                self._commit()
            except BaseException:
                # A full disk has rolled it back already.
                if self.base.in_transaction:
                    self.base.execute("ROLLBACK")
                raise
            finally:
                self._depth = 0

    def _commit(self) -> None:
        if self._failed:
            raise sqlite3.OperationalError("one of several steps failed")
        self.base.execute("COMMIT")

    def step(self, what: str, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what `work` returns, in a transaction of its own; inside another one it is a part of that.

        What fails in a part undoes the whole.
        """
        try:
            with self.lock:
                if not self._depth:
                    with self.transaction() as base:
                        return work(base)
                try:
                    return work(self.base)
                except self._error:
                    # It is about what was asked, and was found before anything was written.
                    raise
                except BaseException:
                    self._failed = True
                    raise
        except (sqlite3.Error, OSError) as error:
            raise self._told(what, error) from None

    @contextmanager
    def told(self, what: str) -> Iterator[None]:
        """Raise what goes wrong with the file as our own error: `cannot WHAT the NAME`."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise self._told(what, error) from None

    def _told(self, what: str, error: sqlite3.Error | OSError) -> AgentGuardError:
        closed = isinstance(error, sqlite3.ProgrammingError)
        return self._error(
            f"cannot {what} the {self._name} `{self._path}`: {str(error).lower()}",
            code=f"{self._prefix}_{'closed' if closed else 'unavailable'}",
            hint=None if closed else "see that its folder is writable and its disk has room",
        )

    def close(self) -> None:
        """Close the file. Idempotent."""
        with self.lock:
            self.base.close()

    def _set_up(self, schema: str, version: int) -> None:
        (found,) = self.base.execute("PRAGMA user_version").fetchone()
        if found > version:
            self.base.close()
            raise self._error(
                f"`{self._path}` was written by a newer version",
                hint="use that version, or move the file away",
            )
        for setting in ("journal_mode = WAL", "synchronous = NORMAL", "trusted_schema = OFF", _CHECKPOINT):
            self.base.execute(f"PRAGMA {setting}")
        if found < version:
            self.base.executescript(schema)
            self.base.execute(f"PRAGMA user_version = {version}")


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

"""One SQLite file as the stores here use it: only its owner reads it, a write-ahead log, errors in our own words."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agentguard.core import AgentGuardError

_BUSY_S = 5.0


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
            try:
                yield self.base
                self.base.execute("COMMIT")
            except BaseException:
                # A full disk has rolled it back already.
                if self.base.in_transaction:
                    self.base.execute("ROLLBACK")
                raise

    @contextmanager
    def told(self, what: str) -> Iterator[None]:
        """Raise what goes wrong with the file as our own error: `cannot WHAT the NAME`."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            closed = isinstance(error, sqlite3.ProgrammingError)
            raise self._error(
                f"cannot {what} the {self._name} `{self._path}`: {str(error).lower()}",
                code=f"{self._prefix}_{'closed' if closed else 'unavailable'}",
                hint=None if closed else "see that its folder is writable and its disk has room",
            ) from None

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
        for setting in ("journal_mode = WAL", "synchronous = NORMAL", "trusted_schema = OFF"):
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

"""The log in memory: the same records and the same chain, for tests and measurements."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any

import orjson

from agentguard.audit._record import START, Link, compose, encode, hash_of
from agentguard.audit._stamp import Stamper
from agentguard.core import AuditError, SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agentguard.core import Clock


class MemoryLog:
    """An `AuditLog` that keeps its lines in a list and loses them with the process."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._stamper = Stamper(clock or SystemClock())
        self._mutex = threading.Lock()
        self._link = START
        self._closed = False
        self.lines: list[bytes] = []

    def append(self, record: Mapping[str, Any]) -> str:
        """Append one record and return its `event_id`; see `AuditLog.append`."""
        body = encode(record)
        with self._mutex:
            if self._closed:
                raise AuditError("the log is closed", code="audit_closed")
            event_id, timestamp = self._stamper.stamp()
            line = compose(self._link, event_id, timestamp, body)[:-1]
            self._link = Link(self._link.seq + 1, hash_of(line))
            self.lines.append(line)
        return event_id

    def read(self, *, after: int = 0, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """Yield the records with `seq` above `after`, oldest first."""
        return itertools.islice((orjson.loads(line) for line in self.lines[max(after, 0) :]), limit)

    def close(self) -> None:
        """Take no more records; those that are there can still be read. Idempotent."""
        self._closed = True

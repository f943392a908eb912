"""Events in memory, for one process."""

from __future__ import annotations

import bisect
import threading
from typing import TYPE_CHECKING

from agentguard.core import EventError, StoredEvent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from agentguard.core import Event, EventFilter


class MemoryEventStore:
    """An `EventStore` that loses its events with the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: list[StoredEvent] = []
        self._ids: set[str] = set()
        self._last = 0
        self._closed = False

    def append(self, events: Sequence[Event]) -> int:
        """Keep events; see `EventStore.append`."""
        with self._lock:
            self._require_open()
            before = self._last
            for event in events:
                if event.event_id not in self._ids:
                    self._ids.add(event.event_id)
                    self._last += 1
                    self._events.append(StoredEvent(self._last, event))
            return self._last - before

    def read(
        self, wanted: EventFilter, *, after: int = 0, limit: int = 1_000, newest: bool = False
    ) -> list[StoredEvent]:
        """Return events after a place; see `EventStore.read`."""
        with self._lock:
            self._require_open()
            start = bisect.bisect_right(self._events, after, key=lambda each: each.seq)
            found = [each for each in self._events[start:] if wanted.matches(each.event)]
        if newest:
            return found[max(len(found) - limit, 0) :]
        return found[:limit]

    def prune(self, *, before: datetime, max_events: int) -> int:
        """Forget what is too old or too much; see `EventStore.prune`."""
        with self._lock:
            self._require_open()
            young = [each for each in self._events if each.event.time >= before]
            left = young[max(len(young) - max_events, 0) :]
            gone = len(self._events) - len(left)
            self._events = left
            self._ids = {each.event.event_id for each in left}
            return gone

    def close(self) -> None:
        """Forget everything. Idempotent."""
        with self._lock:
            self._closed = True
            self._events = []
            self._ids = set()

    def _require_open(self) -> None:
        if self._closed:
            raise EventError("the event store is closed", code="events_closed")

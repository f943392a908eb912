"""Writes what is published into a store, in batches, and forgets what is too old."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import Clock, Event, EventError, EventKind, EventStore, SystemClock
from agentguard.events._ids import event_ids

if TYPE_CHECKING:
    from agentguard.core import EventBus

log = logging.getLogger("agentguard.events")

BATCH = 4_096
# What is published is in the store, and seen on the page, after so long at the latest.
WAIT_S = 0.1
PRUNE_EVERY_S = 600.0
_RETRY_S = (0.1, 0.5, 2.0, 5.0)


class Retention(msgspec.Struct, frozen=True):
    """How long events are kept, and how many at most."""

    days: int
    max_events: int


class EventRecorder:
    """Subscribes a store to a bus, in a thread of its own, until it is closed.

    While the store takes nothing, events wait on the bus; when that is full too, publishers are told so. What
    a full bus dropped becomes an event of kind `alert` (`events.dropped`).
    """

    def __init__(
        self, bus: EventBus, store: EventStore, retention: Retention, *, clock: Clock | None = None
    ) -> None:
        self._store = store
        self._retention = retention
        self._clock = clock or SystemClock()
        self._place = bus.subscribe("store")
        self._stopping = threading.Event()
        self._batch: list[Event] = []
        self._told = 0
        self.failed_appends = 0
        self._thread = threading.Thread(target=self._run, name="agentguard-events", daemon=True)
        self._thread.start()

    @property
    def is_healthy(self) -> bool:
        """Whether the store took the newest batch."""
        return self.failed_appends == 0

    def close(self) -> int:
        """Write what was published until now; return how many events could not be written. Idempotent."""
        self._stopping.set()
        self._thread.join()
        lost = len(self._batch)
        self._batch = []
        while left := self._place.take(BATCH, timeout_s=0):
            lost += len(left)
        self._place.close()
        if lost:
            log.error("events lost, since the store took none at the end: %d", lost)
        return lost

    def _run(self) -> None:
        self._prune()
        until_prune = PRUNE_EVERY_S / WAIT_S
        while not self._stopping.is_set():
            self._fill(WAIT_S)
            self._write()
            until_prune -= 1
            if until_prune <= 0:
                self._prune()
                until_prune = PRUNE_EVERY_S / WAIT_S
        while True:
            self._fill(0)
            if not self._batch or not self._write():
                return

    def _fill(self, timeout_s: float) -> None:
        if not self._batch:
            self._batch = self._place.take(BATCH, timeout_s=timeout_s)
            dropped = self._place.dropped - self._told
            if dropped:
                self._told += dropped
                now = self._clock.now()
                payload = {"action": "events.dropped", "count": dropped}
                self._batch.append(Event(event_ids([now])[0], EventKind.ALERT, now, payload=payload))

    def _write(self) -> bool:
        if not self._batch:
            return True
        try:
            self._store.append(self._batch)
        except EventError as error:
            if self.failed_appends == 0:
                log.error("events cannot be stored and wait: %s", error.message)  # noqa: TRY400 - no traceback
            self._stopping.wait(_RETRY_S[min(self.failed_appends, len(_RETRY_S) - 1)])
            self.failed_appends += 1
            return False
        if self.failed_appends:
            log.warning("events are stored again")
        self.failed_appends = 0
        self._batch = []
        return True

    def _prune(self) -> None:
        before = self._clock.now() - timedelta(days=self._retention.days)
        try:
            gone = self._store.prune(before=before, max_events=self._retention.max_events)
        except EventError as error:
            log.warning("old events could not be removed: %s", error.message)
        else:
            if gone:
                log.info("old events removed: %d", gone)

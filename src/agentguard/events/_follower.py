"""Follows the audit log and the event store, and publishes an alert where the two contradict each other."""

from __future__ import annotations

import logging
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from agentguard.core import EventError, EventFilter, EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agentguard.core import Event, EventBus, EventStore, StoredEvent
    from agentguard.events._truth import Truth

T = TypeVar("T")

_log = logging.getLogger("agentguard.events")

POLL_S = 0.02
_BATCH = 4_096
_DEEDS = EventFilter(kinds=(EventKind.FILE, EventKind.NET, EventKind.PROC))


class RecordTail(Protocol):
    """Whatever yields the audit log's new records."""

    def take(self) -> Sequence[Mapping[str, Any]]:
        """Return the records that came since the last look."""

    def close(self) -> None:
        """Free what it holds."""


class TruthFollower:
    """Asks `truth` about each new event, in a thread of its own, until it is closed.

    Both are read from where every process writes them, so it does not matter which one decided and which one watched.
    The log is read after the events: a decision is on record before it can have an effect. `on_alert` is told of
    each alert as well; what it raises is logged.
    """

    def __init__(
        self,
        truth: Truth,
        *,
        records: RecordTail,
        store: EventStore,
        bus: EventBus,
        on_alert: Callable[[Event], None] = lambda _alert: None,
    ) -> None:
        self._truth, self._records, self._store = truth, records, store
        self._bus, self._on_alert = bus, on_alert
        self._stopping = threading.Event()
        self._failed = False
        newest = self._try_read(limit=1, newest=True)
        self._after = newest[-1].seq if newest else 0
        self._thread = threading.Thread(target=self._run, name="agentguard-truth", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Judge what was stored until now, and end. Idempotent."""
        self._stopping.set()
        self._thread.join()
        self._records.close()

    def _run(self) -> None:
        while not self._stopping.wait(POLL_S):
            self._look()
        self._look()

    def _look(self) -> None:
        while found := self._try_read(limit=_BATCH):
            new: Sequence[Mapping[str, Any]] = self._try(self._records.take, [])
            for record in new:
                self._try(partial(self._truth.note, record), None)
            self._after = found[-1].seq
            for each in found:
                alert = self._try(partial(self._truth.judge, each.event), None)
                if alert is not None:
                    self._tell(alert)

    def _try(self, call: Callable[[], T], otherwise: T) -> T:
        """Return what `call` returns; the thread must live, whatever hostile text an event has in it."""
        try:
            return call()
        except Exception:  # noqa: BLE001 - logged with all that is known of it
            _log.exception("events cannot be compared with decisions")
            return otherwise

    def _tell(self, alert: Event) -> None:
        try:
            # Stored at once, also while the program ends; the bus is for who subscribes.
            self._store.append([alert])
            self._bus.publish([alert], droppable=True)
            self._on_alert(alert)
        except Exception:  # noqa: BLE001 - a subscriber's fault must not end the watch
            _log.exception("an alert could not be acted on")

    def _try_read(self, *, limit: int, newest: bool = False) -> list[StoredEvent]:
        after = 0 if newest else self._after
        try:
            found = self._store.read(_DEEDS, after=after, limit=limit, newest=newest)
        except EventError as error:
            if not self._failed:
                _log.warning("events cannot be compared with decisions: %s", error.message)
            self._failed = True
            return []
        self._failed = False
        return found

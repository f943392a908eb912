"""The recorder: what is published is in the store, also when the store was away for a while."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from agentguard.backends import MemoryEventStore
from agentguard.core import Event, EventError, EventFilter, EventKind
from agentguard.events import EventRecorder, InProcessBus, Retention

if TYPE_CHECKING:
    from collections.abc import Sequence

ALL = EventFilter()
KEEP = Retention(days=30, max_events=1_000)


class AwayStore(MemoryEventStore):
    """Takes nothing while `away`."""

    away = False
    refused = 0

    def append(self, events: Sequence[Event]) -> int:
        if self.away:
            self.refused += 1
            raise EventError("the disk is full")
        return super().append(events)


def event(number: int, *, age: timedelta = timedelta()) -> Event:
    return Event(f"e-{number}", EventKind.PROC, datetime.now(UTC) - age)


def wait_for(store: MemoryEventStore, count: int) -> None:
    deadline = time.monotonic() + 10
    while len(store.read(ALL)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_is_published_is_stored_soon() -> None:
    bus, store = InProcessBus(), MemoryEventStore()
    recorder = EventRecorder(bus, store, KEEP)
    bus.publish([event(1), event(2)])
    wait_for(store, 2)
    assert recorder.is_healthy
    assert recorder.close() == 0


def test_what_was_published_before_closing_is_stored() -> None:
    bus, store = InProcessBus(), MemoryEventStore()
    recorder = EventRecorder(bus, store, KEEP)
    bus.publish([event(number) for number in range(500)])
    assert recorder.close() == 0
    assert len(store.read(ALL)) == 500


def test_while_the_store_is_away_events_wait_and_then_are_stored_in_order() -> None:
    bus, store = InProcessBus(), AwayStore()
    store.away = True
    recorder = EventRecorder(bus, store, KEEP)
    bus.publish([event(1)])
    deadline = time.monotonic() + 10
    while store.refused < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    bus.publish([event(2)])
    assert not recorder.is_healthy
    store.away = False
    wait_for(store, 2)
    assert [each.event.event_id for each in store.read(ALL)] == ["e-1", "e-2"]
    assert recorder.close() == 0


def test_closing_while_the_store_is_away_says_how_many_are_lost() -> None:
    bus, store = InProcessBus(), AwayStore()
    recorder = EventRecorder(bus, store, KEEP)
    store.away = True
    bus.publish([event(1), event(2), event(3)])
    assert recorder.close() == 3


def test_what_a_full_bus_dropped_becomes_an_alert() -> None:
    bus, store = InProcessBus(), AwayStore()
    store.away = True
    recorder = EventRecorder(bus, store, KEEP)
    for first in range(0, 200_000, 10_000):
        bus.publish([event(first + number) for number in range(10_000)], droppable=True)
    store.away = False
    assert recorder.close() == 0
    alerts = store.read(EventFilter(kinds=(EventKind.ALERT,)), limit=100)
    dropped = sum(each.event.payload["count"] for each in alerts)
    assert {each.event.payload["action"] for each in alerts} == {"events.dropped"}
    stored = len(store.read(EventFilter(kinds=(EventKind.PROC,)), limit=1_000_000))
    assert stored + dropped == 200_000
    assert dropped


def test_old_events_are_removed_at_the_start() -> None:
    store = MemoryEventStore()
    store.append([event(1, age=timedelta(days=31)), event(2)])
    recorder = EventRecorder(InProcessBus(), store, KEEP)
    recorder.close()
    assert [each.event.event_id for each in store.read(ALL)] == ["e-2"]

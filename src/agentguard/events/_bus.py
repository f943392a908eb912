"""The bus in one process: a bounded queue for each subscriber."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentguard.core import Event


class InProcessBus:
    """An `EventBus` of this process. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: tuple[_Place, ...] = ()

    def publish(self, events: Sequence[Event], *, droppable: bool = False) -> bool:
        """Hand on all of `events` or none; see `EventBus.publish`."""
        with self._lock:
            places = self._places
            if not droppable and any(not place.has_room(len(events)) for place in places):
                return False
            for place in places:
                place.put(events, droppable=droppable)
        return True

    def subscribe(self, name: str, *, max_events: int = 65_536) -> _Place:
        """Return a new subscription; `name` says whose it is where something is dropped."""
        place = _Place(self, name, max_events)
        with self._lock:
            self._places = (*self._places, place)
        return place

    def forget(self, place: _Place) -> None:
        """Hand nothing more to a subscription that was closed."""
        with self._lock:
            self._places = tuple(each for each in self._places if each is not place)


class _Place:
    """One subscription: events that must not be lost, and those that may, in one order."""

    def __init__(self, bus: InProcessBus, name: str, max_events: int) -> None:
        self.name = name
        self._bus = bus
        self._max = max_events
        self._changed = threading.Condition()
        # Kept and droppable events are counted apart, so that a flood of the one leaves room for the other.
        self._queue: deque[tuple[Event, bool]] = deque()
        self._kept = self._loose = self._dropped = 0
        self._closed = False

    @property
    def dropped(self) -> int:
        """How many droppable events found no room so far."""
        return self._dropped

    def has_room(self, count: int) -> bool:
        """Tell whether so many events that must not be lost fit; an empty place takes a batch of any size."""
        return self._closed or self._kept == 0 or self._kept + count <= self._max

    def put(self, events: Sequence[Event], *, droppable: bool) -> None:
        """Queue events (the bus's lock is held)."""
        with self._changed:
            if self._closed:
                return
            self._queue.extend((event, droppable) for event in events)
            if droppable:
                self._loose += len(events)
                if self._loose > self._max:
                    self._drop()
            else:
                self._kept += len(events)
            self._changed.notify()

    def take(self, limit: int, *, timeout_s: float) -> list[Event]:
        """Return up to `limit` events, oldest first; none if none came in time."""
        with self._changed:
            if not self._queue:
                self._changed.wait(timeout_s)
            taken = [self._queue.popleft() for _ in range(min(limit, len(self._queue)))]
            loose = sum(droppable for _, droppable in taken)
            self._loose -= loose
            self._kept -= len(taken) - loose
        return [event for event, _ in taken]

    def close(self) -> None:
        """Take no more. Idempotent."""
        self._bus.forget(self)
        with self._changed:
            self._closed = True
            self._queue.clear()
            self._kept = self._loose = 0
            self._changed.notify()

    def _drop(self) -> None:
        """Drop the oldest droppable events, an eighth of the room at once: each pass looks at the whole queue."""
        excess = self._loose - self._max + self._max // 8
        left: deque[tuple[Event, bool]] = deque()
        dropped = 0
        for each in self._queue:
            if each[1] and dropped < excess:
                dropped += 1
            else:
                left.append(each)
        self._queue = left
        self._loose -= dropped
        self._dropped += dropped

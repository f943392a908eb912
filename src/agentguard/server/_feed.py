"""Follows the audit log and the event store for the page and for the list of agents.

The log is followed, not the decision: so the page shows what is proven, whichever process wrote it, and a
stream that was cut resumes at a `Place`. There is no queue that a slow reader could fill: each stream has a
place in two rings, and one that falls behind by more than a ring has the oldest skipped.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.console import Chain
from agentguard.core import EventError, EventFilter, StoredEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agentguard.core import EventStore
    from agentguard.server._agents import AgentsSeen
    from agentguard.server._services import ServedLog

RING = 500
POLL_S = 0.2
MAX_STREAMS = 32
# How far back a first look goes, to know who asked before this server started.
_FIRST_LOOK = 10_000
# Reading may take this fraction of the time, however large the log's segments are.
_IDLE_SHARE = 10

_log = logging.getLogger("agentguard.server")


_ALL = EventFilter()


class Place(msgspec.Struct, frozen=True):
    """How far a stream has come: the `seq` of the newest record, and of the newest event."""

    record: int
    event: int = 0

    def __str__(self) -> str:
        return f"{self.record}.{self.event}" if self.event else str(self.record)


class News(msgspec.Struct, frozen=True):
    """What a stream has not seen yet; nothing at all is a heartbeat. `skipped` counts what it never will."""

    place: Place
    skipped: int = 0
    records: tuple[tuple[int, Mapping[str, Any]], ...] = ()
    events: tuple[StoredEvent, ...] = ()


class Feed:
    """Reads new records and events, for as long as anybody looks. Belongs to one event loop."""

    def __init__(self, audit: ServedLog, agents: AgentsSeen, events: EventStore | None = None) -> None:
        self._audit = audit
        self._agents = agents
        self._events = events
        self._ring: deque[tuple[int, Mapping[str, Any]]] = deque(maxlen=RING)
        self._seen: deque[StoredEvent] = deque(maxlen=RING)
        self._last = -1
        self._last_event = -1
        self._read_s = 0.0
        self._reading = asyncio.Lock()
        self._changed = asyncio.Event()
        self._wanted = asyncio.Event()
        self._closed = False
        self.streams = 0

    async def run(self) -> None:
        """Follow the log until closed. A log that cannot be read is asked again."""
        await self._try_catch_up()
        while not self._closed:
            await self._wanted.wait()
            await asyncio.sleep(max(POLL_S, _IDLE_SHARE * self._read_s))
            await self._try_catch_up()

    def close(self) -> None:
        """End all streams."""
        self._closed = True
        self._wanted.set()
        self._notify()

    async def catch_up(self) -> None:
        """Read what is new in the log and in the event store."""
        async with self._reading:
            records, events = await asyncio.to_thread(self._read)
            for record in records:
                self._ring.append((int(record["seq"]), record))
                self._agents.recorded(record)
            self._seen.extend(events)
            if records or events:
                self._notify()

    def chain(self) -> Chain:
        """Return where the chain stands."""
        state = self._audit.state
        is_ours = state.seq >= self._last
        return Chain(
            seq=max(state.seq, self._last),
            head=state.hash if state.seq and is_ours else "",
            signed=state.head_seq,
            healthy=state.healthy,
            why_not=state.why_not,
        )

    def newest(self, limit: int) -> list[tuple[int, Mapping[str, Any]]]:
        """Return the newest records known, oldest first."""
        return list(self._ring)[-limit:]

    def newest_events(self, limit: int) -> list[StoredEvent]:
        """Return the newest events known, oldest first."""
        return list(self._seen)[-limit:]

    def place(self) -> Place:
        """Return the place after everything that is known."""
        return Place(self.chain().seq, max(self._last_event, 0))

    async def follow(self, after: Place, *, heartbeat_s: float) -> AsyncIterator[News]:
        """Yield what is new as it comes, and at least every `heartbeat_s` seconds that nothing is."""
        self.streams += 1
        self._wanted.set()
        try:
            while not self._closed:
                changed = self._changed
                news = self._news(after)
                if news.place != after:
                    after = news.place
                    yield news
                    continue
                try:
                    await asyncio.wait_for(changed.wait(), heartbeat_s)
                except TimeoutError:
                    yield news
        finally:
            self.streams -= 1
            if self.streams == 0 and not self._closed:
                self._wanted.clear()

    def _news(self, after: Place) -> News:
        records = tuple((seq, record) for seq, record in self._ring if seq > after.record)
        events = tuple(each for each in self._seen if each.seq > after.event)
        skipped = max(0, records[0][0] - after.record - 1) if records else 0
        skipped += max(0, events[0].seq - after.event - 1) if events else 0
        place = Place(records[-1][0] if records else after.record, events[-1].seq if events else after.event)
        return News(place, skipped, records, events)

    def _read(self) -> tuple[list[Mapping[str, Any]], list[StoredEvent]]:
        start = time.perf_counter()
        records, events = self._read_log(), self._read_events()
        self._read_s = time.perf_counter() - start
        return records, events

    def _read_log(self) -> list[Mapping[str, Any]]:
        # The state knows this process's records; those of others are found by reading on.
        bound = _FIRST_LOOK if self._last < 0 else RING
        after = max(self._last, self._audit.state.seq - bound, 0)
        records = list(self._audit.read(after=after, limit=bound))
        self._last = int(records[-1]["seq"]) if records else after
        return records

    def _read_events(self) -> list[StoredEvent]:
        if self._events is None:
            return []
        try:
            # The newest: what a flood pushed out of the ring is in the store.
            events = self._events.read(_ALL, after=max(self._last_event, 0), limit=RING, newest=True)
        except EventError as error:
            _log.warning("events cannot be followed: %s", error.message)
            return []
        self._last_event = events[-1].seq if events else max(self._last_event, 0)
        return events

    async def _try_catch_up(self) -> None:
        try:
            await self.catch_up()
        except Exception:  # noqa: BLE001 - the task must live: what failed is logged, and tried again
            _log.exception("the audit log cannot be followed")

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

"""Follows the audit log for the page and for the list of agents.

The log is followed, not the decision: so the page shows what is proven, whichever process wrote it, and a
stream that was cut resumes at a `seq`. There is no queue that a slow reader could fill: each stream has a
place in one ring, and one that falls behind by more than the ring has the oldest skipped.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from agentguard.console import Chain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

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


class Feed:
    """Reads new records, for as long as anybody looks. Belongs to one event loop."""

    def __init__(self, audit: ServedLog, agents: AgentsSeen) -> None:
        self._audit = audit
        self._agents = agents
        self._ring: deque[tuple[int, Mapping[str, Any]]] = deque(maxlen=RING)
        self._last = -1
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
        """Read what is new in the log."""
        async with self._reading:
            records = await asyncio.to_thread(self._read)
            for record in records:
                self._ring.append((int(record["seq"]), record))
                self._agents.recorded(record)
            if records:
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

    async def follow(
        self, after: int, *, heartbeat_s: float
    ) -> AsyncIterator[tuple[int, list[tuple[int, Mapping[str, Any]]]]]:
        """Yield (how many were skipped, new records) as they come; no records is a heartbeat."""
        self.streams += 1
        self._wanted.set()
        try:
            while not self._closed:
                changed = self._changed
                news = [(seq, record) for seq, record in self._ring if seq > after]
                if news:
                    skipped = max(0, news[0][0] - after - 1)
                    after = news[-1][0]
                    yield skipped, news
                    continue
                try:
                    await asyncio.wait_for(changed.wait(), heartbeat_s)
                except TimeoutError:
                    yield 0, []
        finally:
            self.streams -= 1
            if self.streams == 0 and not self._closed:
                self._wanted.clear()

    def _read(self) -> list[Mapping[str, Any]]:
        # The state knows this process's records; those of others are found by reading on.
        start = time.perf_counter()
        bound = _FIRST_LOOK if self._last < 0 else RING
        after = max(self._last, self._audit.state.seq - bound, 0)
        records = list(self._audit.read(after=after, limit=bound))
        self._last = int(records[-1]["seq"]) if records else after
        self._read_s = time.perf_counter() - start
        return records

    async def _try_catch_up(self) -> None:
        try:
            await self.catch_up()
        except Exception:  # noqa: BLE001 - the task must live: what failed is logged, and tried again
            _log.exception("the audit log cannot be followed")

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

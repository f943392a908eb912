"""From the reader's thread to whoever consumes: no lock is taken, so neither waits for the other."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from agentguard.kernel._layout import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentguard.kernel._seen import Seen

# What a flood consists of; all else is kept whatever it costs.
_ORDINARY = frozenset((Kind.OPEN, Kind.READ, Kind.WRITE))


class Handover:
    """A queue for one producer and one consumer, over a deque, whose ends are atomic.

    Behind by `ordinary_limit`, opens are left out and counted (`skipped`). Behind by `hard_limit`, `is_full`
    asks the reader to leave what comes in the kernel's ring, where what is vital has room of its own: nothing
    of it is ever left out here.
    """

    def __init__(self, *, ordinary_limit: int = 100_000, hard_limit: int = 400_000) -> None:
        self.skipped = 0
        self._batches: deque[list[Seen]] = deque()
        self._ordinary_limit, self._hard_limit = ordinary_limit, hard_limit
        # Each is written by one side only.
        self._put = self._taken = 0
        self._arrived = threading.Event()

    @property
    def backlog(self) -> int:
        """How many wait for the consumer."""
        return self._put - self._taken

    @property
    def is_full(self) -> bool:
        """Whether the producer should wait."""
        return self.backlog >= self._hard_limit

    def put(self, batch: list[Seen]) -> None:
        """Hand a batch over."""
        if self.backlog >= self._ordinary_limit:
            kept = [each for each in batch if each.kind not in _ORDINARY or each.ret < 0]
            self.skipped += len(batch) - len(kept)
            batch = kept
        if batch:
            self._put += len(batch)
            self._batches.append(batch)
            self._arrived.set()

    def take(self, timeout: float = 0) -> list[Seen]:
        """Return the oldest batch; empty if none comes within `timeout` seconds."""
        if not self._batches and timeout > 0:
            self._arrived.wait(timeout)
        self._arrived.clear()
        try:
            batch = self._batches.popleft()
        except IndexError:
            return []
        self._taken += len(batch)
        return batch

    def batches(self, done: threading.Event, *, timeout: float = 0.1) -> Iterator[list[Seen]]:
        """Yield batches until `done` is set and nothing is left; an empty one each `timeout` seconds without any."""
        while True:
            # INVARIANT: asked before the queue is looked at. What is put before `done` is set is never left behind.
            is_last = done.is_set()
            batch = self.take(timeout)
            if not batch and is_last:
                return
            yield batch

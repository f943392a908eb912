"""Stamps: the event id and the time of a record."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentguard.core import Clock

_POOL_BYTES = 15 * 128
_RANDOM_DIGITS = 15
_SECOND = timedelta(seconds=1)
_VERSION = 7 << 12


class Stamper:
    """Gives each record an id and a time. Not safe for threads: the log calls it under its lock.

    An id is a version 7 UUID (RFC 9562, section 5.7, with microseconds in `rand_a` as its method 3 allows)
    in 32 hex digits, so ids sort by time; 60 bits of each are random.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pool = ""
        self._offset = 0
        # The second that the texts below are of: from its start until the next one's.
        self._start = self._end = datetime.min.replace(tzinfo=UTC)
        self._millis = 0
        self._text = ""

    def stamp(self) -> tuple[str, str]:
        """Return (event id, time as RFC 3339 in UTC with microseconds)."""
        now = self._clock.now()
        micros = now.microsecond
        if not self._start <= now < self._end:
            # Formatting a time costs more than the rest of a record; within a second only its end changes.
            self._start = now.replace(microsecond=0)
            self._end = self._start + _SECOND
            self._millis = int(self._start.timestamp()) * 1000
            self._text = f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%S}."
        start = self._offset
        if start >= len(self._pool):
            self._pool = os.urandom(_POOL_BYTES).hex()
            start = 0
        self._offset = end = start + _RANDOM_DIGITS
        # 48 bits of milliseconds, the version, 12 bits of what is left of the time.
        time_bits = (self._millis + micros // 1000) << 16 | _VERSION | micros % 1000 * 4096 // 1000
        # 8 is the variant of RFC 9562, its two bits and two more that are zero.
        return f"{time_bits:016x}8{self._pool[start:end]}", f"{self._text}{micros:06d}Z"

    def forget(self) -> None:
        """Drop the random bytes in store: after a fork, parent and child must not use the same ones."""
        self._pool = ""
        self._offset = 0

"""A clock for deadlines: it goes on evenly when somebody sets the machine's time."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from agentguard.core import Clock, SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

# What a time service corrects at once is less; what is more was set by somebody.
TOLERANCE_S = 2.0


def _seconds_since_boot() -> float:
    # Counts while the machine sleeps, which `time.monotonic` need not.
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SteadyClock:
    """A `Clock` that follows `wall`, except where it jumps against the seconds that really passed.

    A jump is told to `on_jump` in seconds, forward positive, and not followed: no deadline comes nearer or goes
    away by it. Time never goes backwards. Safe to use from many threads.
    """

    def __init__(
        self,
        wall: Clock | None = None,
        *,
        elapsed: Callable[[], float] = _seconds_since_boot,
        on_jump: Callable[[float], None] | None = None,
    ) -> None:
        self._wall = wall or SystemClock()
        self._elapsed = elapsed
        self.on_jump = on_jump
        self._lock = threading.Lock()
        self._now = self._last_wall = self._wall.now()
        self._last_elapsed = elapsed()

    def now(self) -> datetime:
        """Return the present time, aware and UTC."""
        jump = 0.0
        with self._lock:
            wall, elapsed = self._wall.now(), self._elapsed()
            by_wall = (wall - self._last_wall).total_seconds()
            passed = max(elapsed - self._last_elapsed, 0.0)
            self._last_wall, self._last_elapsed = wall, elapsed
            if abs(by_wall - passed) > TOLERANCE_S:
                jump = by_wall - passed
            else:
                passed = max(by_wall, 0.0)
            self._now += timedelta(seconds=passed)
            now = self._now
        if jump and self.on_jump is not None:
            self.on_jump(jump)
        return now

    def not_before(self, moment: datetime) -> None:
        """Go on from `moment` if it is later: what has been written down has happened."""
        with self._lock:
            self._now = max(self._now, moment)

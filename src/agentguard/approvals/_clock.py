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
    """A `Clock` that begins with `wall` and then counts the seconds that really pass.

    When somebody sets the machine's time, no deadline comes nearer or goes away by it, until the process begins
    anew; the jump is told to `on_jump` in seconds, forward positive. Safe to use from many threads.
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
        self._start, self._started = self._wall.now(), elapsed()
        self._offset_s = 0.0

    def now(self) -> datetime:
        """Return the present time, aware and UTC."""
        with self._lock:
            wall, now = self._wall.now(), self._at()
            jump = (wall - now).total_seconds() - self._offset_s
            if is_jump := abs(jump) > TOLERANCE_S:
                self._offset_s += jump
        if is_jump and self.on_jump is not None:
            self.on_jump(jump)
        return now

    def not_before(self, moment: datetime) -> None:
        """Go on from `moment` if it is later: what has been written down has happened."""
        with self._lock:
            behind = moment - self._at()
            if behind > timedelta():
                self._start += behind
                self._offset_s -= behind.total_seconds()

    def _at(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed() - self._started)

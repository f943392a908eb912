"""A circuit breaker: after several failures in a row it stops asking for a while, then lets one call try."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Breaker:
    """Opens after `failures` calls in a row have failed, for `open_s` seconds; then one probe at a time passes.

    A call that `admit` let pass ends with exactly one of `succeeded`, `failed` and `abandoned`. `clock` counts
    seconds and never goes back. Safe to use from many threads.
    """

    def __init__(self, *, failures: int, open_s: float, clock: Callable[[], float]) -> None:
        self._limit = failures
        self._open_s = open_s
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Close it, with a lock of its own: another process may have forked while the old one was held."""
        self._lock = threading.Lock()
        self._failures = 0
        self._open_until: float | None = None
        self._is_probing = False

    def admit(self) -> bool:
        """Tell whether a call may be made."""
        with self._lock:
            if self._open_until is None:
                return True
            if self._is_probing or self._clock() < self._open_until:
                return False
            self._is_probing = True
            return True

    def succeeded(self) -> None:
        """The other side answered: close."""
        with self._lock:
            self._failures = 0
            self._open_until = None
            self._is_probing = False

    def failed(self) -> None:
        """The call failed: count it, and open at the limit; a failed probe opens again."""
        with self._lock:
            self._failures += 1
            self._is_probing = False
            if self._failures >= self._limit:
                self._open_until = self._clock() + self._open_s

    def abandoned(self) -> None:
        """The caller gave up, which says nothing about the other side."""
        with self._lock:
            self._is_probing = False

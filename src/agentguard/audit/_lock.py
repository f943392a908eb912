"""The lock among processes: flock(2) on the log's folder, so that there is no lock file to delete."""

from __future__ import annotations

import fcntl
import time

from agentguard.core import AuditError

TIMEOUT_S = 10.0
_LONGEST_PAUSE_S = 0.001


def lock(fd: int, *, shared: bool = False, timeout_s: float = TIMEOUT_S) -> None:
    """Take the lock; another process holds it for microseconds, or for one fsync.

    Raises:
        AuditError: it was not to be had in time (`audit_locked`): its holder is stopped or hangs.
    """
    operation = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
    deadline = None
    pause = 0.00002
    while True:
        try:
            fcntl.flock(fd, operation)
        except BlockingIOError:
            present = time.monotonic()
            deadline = deadline or present + timeout_s
            if present >= deadline:
                raise AuditError(
                    f"another process has held the log's lock for {timeout_s:g} s",
                    code="audit_locked",
                    hint="look for a stopped process that uses the same project",
                ) from None
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)
        else:
            return


def unlock(fd: int) -> None:
    """Let go of the lock."""
    fcntl.flock(fd, fcntl.LOCK_UN)

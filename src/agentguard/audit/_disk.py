"""Writing so that nothing is lost silently: whole or not at all, and never onto a disk that is nearly full."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from agentguard.core import AuditError

if TYPE_CHECKING:
    from pathlib import Path

_CHECK_INTERVAL_S = 0.1


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data` with one write(2).

    Raises:
        OSError: it failed, or took only a part (a disk that fills up does that before it says so).
    """
    count = os.write(fd, data)
    if count != len(data):
        raise _short(count, data)


def _short(count: int, data: bytes) -> OSError:
    return OSError(f"short write: {count} of {len(data)} bytes")


def append_all(fd: int, data: bytes, size: int) -> None:
    """Append `data` to a file of `size` bytes; on failure cut the file back, which works on a full disk."""
    try:
        count = os.write(fd, data)
        if count != len(data):
            raise _short(count, data)
    except OSError:
        os.ftruncate(fd, size)
        raise


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Reserve:
    """Refuses while the file system has less than `minimum` bytes free; looks ten times a second at most."""

    def __init__(self, minimum: int) -> None:
        self._minimum = minimum
        self._next = 0.0

    def check(self, fd: int, *, now: bool = False) -> bool:
        """Raise AuditError (`audit_disk_full`) if too little is free where `fd` lies; tell whether it looked."""
        present = time.monotonic()
        if present < self._next and not now:
            return False
        stat = os.fstatvfs(fd)
        free = stat.f_bavail * stat.f_frsize
        if free < self._minimum:
            raise AuditError(
                f"the disk has {free} bytes free and the log keeps {self._minimum} in reserve",
                code="audit_disk_full",
                hint="free some space; the log goes on by itself",
            )
        self._next = present + _CHECK_INTERVAL_S
        return True

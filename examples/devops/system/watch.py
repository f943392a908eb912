"""Sees whether anybody opens a file: inotify, asked of the kernel, so nobody can forget to tell."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_IN_ACCESS, _IN_OPEN = 0x1, 0x20


class OpenWatch:
    """Watches `path` from now on.

    Raises:
        OSError: this kernel has no inotify, or it does not see a file being opened.
    """

    def __init__(self, path: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "inotify_init1"):
            raise OSError("inotify is a service of Linux")
        self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        added = libc.inotify_add_watch(self._descriptor, os.fsencode(path), _IN_OPEN | _IN_ACCESS)
        if self._descriptor < 0 or added < 0:
            raise OSError(ctypes.get_errno(), "cannot watch the file")
        # A watch that sees nothing would prove nothing: it has to see us first.
        path.open("rb").close()
        if not self.was_opened():
            raise OSError("the watch does not see the file being opened")

    def was_opened(self) -> bool:
        """Return whether the file was opened or read since the last call."""
        try:
            return bool(os.read(self._descriptor, 65536))
        except BlockingIOError:
            return False

    def close(self) -> None:
        """Stop watching."""
        os.close(self._descriptor)

"""News of folders, as inotify(7) tells them: made, removed, or given another attribute."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_ATTRIBUTE, _CREATE, _DELETE, _FOLDERS_ONLY = 0x4, 0x100, 0x200, 0x01000000
_WANTED = _ATTRIBUTE | _CREATE | _DELETE | _FOLDERS_ONLY
_FLAGS = os.O_CLOEXEC | os.O_NONBLOCK


class FolderNews:
    """Waits until something happens in one of the folders that it was told of, or until it is woken.

    Where the system gives no such news, it just waits: whoever asks looks for himself every now and then.
    """

    def __init__(self) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        self._add = library.inotify_add_watch
        self._descriptor = library.inotify_init1(_FLAGS)
        self._woken, self._wake = os.pipe2(_FLAGS)
        self._poll = select.poll()
        for each in (self._descriptor, self._woken):
            if each >= 0:
                self._poll.register(each, select.POLLIN)

    def add(self, folder: Path) -> None:
        """Tell of what happens in this folder too; telling twice does no harm."""
        self._add(self._descriptor, os.fsencode(folder), _WANTED)

    def wait(self, timeout_s: float) -> None:
        """Return when there is news, and after `timeout_s` seconds at the latest."""
        for descriptor, _ in self._poll.poll(timeout_s * 1000):
            # What it was does not matter: everything is looked at.
            with contextlib.suppress(BlockingIOError):
                while os.read(descriptor, 1 << 16):
                    pass

    def wake(self) -> None:
        """Have `wait` return."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake, b".")

    def close(self) -> None:
        """Let go. Idempotent."""
        while (descriptors := [self._descriptor, self._woken, self._wake]) != [-1, -1, -1]:
            self._descriptor = self._woken = self._wake = -1
            for each in descriptors:
                if each >= 0:
                    os.close(each)

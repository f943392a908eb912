"""Fanotify: denied files by inode, whatever they are called, asked about before they are opened. Takes root.

The kernel asks about opens of everybody; those of processes outside the supervisor's process namespace have no pid
here, and are let through at once. When the descriptor closes, waiting opens go through: the supervisor that holds it is
the first process of the namespace, and the kernel ends all others with it.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agentguard.kernel.jail._calls import call

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CLASS_CONTENT, _CLOEXEC, _NONBLOCK = 4, 1, 2
_MARK_ADD, _ONLY_DIR, _DONT_FOLLOW = 1, 8, 4
_OPEN_PERM, _ACCESS_PERM, _ON_CHILD = 0x10000, 0x20000, 0x08000000
_ONDIR = 0x40000000
_EVENT = struct.Struct("=IBBHQii")
_RESPONSE = struct.Struct("=iI")
_ALLOW, _DENY = 1, 2
_AT_FDCWD = -100


class Stopped(msgspec.Struct, frozen=True):
    """An open that was asked about: the file as the kernel names it, and the pid that the supervisor sees."""

    path: str
    pid: int
    program: str
    inode: tuple[int, int]


class Marks:
    """Permission marks on inodes.

    Raises:
        OSError: the kernel, or this process's rights, have none.
    """

    def __init__(self) -> None:
        self.fd = call("fanotify_init", _CLASS_CONTENT | _CLOEXEC | _NONBLOCK, os.O_RDONLY | os.O_CLOEXEC)
        self.count = 0

    def add(self, paths: Iterable[str]) -> None:
        """Ask about opens of these files, and of these folders and the files in them, now and later.

        Raises:
            OSError: one cannot be marked.
        """
        for each in paths:
            self._mark(each)

    def _mark(self, path: str) -> None:
        try:
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                return
            mask = _OPEN_PERM | ((_ON_CHILD | _ONDIR) if stat.S_ISDIR(status.st_mode) else 0)
            call("fanotify_mark", self.fd, _MARK_ADD | _DONT_FOLLOW, mask, _AT_FDCWD, os.fsencode(path))
        except FileNotFoundError:
            return
        self.count += 1

    def answer(self, *, deny: bool = True) -> list[Stopped]:
        """Answer what waits: denied to processes of this namespace, allowed to all others. Return what was denied."""
        try:
            data = os.read(self.fd, 64 * _EVENT.size)
        except BlockingIOError:
            return []
        return list(self._answers(data, deny=deny))

    def _answers(self, data: bytes, *, deny: bool) -> Iterator[Stopped]:
        at = 0
        while at + _EVENT.size <= len(data):
            length, _, _, _, _, fd, pid = _EVENT.unpack_from(data, at)
            at += length
            if fd < 0:
                continue
            stopped = pid != 0 and deny
            try:
                os.write(self.fd, _RESPONSE.pack(fd, _DENY if stopped else _ALLOW))
                if stopped:
                    yield _describe(fd, pid)
            finally:
                os.close(fd)


def _describe(fd: int, pid: int) -> Stopped:
    path, program = "", ""
    with contextlib.suppress(OSError):
        path = str(Path(f"/proc/self/fd/{fd}").readlink())
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8") as stream:  # noqa: PTH123 - as above
        program = stream.read().rstrip("\n")
    status = os.fstat(fd)
    return Stopped(path, pid, program, (status.st_dev, status.st_ino))

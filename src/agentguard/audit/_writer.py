"""The writer: appends lines to the last segment, one process at a time, and goes on to the next segment.

Every method but `sync` runs under the log's mutex; `open` and `check_place` inside `with writer.exclusive()`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import orjson

from agentguard.audit._disk import Reserve, append_all, sync_folder, write_all
from agentguard.audit._head import is_own_forgery, read_head
from agentguard.audit._lock import lock, unlock
from agentguard.audit._record import START, Link, compose, hash_of
from agentguard.audit._segment import (
    Segment,
    Tail,
    is_sealed,
    link_before,
    list_segments,
    read_tail,
    segment_at,
)
from agentguard.core import AuditError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agentguard.audit._stamp import Stamper
    from agentguard.core import Signer

_STALE_S = 60
_LOCK_NOW = fcntl.LOCK_EX | fcntl.LOCK_NB


class Writer:
    """Holds the folder and its last segment open. `link` is the last record as far as this process knows."""

    def __init__(
        self,
        folder: Path,
        stamper: Stamper,
        signer: Signer | None,
        max_segment_bytes: int,
        reserve_bytes: int,
    ) -> None:
        self._folder = folder
        self._stamper = stamper
        self._signer = signer
        self._max_bytes = max_segment_bytes
        self._reserve = Reserve(reserve_bytes)
        self._folder_fd = -1
        self._fd = -1
        self._size = 0
        self._mode = 0
        self._synced_size = 0
        # Held while a file is synced, so that its descriptor is not closed, or used again, meanwhile.
        self._sync_lock = threading.Lock()
        self.segment: Segment | None = None
        self.link = START

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep every other process out."""
        if self._folder_fd < 0:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder_fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fd = self._folder_fd
        try:
            lock(fd)
            yield
        finally:
            unlock(fd)

    def open(self, *, resync: bool) -> None:
        """Find the end of the log, mend a torn one, and prove that it can be written and synced.

        `resync` writes the bytes again that a failed fsync may have left in memory only: the kernel reports
        such a failure once and then takes the pages for clean.
        """
        self._reserve.check(self._folder_fd, now=True)
        self._remove_stale_heads()
        segments = list_segments(self._folder)
        if segments:
            self._use(segments[-1], segments[:-1])
            if resync:
                self._write_again()
        else:
            self._check_end(START)
            self._create(1, self._stamper.stamp()[1][:10])
        os.fsync(self._fd)
        self._synced_size = self._size
        sync_folder(self._folder)

    def append(self, body: bytes) -> tuple[str, Link]:
        """Append one record under the lock, which it takes itself; return its event id and place.

        What fails leaves the file as it was.
        """
        folder_fd = self._folder_fd
        try:
            try:
                fcntl.flock(folder_fd, _LOCK_NOW)
            except BlockingIOError:
                lock(folder_fd)
            return self._append(body)
        finally:
            fcntl.flock(folder_fd, fcntl.LOCK_UN)

    def _append(self, body: bytes) -> tuple[str, Link]:
        # An fstat before each write makes the kernel stamp the inode anew each time: 1.7 of 10 µs. The size
        # tells of other processes' records; a rotation changes it too, by the `segment` record at the end.
        looked = self._reserve.check(self._fd)
        if looked or os.lseek(self._fd, 0, os.SEEK_END) != self._size:
            self._refresh()
        event_id, timestamp = self._stamper.stamp()
        line = compose(self.link, event_id, timestamp, body)
        segment = self.segment
        assert segment is not None
        if (self._size and self._size + len(line) > self._max_bytes) or timestamp[:10] > segment.day:
            self._rotate(timestamp[:10])
            line = compose(self.link, event_id, timestamp, body)
        append_all(self._fd, line, self._size)
        self._size += len(line)
        self.link = Link(self.link.seq + 1, hashlib.sha256(line[:-1]).hexdigest())
        return event_id, self.link

    def sync(self) -> Link:
        """Wait until what is written is on the disk; return the last record that surely is. Any thread may."""
        with self._sync_lock:
            link, size = self.link, self._size
            if self._fd >= 0:
                os.fdatasync(self._fd)
                self._synced_size = size
            return link

    def check_place(self) -> None:
        """Raise AuditError if the files that are open are no longer the ones that the paths name."""
        self._refresh()
        assert self.segment is not None
        try:
            same = os.path.samestat(os.fstat(self._fd), self.segment.path.stat())
        except FileNotFoundError:
            same = False
        if not same:
            raise _missing(f"the segment `{self.segment.name}` was moved or deleted while in use")

    def close(self) -> None:
        """Close the files. Idempotent; `exclusive` and `open` bring them back."""
        with self._sync_lock:
            for fd in (self._fd, self._folder_fd):
                if fd >= 0:
                    os.close(fd)
            self._fd = self._folder_fd = -1

    def after_fork(self) -> None:
        """Let go of what the parent holds: closing does not release its lock, unlocking would."""
        self._sync_lock = threading.Lock()
        self._stamper.forget()
        self.close()

    def _refresh(self) -> None:
        """Learn what other processes have written since."""
        stat = os.fstat(self._fd)
        if stat.st_size == self._size and stat.st_mode == self._mode and stat.st_nlink:
            return
        assert self.segment is not None
        if not stat.st_nlink:
            raise _missing(f"the segment `{self.segment.name}` was deleted while in use")
        if stat.st_size < self._size:
            raise _missing(f"the segment `{self.segment.name}` was cut short while in use")
        if stat.st_size > self._size:
            tail = read_tail(self._fd, stat.st_size, self._size)
            self._adopt(tail, self.link)
        if is_sealed(stat.st_mode):
            segments = list_segments(self._folder)
            self._use(segments[-1], segments[:-1])
        else:
            self._mode = stat.st_mode

    def _use(self, segment: Segment, before: list[Segment]) -> None:
        """Make a segment the one that is written to, or the one after it if it is sealed."""
        sealed = is_sealed(segment.path.stat().st_mode)
        flags = (os.O_RDONLY if sealed else os.O_RDWR | os.O_APPEND) | os.O_CLOEXEC | os.O_NOFOLLOW
        self._switch(os.open(segment.path, flags), segment)
        stat = os.fstat(self._fd)
        self._mode, self._synced_size = stat.st_mode, 0
        tail = read_tail(self._fd, stat.st_size)
        self._adopt(tail, link_before(before) if tail.link is None else START, mend=not sealed)
        if sealed:
            self._create(segment.number + 1, max(segment.day, self._stamper.stamp()[1][:10]))

    def _adopt(self, tail: Tail, before: Link, *, mend: bool = True) -> None:
        link = tail.link or before
        self._check_end(link)
        self.link, self._size = link, tail.size
        if mend and tail.torn:
            self._move_aside(tail)
        if mend:
            self._record_recoveries()

    def _check_end(self, link: Link) -> None:
        """Refuse to go on from an end that this process or the head contradicts: a new head would cover it up."""
        if link.seq < self.link.seq:
            raise _missing(f"the log ends at record {link.seq} and this process knows of {self.link.seq}")
        head = read_head(self._folder)
        if head is None:
            return
        if self._signer is not None and is_own_forgery(head, self._signer):
            raise _missing("the head has a wrong signature", code="audit_head_invalid")
        if head.seq > link.seq:
            raise _missing(f"the log ends at record {link.seq} and its head says {head.seq}")
        if head.seq == link.seq and head.hash != link.hash:
            raise _missing(f"record {link.seq} is not the one that the head was signed for")

    def _move_aside(self, tail: Tail) -> None:
        data = os.pread(self._fd, tail.torn, tail.size)
        path = self._folder / f"torn-{self.link.seq + 1}-{hash_of(data)[:8]}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        sync_folder(self._folder)
        os.ftruncate(self._fd, tail.size)

    def _record_recoveries(self) -> None:
        """Record what was moved aside for the next seq; a crash may have come between the two steps."""
        for path in sorted(self._folder.glob(f"torn-{self.link.seq + 1}-*")):
            data = path.read_bytes()
            fields = {"type": "recovered", "file": path.name, "bytes": len(data), "sha256": hash_of(data)}
            self._write_own(fields)

    def _write_own(self, fields: dict[str, Any]) -> None:
        line = compose(self.link, *self._stamper.stamp(), orjson.dumps(fields))
        append_all(self._fd, line, self._size)
        self._size += len(line)
        self.link = Link(self.link.seq + 1, hash_of(line[:-1]))

    def _rotate(self, day: str) -> None:
        segment = self.segment
        assert segment is not None
        following = segment_at(self._folder, segment.number + 1, day).name
        self._write_own({"type": "segment", "next": following})
        os.fsync(self._fd)
        os.fchmod(self._fd, 0o400)
        self._create(segment.number + 1, day)

    def _create(self, number: int, day: str) -> None:
        segment = segment_at(self._folder, number, day)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open(segment.path, flags, 0o600)
        self._switch(fd, segment)
        self._size = self._synced_size = 0
        self._mode = os.fstat(fd).st_mode
        sync_folder(self._folder)

    def _switch(self, fd: int, segment: Segment) -> None:
        with self._sync_lock:
            old, self._fd = self._fd, fd
            self.segment = segment
            if old >= 0:
                os.close(old)

    def _write_again(self) -> None:
        assert self.segment is not None
        # Without O_APPEND, which on Linux makes pwrite(2) append.
        fd = os.open(self.segment.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            data = os.pread(fd, self._size, 0)
            if data and os.pwrite(fd, data, 0) != len(data):
                raise OSError("short write while writing unsynced bytes again")
        finally:
            os.close(fd)

    def _remove_stale_heads(self) -> None:
        for path in self._folder.glob(".head-*.tmp"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _STALE_S:
                    path.unlink()


def _missing(why: str, *, code: str = "audit_tampered") -> AuditError:
    return AuditError(
        why,
        code=code,
        hint="run `agentguard audit verify`, keep the files, and move the folder aside to go on",
    )

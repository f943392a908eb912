"""The log on disk: health, durability and heads around the writer."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from agentguard.audit._disk import sync_folder
from agentguard.audit._head import HEAD_FILE, read_head, sign_head, stage_head
from agentguard.audit._read import read_folder
from agentguard.audit._record import START, Link, encode
from agentguard.audit._stamp import Stamper
from agentguard.audit._writer import Writer
from agentguard.core import AgentGuardError, AuditError, SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from agentguard.core import Clock, Signer

Durability = Literal["os", "group", "record"]
_PROBE_INTERVAL_S = 0.05
_live: weakref.WeakSet[SegmentLog] = weakref.WeakSet()


class LogState(msgspec.Struct, frozen=True):
    """How a log is: its last record, its last head, its segment, and `why_not` when it takes no records."""

    seq: int
    hash: str
    head_seq: int
    synced_seq: int
    segment: str
    durability: str
    healthy: bool
    why_not: str = ""


class SegmentLog:
    """An `AuditLog` in a folder of segment files; many threads and processes may append to one folder.

    `append` returns when write(2) has taken the whole line, which a kill -9 does not undo. Then by
    `durability`: `os` leaves the disk to a thread that syncs each `fsync_interval_s` or `fsync_records`;
    `group` waits for an fdatasync shared among threads; `record` syncs each record alone. The loss window of
    each is in docs/audit-log.md.

    What fails once (a write, a sync, a head, too little free space) makes every append raise AuditError, with
    the cause, until opening, checking and syncing the log again succeeds; an append tries that by itself.
    With a `signer`, a signed head is written each `head_interval_s` or `head_records`, and on flush and close.
    """

    def __init__(
        self,
        folder: Path,
        *,
        durability: Durability = "os",
        signer: Signer | None = None,
        clock: Clock | None = None,
        max_segment_bytes: int = 64 << 20,
        reserve_bytes: int = 8 << 20,
        fsync_interval_s: float = 0.1,
        fsync_records: int = 1000,
        head_interval_s: float = 1.0,
        head_records: int = 1000,
    ) -> None:
        self._folder = folder
        self._durability = durability
        self._signer = signer
        self._stamper = Stamper(clock or SystemClock())
        self._writer = Writer(folder, self._stamper, signer, max_segment_bytes, reserve_bytes)
        self._fsync_interval_s = fsync_interval_s
        self._fsync_records = fsync_records
        self._head_interval_s = head_interval_s
        self._head_records = head_records
        self._synced = self._headed = START
        self._next_head = 0.0
        self._next_probe = 0.0
        self._resync = False
        self._why: AuditError | None = AuditError("the log is not open yet")
        self._closed = False
        self._thread: threading.Thread | None = None
        self._fresh_locks()
        _live.add(self)
        atexit.register(_close_at_exit, weakref.ref(self))
        self.probe()

    def append(self, record: Mapping[str, Any]) -> str:
        """Append one record and return its `event_id`; see `AuditLog.append`.

        Raises:
            AuditError: the record is not in the log, or in `group` and `record` mode not surely on the disk.
        """
        body = encode(record)
        with self._mutex:
            if self._why is not None:
                self._heal()
            try:
                event_id, link = self._writer.append(body)
                if self._durability == "record":
                    self._sync()
            except (OSError, AgentGuardError) as error:
                raise self._fail(error) from error
        if self._durability == "group" and self._synced.seq < link.seq:
            self._sync_shared(link.seq)
        self._notice(link.seq)
        return event_id

    def read(self, *, after: int = 0, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """Yield the records with `seq` above `after`, oldest first, across segments.

        Raises:
            IntegrityError: a line that is no record, with its file and line.
        """
        return read_folder(self._folder, after=after, limit=limit)

    def flush(self) -> None:
        """Put what is written on the disk and sign its head.

        Raises:
            AuditError: that failed; from now on every append does.
        """
        with self._head_lock, self._mutex:
            if self._why is not None:
                self._heal()
            try:
                self._sync()
                self._write_head(check_place=False)
            except (OSError, AgentGuardError) as error:
                raise self._fail(error) from error

    def close(self) -> None:
        """Flush, sign the head and release the files; every later append raises AuditError. Idempotent.

        Raises:
            AuditError: the last records may not be on the disk, or have no head.
        """
        if self._closed:
            return
        try:
            written = self._writer.link.seq
            headless = self._signer is not None and self._headed.seq < written
            if self._why is None or headless or self._synced.seq < written:
                self.flush()
        finally:
            with self._mutex:
                self._closed = True
                self._why = AuditError("the log is closed", code="audit_closed")
                self._writer.close()
            self._dirty.set()
            self._urgent.set()
            if self._thread is not None:
                self._thread.join(timeout=5)

    @property
    def state(self) -> LogState:
        """How the log is now, as far as this process knows."""
        writer, why = self._writer, self._why
        return LogState(
            seq=writer.link.seq,
            hash=writer.link.hash,
            head_seq=self._headed.seq,
            synced_seq=self._synced.seq,
            segment=writer.segment.name if writer.segment else "",
            durability=self._durability,
            healthy=why is None,
            why_not="" if why is None else str(why),
        )

    def probe(self) -> LogState:
        """Open a log that is not healthy again, if that is possible, and return its state. Never raises."""
        with self._mutex, contextlib.suppress(AuditError):
            if self._why is not None and not self._closed:
                self._next_probe = 0.0
                self._heal()
        return self.state

    def _heal(self) -> None:
        """Open the log (again), or raise why it takes no records."""
        assert self._why is not None
        if self._closed or time.monotonic() < self._next_probe:
            raise _again(self._why)
        try:
            self._writer.close()
            with self._writer.exclusive():
                self._writer.open(resync=self._resync)
        except (OSError, AgentGuardError) as error:
            raise self._fail(error) from error
        self._why, self._resync, self._synced = None, False, self._writer.link
        self._next_head = time.monotonic() + self._head_interval_s

    def _fail(self, error: OSError | AgentGuardError) -> AuditError:
        """Take no more records because of `error`; return what to raise."""
        if isinstance(error, AuditError):
            self._why = error
        else:
            what = error.message if isinstance(error, AgentGuardError) else error.strerror or str(error)
            self._why = AuditError(f"the audit log cannot be written: {what}", hint="every request is denied")
        self._next_probe = time.monotonic() + _PROBE_INTERVAL_S
        return _again(self._why)

    def _sync(self) -> None:
        try:
            self._synced = self._writer.sync()
        except OSError:
            self._resync = True
            raise

    def _sync_shared(self, seq: int) -> None:
        """Return when record `seq` is on the disk: of all threads that wait, one syncs for all."""
        with self._group:
            if self._synced.seq >= seq:
                return
            why = self._why
            if why is not None:
                raise _again(why)
            try:
                self._sync()
            except OSError as error:
                raise self._fail(error) from error

    def _notice(self, seq: int) -> None:
        """Wake the thread that syncs and signs, if there is something for it to do."""
        if not self._dirty.is_set():
            self._dirty.set()
            if self._thread is None:
                self._start_thread()
        unsynced = seq - self._synced.seq >= self._fsync_records
        headless = self._signer is not None and seq - self._headed.seq >= self._head_records
        if (unsynced or headless) and not self._urgent.is_set():
            self._urgent.set()

    def _start_thread(self) -> None:
        with self._mutex:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="agentguard-audit", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            due = self._signer is not None and self._why is None and self._headed.seq < self._synced.seq
            self._dirty.wait(max(self._next_head - time.monotonic(), 0.001) if due else None)
            self._urgent.wait(self._fsync_interval_s)
            self._urgent.clear()
            # INVARIANT: cleared before the sync, so a record that is written after it sets the event again.
            self._dirty.clear()
            if self._closed:
                return
            if self._why is None:
                self._tend()

    def _tend(self) -> None:
        """Sync, and write a head if one is due; what fails here denies the next append."""
        try:
            if self._synced.seq < self._writer.link.seq:
                self._sync()
            due = time.monotonic() >= self._next_head
            if due or self._synced.seq - self._headed.seq >= self._head_records:
                with self._head_lock:
                    self._write_head(check_place=True)
        except (OSError, AgentGuardError) as error:
            with self._mutex:
                if not self._closed:
                    self._fail(error)

    def _write_head(self, *, check_place: bool) -> None:
        """Sign a head over what is surely on the disk. Under the head's lock; it never goes backwards.

        Only putting it in its place is under the mutex: what waits for the disk must not hold up an append.
        """
        self._next_head = time.monotonic() + self._head_interval_s
        link, signer = self._synced, self._signer
        is_new = signer is not None and link.seq > self._headed.seq
        staged = self._stage_head(link, signer) if is_new and signer is not None else None
        try:
            with self._mutex:
                if self._why is None and (check_place or staged is not None):
                    with self._writer.exclusive():
                        if check_place:
                            self._writer.check_place()
                        if staged is not None:
                            self._place_head(link, staged)
        finally:
            if staged is not None:
                staged.unlink(missing_ok=True)
        if staged is not None:
            sync_folder(self._folder)

    def _stage_head(self, link: Link, signer: Signer) -> Path:
        try:
            head = sign_head(link, self._now(), signer)
        except Exception as error:  # a signer may fail in any way, and an unsigned log must deny
            raise AuditError(f"the head cannot be signed: {error}", code="audit_head_unsigned") from error
        return stage_head(self._folder, head)

    def _now(self) -> str:
        # The stamper is not safe for threads.
        with self._mutex:
            return self._stamper.stamp()[1]

    def _place_head(self, link: Link, staged: Path) -> None:
        current = read_head(self._folder) if (self._folder / HEAD_FILE).exists() else None
        if current is None or current.seq < link.seq:
            staged.replace(self._folder / HEAD_FILE)
        self._headed = link

    def _fresh_locks(self) -> None:
        self._mutex = threading.RLock()
        # Taken before the mutex: one head at a time, since they share a file until they are in their place.
        self._head_lock = threading.Lock()
        self._group = threading.Lock()
        self._dirty = threading.Event()
        self._urgent = threading.Event()
        self._thread = None

    def _after_fork(self) -> None:
        self._fresh_locks()
        self._writer.after_fork()
        # What the parent wrote, the parent syncs and signs.
        self._synced = self._headed = self._writer.link
        if not self._closed:
            self._why = AuditError("the log is not open yet")
            self._next_probe = 0.0


def _again(error: AuditError) -> AuditError:
    """Return a copy, since an exception that is raised twice collects the tracebacks of both."""
    return AuditError(error.message, code=error.code, location=error.location, hint=error.hint)


def _close_at_exit(reference: weakref.ref[SegmentLog]) -> None:
    log = reference()
    if log is not None:
        with contextlib.suppress(AuditError):
            log.close()


def _after_fork_in_child() -> None:
    for log in list(_live):
        log._after_fork()  # noqa: SLF001 - same module


os.register_at_fork(after_in_child=_after_fork_in_child)

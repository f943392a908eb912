"""The buffer on the disk between what was seen and a sidecar that takes it: bounded, and it survives both."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import struct
import threading
import zlib
from collections import Counter, deque
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import ConfigError
from agentguard.sensor._losses import Losses
from agentguard.sensor._segment import HEAD_BYTES, MAX_BODY, Shares, first_of, name_of, pack, records, scan
from agentguard.sensor._stream import Buffer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_SEGMENTS = 16
_MIN_SEGMENT = 1 << 16
# What is vital, and what says that something was lost, has the last eighth to itself.
_ORDINARY_SHARE = 7 / 8
# So much of the room is shared out among the agents, so that none of them can take all of it.
_SHARED_OUT = 1 / 2
# Magic, CRC-32 of what follows: the buffer's id, the place that was taken, what was lost and not said, whether it was closed.
_STATE = struct.Struct("<4sI8sQQQQ")
_MAGIC = b"AGS1"
_log = logging.getLogger("agentguard.sensor")


class _Segment(msgspec.Struct):
    path: Path
    first: int
    last: int
    size: int
    shares: Shares = {}


class _Reader(msgspec.Struct):
    """Where the next record is: in which segment (by its first place), and at which offset."""

    descriptor: int
    first: int
    place: int
    offset: int = 0


class Spool:
    """Records in segment files of one folder, oldest first; each has a place, and places grow.

    What `append` counted as accepted survives the process, and after a `sync` the machine. It stays until
    `taken`. What finds no room is not accepted, and counted; at the next `sync` at which there is room again, what
    `say_lost` makes of the counts, and of those of each agent, becomes a record of its own. Half of the room is whoever's
    comes first, the other half is shared out among the agents (`set_agents`). `agent_of` says whose a record of an
    earlier process is. Safe to use from many threads, by one process.

    Raises:
        ConfigError: the folder cannot be used (`spool_unavailable`), or another sensor uses it (`spool_busy`).
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        say_lost: Callable[[dict[str, int], dict[str, int]], bytes],
        agent_of: Callable[[bytes], str] = lambda _body: "",
    ) -> None:
        self._folder, self._max, self._say_lost, self._agent_of = folder, max_bytes, say_lost, agent_of
        self._segment_bytes = max(max_bytes // _SEGMENTS, _MIN_SEGMENT)
        self._segments: deque[_Segment] = deque()
        self._filled: Counter[str] = Counter()
        self._accepted = 0
        self._lost = {"vital": 0, "ordinary": 0}
        self._lost_of = Losses()
        self._agents: frozenset[str] = frozenset()
        # Those of this process, for whoever watches it; and whose they were, where that is known.
        self.dropped = {"vital": 0, "ordinary": 0}
        self.dropped_of: Counter[str] = Counter()
        self.was_closed = True
        self._changed = threading.Condition()
        self._is_dirty = False
        self._failing = ""
        self._writer = -1
        try:
            self._open()
        except OSError as error:
            raise ConfigError(
                f"the buffer in `{folder}` cannot be used: {(error.strerror or str(error)).lower()}",
                code="spool_unavailable",
                hint="see `sensor.buffer_folder`",
            ) from None

    def _open(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise ConfigError(
                f"another sensor uses the buffer in `{self._folder}`",
                code="spool_busy",
                hint="stop it, or take another `sensor.buffer_folder`",
            ) from None
        self._state = os.open(self._folder / "state", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._id = secrets.token_bytes(8)
        self._taken, lost = self._read_state()
        self._lost = dict(zip(self._lost, lost, strict=True))
        self._lost_of = Losses(self._folder)
        if not any(lost):
            self._lost_of.clear()
        self._recover()
        self._next = max(self._taken, self._segments[-1].last if self._segments else 0) + 1
        self._cursor = self._taken
        self._reader: _Reader | None = None
        self._write_state(is_closed=False)

    def _read_state(self) -> tuple[int, tuple[int, int]]:
        raw = os.pread(self._state, _STATE.size, 0)
        if len(raw) == _STATE.size:
            magic, checksum, own, taken, vital, ordinary, closed = _STATE.unpack(raw)
            if magic == _MAGIC and checksum == zlib.crc32(raw[8:]):
                self._id, self.was_closed = own, bool(closed)
                return taken, (vital, ordinary)
        return 0, (0, 0)

    def _write_state(self, *, is_closed: bool = False) -> None:
        rest = struct.pack(
            "<8sQQQQ", self._id, self._taken, self._lost["vital"], self._lost["ordinary"], is_closed
        )
        # In place: room for it was taken when it was made, so a full disk does not hinder it.
        with contextlib.suppress(OSError):
            os.pwrite(self._state, _MAGIC + struct.pack("<I", zlib.crc32(rest)) + rest, 0)

    def _recover(self) -> None:
        """Take up what an earlier process left; a torn end was never accepted, what else is damaged counts as lost."""
        found = sorted(
            (first, path) for path in self._folder.iterdir() if (first := first_of(path)) is not None
        )
        for index, (first, path) in enumerate(found):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                held = scan(descriptor, first, agent_of=self._agent_of)
                if held.good_bytes < held.size:
                    os.ftruncate(descriptor, held.good_bytes)
            finally:
                os.close(descriptor)
            is_last = index + 1 == len(found)
            gone = int(held.good_bytes < held.size and not held.is_torn) if is_last else 0
            if not is_last:
                gone = max(0, found[index + 1][0] - max(held.last, self._taken) - 1)
            if gone:
                # Of the newest segment's damaged end nobody knows how many records it had.
                _log.warning("a segment of the buffer was damaged; records lost, at least: %d", gone)
                self._lose("vital", gone)
            if held.last <= self._taken or held.last < first:
                path.unlink()
            else:
                self._segments.append(_Segment(path, first, held.last, held.good_bytes, held.shares))
                self._filled.update(held.shares)

    def set_agents(self, agents: Iterable[str]) -> None:
        """Say who there is: each of them has a share of the room."""
        with self._changed:
            self._agents = frozenset(agents)

    def append(self, bodies: Sequence[tuple[bytes, bool]], *, agent: str = "") -> int:
        """Append records of an agent, each with whether it is vital, and return how many were accepted."""
        with self._changed:
            chosen, refused = self._choose(bodies, agent)
            if chosen and not self._write([body for body, _ in chosen], agent):
                refused += chosen
                chosen = []
            for kind, is_wanted in (("vital", True), ("ordinary", False)):
                if count := sum(is_vital is is_wanted for _, is_vital in refused):
                    self._lose(kind, count, agent)
            if chosen:
                self._failing = ""
                self._changed.notify_all()
            return len(chosen)

    def _choose(
        self, bodies: Sequence[tuple[bytes, bool]], agent: str
    ) -> tuple[list[tuple[bytes, bool]], list[tuple[bytes, bool]]]:
        """Return those for which there is room, and the others."""
        chosen: list[tuple[bytes, bool]] = []
        refused: list[tuple[bytes, bool]] = []
        used, kept = self._used(), self._kept_for_others(agent)
        for each in bodies:
            body, is_vital = each
            size = HEAD_BYTES + len(body)
            limit = (self._max if is_vital else self._max * _ORDINARY_SHARE) - kept
            if used + size > limit or len(body) > MAX_BODY:
                refused.append(each)
            else:
                used += size
                chosen.append(each)
        return chosen, refused

    def _kept_for_others(self, agent: str) -> float:
        """Return how much room this agent must leave: of what is the others' share, what they have not filled.

        One more share is for those that come later.
        """
        if not agent:
            return 0  # what the sensor has to say of itself is little
        share = self._max * _SHARED_OUT / (len(self._agents | {agent}) + 1)
        others = (max(0.0, share - self._filled[each]) for each in self._agents if each != agent)
        return share + sum(others)

    def _tell_lost(self) -> None:
        """Put in words what was lost, once there is room again; until then it is only counted."""
        if not any(self._lost.values()):
            return
        body = self._say_lost(dict(self._lost), self._lost_of.counts())
        if self._used() <= self._max * _ORDINARY_SHARE and self._write([body], ""):
            self._lost = dict.fromkeys(self._lost, 0)
            self._lost_of.clear()
            self._write_state()
            self._changed.notify_all()

    def _lose(self, kind: str, count: int, agent: str = "") -> None:
        self._lost[kind] += count
        self.dropped[kind] += count
        if agent:
            self._lost_of.add(agent, count)
            self.dropped_of[agent] += count
        self._write_state()

    def _write(self, bodies: Sequence[bytes], agent: str) -> bool:
        """Write records, all or none."""
        data = b"".join(pack(self._next + index, body) for index, body in enumerate(bodies))
        try:
            segment = self._current()
            written = 0
            try:
                while written < len(data):
                    written += os.write(self._writer, data[written:])
            except OSError:
                # What is there of it would stand in the way of what follows.
                os.ftruncate(self._writer, segment.size)
                raise
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            if why != self._failing:
                _log.error("the buffer takes nothing: %s", why)
            self._failing = why
            return False
        segment.size += len(data)
        segment.last += len(bodies)
        segment.shares[agent] = segment.shares.get(agent, 0) + len(data)
        self._filled[agent] += len(data)
        self._next += len(bodies)
        self._accepted += len(bodies)
        self._is_dirty = True
        return True

    def _current(self) -> _Segment:
        if self._writer >= 0 and self._segments and self._segments[-1].size < self._segment_bytes:
            return self._segments[-1]
        path = self._folder / name_of(self._next)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._close_writer()
        self._writer = descriptor
        self._segments.append(_Segment(path, self._next, self._next - 1, 0, {}))
        return self._segments[-1]

    def read(self, *, most_bytes: int = 1 << 19, timeout_s: float = 0) -> list[tuple[int, bytes]]:
        """Return the next records, each with its place; none if none came within `timeout_s` seconds."""
        with self._changed:
            if self._cursor >= self._next - 1 and timeout_s > 0:
                self._changed.wait(timeout_s)
            found: list[tuple[int, bytes]] = []
            while self._cursor < self._next - 1 and most_bytes > 0:
                items, total = self._read_segment(most_bytes)
                most_bytes -= total
                found += items
            return found

    def _read_segment(self, most_bytes: int) -> tuple[list[tuple[int, bytes]], int]:
        place = self._cursor + 1
        segment = next(each for each in self._segments if each.last >= place)
        found: list[tuple[int, bytes]] = []
        total = 0
        try:
            reader = self._position(segment, max(place, segment.first))
        except OSError:
            self._skip(segment)
            return found, total
        left = segment.last - reader.place + 1
        for body, end in islice(records(reader.descriptor, reader.offset, reader.place), left):
            found.append((reader.place, body))
            total += len(body)
            self._cursor, reader.offset = reader.place, end
            reader.place += 1
            if total >= most_bytes:
                return found, total
        if self._cursor < segment.last:
            self._skip(segment)
        return found, total

    def _skip(self, segment: _Segment) -> None:
        """Count the rest of a segment that cannot be read as lost, and go on behind it."""
        gone = segment.last - max(self._cursor, segment.first - 1)
        _log.error("a segment of the buffer is damaged; records lost: %d", gone)
        self._lose("vital", gone)
        self._cursor = segment.last
        if segment is self._segments[-1]:
            # What comes next must not stand behind the damage.
            self._close_writer()

    def _position(self, segment: _Segment, place: int) -> _Reader:
        reader = self._reader
        if reader is None or (reader.first, reader.place) != (segment.first, place):
            self._close_reader()
            descriptor = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
            reader = self._reader = _Reader(descriptor, segment.first, segment.first)
            for _, reader.offset in islice(records(descriptor, 0, segment.first), place - segment.first):
                reader.place += 1
        return reader

    def rewind(self) -> None:
        """Read again from the first record that was not taken."""
        with self._changed:
            self._close_reader()
            self._cursor = self._taken

    def taken(self, place: int) -> None:
        """Forget the records up to `place`, which must have been read."""
        with self._changed:
            self._taken = max(self._taken, min(place, self._cursor))
            self._write_state()
            while self._segments and self._segments[0].last <= self._taken:
                if len(self._segments) == 1:
                    if self._segments[0].size < self._segment_bytes:
                        break
                    self._close_writer()
                with contextlib.suppress(OSError):
                    self._segments[0].path.unlink()
                self._filled -= Counter(self._segments.popleft().shares)

    def sync(self) -> None:
        """Have the machine's disk keep what was accepted, and tell of losses if there is room again."""
        with self._changed, contextlib.suppress(OSError):
            self._tell_lost()
            if self._is_dirty and self._writer >= 0:
                os.fdatasync(self._writer)
                os.fdatasync(self._state)
            self._is_dirty = False

    @property
    def waiting(self) -> int:
        """How many records were not taken yet."""
        return self._next - 1 - self._taken

    def state(self) -> Buffer:
        """Return how full it is."""
        with self._changed:
            return Buffer(
                self._id.hex(), self._used(), self._max, self.waiting, self._accepted, dict(self.dropped)
            )

    def _used(self) -> int:
        return sum(each.size for each in self._segments)

    def _close_reader(self) -> None:
        if self._reader is not None:
            os.close(self._reader.descriptor)
            self._reader = None

    def _close_writer(self) -> None:
        if self._writer >= 0:
            with contextlib.suppress(OSError):
                os.fdatasync(self._writer)
            os.close(self._writer)
            self._writer = -1

    def close(self) -> None:
        """Sync, and let go of the folder; what was not taken stays in it. Idempotent."""
        with self._changed:
            if self._lock < 0:
                return
            self._close_reader()
            self._close_writer()
            if self.waiting == 0:
                for each in self._segments:
                    each.path.unlink(missing_ok=True)
                self._segments.clear()
            self._write_state(is_closed=True)
            self._lost_of.close()
            for descriptor in (self._state, self._lock):
                os.close(descriptor)
            self._state = self._lock = -1

"""Segments: the files of a log, their names, their order, and where the last of them ends.

A segment that is full is sealed by taking away its write permission; that bit is also how a process learns
that another one has gone on to the next file, from the same `fstat` that tells it the size.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path  # noqa: TC003 - a NamedTuple's annotations are read at run time
from typing import TYPE_CHECKING, NamedTuple

from agentguard.audit._record import MAX_RECORD_BYTES, START, Link, hash_of, is_record, place_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME = re.compile(r"([0-9]{6,})-([0-9]{4}-[0-9]{2}-[0-9]{2})\.jsonl", re.ASCII)
_WINDOW = MAX_RECORD_BYTES + 2


class Segment(NamedTuple):
    """One file: `number` counts from 1, `day` is the UTC day on which it was begun."""

    number: int
    day: str
    path: Path

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name


class Tail(NamedTuple):
    """Where a segment ends: after `size` bytes, with the record `link`, then `torn` bytes of no record."""

    link: Link | None
    size: int
    torn: int


def segment_at(folder: Path, number: int, day: str) -> Segment:
    """Return the segment with this number and day."""
    return Segment(number, day, folder / f"{number:06d}-{day}.jsonl")


def as_segment(path: Path) -> Segment | None:
    """Return the segment that a path names, or None."""
    match = _NAME.fullmatch(path.name)
    return Segment(int(match[1]), match[2], path) if match else None


def list_segments(folder: Path) -> list[Segment]:
    """Return the segments of a folder in their order; what else lies there is left alone."""
    with os.scandir(folder) as entries:
        found = (as_segment(folder / entry.name) for entry in entries)
        return sorted(segment for segment in found if segment is not None)


def is_sealed(mode: int) -> bool:
    """Tell whether a file's mode says that its segment is complete."""
    return not mode & stat.S_IWUSR


def read_tail(fd: int, size: int, known: int = 0) -> Tail:
    """Return where the segment ends. `known` is an offset at which a line is known to begin."""
    start = max(known, size - _WINDOW)
    data = os.pread(fd, size - start, start)
    if data.endswith(b"\n"):
        line = data[data.rfind(b"\n", 0, -1) + 1 : -1]
        if is_record(line):
            return Tail(_link(line), size, 0)
    return _search_tail(fd, size) if size else Tail(None, 0, 0)


def _search_tail(fd: int, size: int) -> Tail:
    """Find the last good record from behind; a power failure can leave more than one bad line."""
    data = os.pread(fd, size, 0)
    end = data.rfind(b"\n") + 1
    while end > 0:
        start = data.rfind(b"\n", 0, end - 1) + 1
        line = data[start : end - 1]
        if is_record(line):
            return Tail(_link(line), end, size - end)
        end = start
    return Tail(None, 0, size)


def _link(line: bytes) -> Link:
    place = place_of(line)
    assert place is not None
    return Link(place.seq, hash_of(line))


def link_before(segments: list[Segment]) -> Link:
    """Return the last record of the last of these segments that has one; `START` if none has."""
    for segment in reversed(segments):
        fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            tail = read_tail(fd, os.fstat(fd).st_size)
        finally:
            os.close(fd)
        if tail.link is not None:
            return tail.link
    return START


def first_seq(segment: Segment) -> int | None:
    """Return the seq of the first record of a segment, or None if it does not begin with one."""
    with segment.path.open("rb") as file:
        place = place_of(file.read(256))
    return place.seq if place else None


def lines_of(segment: Segment) -> Iterator[tuple[int, bytes]]:
    """Yield (line number, line) for each whole line; a last line without a newline is still being written."""
    with segment.path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.endswith(b"\n"):
                yield number, line[:-1]

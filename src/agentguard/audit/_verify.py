"""The verifier: follows the chain through raw bytes, and compares its end with the signed head."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Literal

import msgspec

from agentguard.audit._diagnose import Line, Log, Problem, explain
from agentguard.audit._head import Head, read_head
from agentguard.audit._lock import lock
from agentguard.audit._read import segments_of
from agentguard.audit._record import START, Link, hash_of, is_record, place_of
from agentguard.core import AuditError, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from agentguard.audit._segment import Segment

_CHUNK = 1 << 20

HeadState = Literal["signed", "unchecked", "missing", "invalid"]


class Verification(msgspec.Struct, frozen=True):
    """What a log proves.

    `records` were found good, the last of them `last`. `problem` is the first bad record, or None.
    `end_protected` says that a signature was checked under which cutting off records would show; `after_head`
    counts the records since, which nothing protects from being cut off yet. `notes` are for people.
    """

    ok: bool
    records: int
    first: int
    last: int
    hash: str
    segments: int
    bytes: int
    end_protected: bool
    head_state: HeadState
    head: Head | None = None
    after_head: int = 0
    problem: Problem | None = None
    notes: tuple[str, ...] = ()


def verify(
    path: Path,
    *,
    public_keys: Mapping[str, bytes] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Verification:
    """Check a folder with its head, or one segment alone, and name the first bad record.

    Args:
        path: the folder of a log, or one of its segments (whose first record is then taken as given).
        public_keys: the keys (id to 32 raw bytes) that may have signed the head. Without any, the head is
            compared but its signature is not checked, so the end does not count as protected.
        progress: called with (bytes done, bytes in all), about once a MiB.

    Raises:
        ConfigError: there is no log at `path`.
    """
    segments, sizes, head, problem = _snapshot(path)
    state = _head_state(head, problem, public_keys)
    if state == "invalid" and problem is None:
        assert head is not None
        text = f"no key that is trusted made the head's signature (it names key `{head.key_id}`)"
        problem = Problem("head_invalid", head.seq, "head", 1, text)
    # A head that is not to be trusted says nothing about the records.
    trusted = head if state in ("signed", "unchecked") else None
    chain = _Chain(segments, sizes, trusted, anchored=path.is_dir())
    found = chain.follow(progress or _silent) or chain.check_end()
    return _summary(chain, head, state, found or problem)


def _silent(_done: int, _total: int) -> None:
    """Report nothing."""


def _snapshot(path: Path) -> tuple[list[Segment], list[int], Head | None, Problem | None]:
    """Return the segments, their sizes and the head of one moment, while nobody writes."""
    if not path.is_dir():
        segments = segments_of(path)
        return segments, [path.stat().st_size], None, None
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock_if_possible(fd)
        segments = segments_of(path)
        sizes = [segment.path.stat().st_size for segment in segments]
        try:
            return segments, sizes, read_head(path), None
        except IntegrityError as error:
            return segments, sizes, None, Problem("head_invalid", 0, "head", 1, error.message)
    finally:
        os.close(fd)


def _lock_if_possible(fd: int) -> None:
    # A copy on a read-only medium, or a writer that hangs, must not keep anyone from verifying.
    try:
        lock(fd, shared=True, timeout_s=2)
    except (AuditError, OSError):
        return


def _head_state(head: Head | None, problem: Problem | None, keys: Mapping[str, bytes] | None) -> HeadState:
    if problem is not None:
        return "invalid"
    if head is None:
        return "missing"
    if keys is None:
        return "unchecked"
    return "signed" if head.verified_by(keys) else "invalid"


def _summary(chain: _Chain, head: Head | None, state: HeadState, problem: Problem | None) -> Verification:
    last = chain.link.seq
    records = last - chain.before
    protected = state == "signed" and problem is None
    after = max(last - head.seq, 0) if head is not None and state != "invalid" else 0
    notes = []
    if state == "missing":
        notes.append("there is no head, so the end is not protected: records cut off there would not show")
    elif state == "unchecked":
        notes.append("the head's signature was not checked, so the end is not protected: give the public key")
    if after:
        notes.append(f"{after} records after the head, whose end is not protected yet")
    return Verification(
        ok=problem is None,
        records=records,
        first=chain.before + 1 if records else 0,
        last=last,
        hash=chain.link.hash,
        segments=len(chain.segments),
        bytes=sum(chain.sizes),
        end_protected=protected,
        head_state=state,
        head=head,
        after_head=after,
        problem=problem,
        notes=tuple(notes),
    )


class _Chain:
    """One walk along the chain; `link` is the last record found good."""

    def __init__(
        self, segments: list[Segment], sizes: list[int], head: Head | None, *, anchored: bool
    ) -> None:
        self.segments = segments
        self.sizes = sizes
        self.link = START
        self.before = 0
        self._head = head
        self._anchored = anchored
        self._last: Line | None = None
        self._head_line: Line | None = None
        self._head_hash = ""
        self._done = 0

    def follow(self, progress: Callable[[int, int], None]) -> Problem | None:
        """Walk through all segments; return the first problem in the chain itself."""
        total = sum(self.sizes)
        for index, segment in enumerate(self.segments):
            number = 1
            with segment.path.open("rb") as file:
                left = self.sizes[index]
                rest = b""
                while left:
                    chunk = file.read(min(_CHUNK, left))
                    if not chunk:
                        break
                    left -= len(chunk)
                    lines = (rest + chunk).split(b"\n")
                    rest = lines.pop()
                    bad = self._lines(segment, number, lines)
                    if bad is not None:
                        return self._explain(index, number + bad)
                    number += len(lines)
                    self._done += len(chunk)
                    progress(self._done, total)
            if rest:
                return self._explain(index, number)
        return None

    def _lines(self, segment: Segment, number: int, lines: list[bytes]) -> int | None:
        """Walk along whole lines; return the index of the first that does not follow, or None."""
        if not lines:
            return None
        if not self._anchored:
            place = place_of(lines[0])
            self._anchored = True
            if place is not None:
                self.link = Link(place.seq - 1, place.prev)
                self.before = place.seq - 1
        first = seq = self.link.seq + 1
        previous = self.link.hash.encode()
        sha256 = hashlib.sha256
        bad = None
        for line in lines:
            # One comparison checks the link and the order.
            if not line.startswith(b'{"prev":"%s","seq":%d,' % (previous, seq)):
                bad = seq - first
                break
            previous = sha256(line).hexdigest().encode()
            seq += 1
        if seq > first:
            self.link = Link(seq - 1, previous.decode())
            at = seq - 1 - first
            self._last = Line(segment.name, number + at, lines[at])
            self._note_head(segment, number, lines, first, seq)
        return bad

    def _note_head(self, segment: Segment, number: int, lines: list[bytes], first: int, end: int) -> None:
        head = self._head
        if head is not None and first <= head.seq < end:
            at = head.seq - first
            self._head_line = Line(segment.name, number + at, lines[at])
            self._head_hash = hash_of(lines[at])

    def _explain(self, index: int, number: int) -> Problem:
        log = Log(self.segments[index:], self.sizes[index:], number)
        return explain(self.link, self._last, log, self._head)

    def check_end(self) -> Problem | None:
        """Return what is wrong with the end: its last line, and what the head says."""
        last, head = self._last, self._head
        # The hash of the last line stands nowhere in the chain; at least it must be a record.
        damaged = last is not None and not is_record(last.data)
        if head is not None and self._head_line is not None and self._head_hash != head.hash:
            text = "this record, or the chain up to it, is not what the head was signed for"
            return Problem("changed", head.seq, self._head_line.file, self._head_line.number, text)
        if damaged and last is not None:
            return Problem("changed", self.link.seq, last.file, last.number, "this line is no JSON object")
        if head is not None and head.seq > self.link.seq:
            at = self.segments[-1].name if self.segments else ""
            text = f"the head was signed for record {head.seq} and the log ends at {self.link.seq}"
            return Problem("truncated", self.link.seq + 1, at, (last.number if last else 0) + 1, text)
        return None

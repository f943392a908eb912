"""What is wrong at a place where the chain breaks, told from the lines around it.

Runs once, at the first mismatch, so it may take its time; the walk along the chain knows only that a line
does not follow.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from agentguard.audit._record import START, Link, Place, hash_of, is_record, place_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentguard.audit._head import Head
    from agentguard.audit._segment import Segment

Kind = Literal["changed", "removed", "inserted", "reordered", "truncated", "torn", "head_invalid"]

# Two unrelated hashes agree in 4 of 64 digits, give or take; one that was tampered with in a few, in most.
_ALIKE = 32


class Problem(msgspec.Struct, frozen=True):
    """The first bad record: what was done (`kind`), its `seq`, and the `file` and 1-based `line` to look at."""

    kind: Kind
    seq: int
    file: str
    line: int
    message: str


class Line(NamedTuple):
    """A line and where it stands."""

    file: str
    number: int
    data: bytes
    whole: bool = True


class Log:
    """The lines from a place on, to the end of the log; can be read more than once."""

    def __init__(self, segments: list[Segment], sizes: list[int], number: int) -> None:
        self._segments = segments
        self._sizes = sizes
        self._number = number

    def lines(self) -> Iterator[Line]:
        """Yield each line, also a last one that has no newline."""
        begin = self._number
        for segment, size in zip(self._segments, self._sizes, strict=True):
            left = size
            with segment.path.open("rb") as file:
                for number, data in enumerate(file, start=1):
                    line = data[: min(len(data), left)]
                    left -= len(line)
                    if number >= begin and line:
                        yield Line(segment.name, number, line.removesuffix(b"\n"), line.endswith(b"\n"))
                    if left <= 0:
                        break
            begin = 1

    def has_seq(self, seq: int, *, beyond: int) -> bool:
        """Tell whether a line after the first `beyond` ones claims this seq."""
        places = (place_of(line.data) for line in itertools.islice(self.lines(), beyond, None))
        return any(place is not None and place.seq == seq for place in places)


def explain(link: Link, previous: Line | None, log: Log, head: Head | None) -> Problem:
    """Return what is wrong with the first line of `log`, which does not follow `link` (in line `previous`)."""
    lines = log.lines()
    current = next(lines)
    following = next(lines, None)
    place = place_of(current.data)
    due = link.seq + 1
    if previous is not None and not is_record(previous.data):
        ending = " (its line ends with CR)" if previous.data.endswith(b"\r") else ""
        return _at(
            previous, "changed", link.seq, f"this line is not the JSON object that was written{ending}"
        )
    if not current.whole and following is None:
        return _unfinished(current, due, link, head)
    if place is None:
        return _unreadable(current, following, link, head)
    if previous is not None and b'{"prev":"' in previous.data[1:] and b',"seq":%d,' % due in previous.data:
        return _at(previous, "changed", link.seq, "the end of this line was changed, it holds two records")
    if place.prev == link.hash:
        return _at(current, "changed", due, f"the record claims to be {place.seq}, its place is {due}")
    if place.seq > due:
        return _gap(current, place, log, due)
    if place.seq < due:
        return _surplus(current, following, place, link, previous)
    return _broken_link(current, place, link, previous)


def _at(line: Line, kind: Kind, seq: int, message: str) -> Problem:
    return Problem(kind, seq, line.file, line.number, message)


def _unfinished(current: Line, due: int, link: Link, head: Head | None) -> Problem:
    if head is None or head.seq < due:
        return _at(
            current,
            "torn",
            due,
            "the last line is not finished; the log moves it aside when it is next opened",
        )
    place = place_of(current.data)
    follows = place == Place(link.hash, due)
    if follows and head.seq == due and hash_of(current.data[:-1]) == head.hash:
        return _at(current, "changed", due, "the end of this line was changed")
    text = f"the log ends within this record and its head was signed for record {head.seq}"
    return _at(current, "truncated", due, text)


def _unreadable(current: Line, following: Line | None, link: Link, head: Head | None) -> Problem:
    due = link.seq + 1
    after = place_of(following.data) if following else None
    if after == Place(link.hash, due):
        return _at(current, "inserted", due, "this line is no record, and the chain goes on without it")
    if following is None and (head is None or head.seq < due):
        return _at(
            current, "torn", due, "the last line is no record; the log moves it aside when it is next opened"
        )
    return _at(current, "changed", due, "this line does not begin as a record does")


def _gap(current: Line, place: Place, log: Log, due: int) -> Problem:
    if not log.has_seq(due, beyond=1):
        count = place.seq - due
        gone = f"record {due} is" if count == 1 else f"records {due} to {place.seq - 1} are"
        return _at(current, "removed", due, f"{gone} missing before this line")
    if log.has_seq(place.seq, beyond=1):
        return _at(current, "inserted", place.seq, f"record {place.seq} stands here as well as in its place")
    return _at(current, "reordered", due, f"record {place.seq} stands in the place of record {due}")


def _surplus(
    current: Line, following: Line | None, place: Place, link: Link, previous: Line | None
) -> Problem:
    after = place_of(following.data) if following else None
    before = place_of(previous.data) if previous else None
    rivals = before is not None and before == place
    if rivals and previous is not None and previous.data != current.data:
        # Both claim one place; the genuine one is the one that the chain goes on from.
        genuine = after is not None and after.prev == hash_of(current.data)
        text = f"two records claim to be {place.seq}; the chain goes on from the other one"
        return _at(previous if genuine else current, "inserted", place.seq, text)
    if after is None or after == Place(link.hash, link.seq + 1) or rivals:
        return _at(current, "inserted", place.seq, f"record {place.seq} stands here a second time")
    if after.seq == place.seq + 1 or after.seq <= link.seq:
        return _at(current, "inserted", place.seq, f"records from {place.seq} on stand here a second time")
    return _at(
        current, "changed", link.seq + 1, f"the record claims to be {place.seq}, its place is {link.seq + 1}"
    )


def _broken_link(current: Line, place: Place, link: Link, previous: Line | None) -> Problem:
    alike = sum(a == b for a, b in zip(place.prev, link.hash, strict=True)) >= _ALIKE
    if previous is None or alike or place.prev == START.hash:
        return _at(current, "changed", place.seq, "its `prev` is not the hash of the record before")
    return _at(previous, "changed", link.seq, "the record after it was written for another content")

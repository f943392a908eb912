"""Reading records back: all of them in order, or those that a filter lets through."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from agentguard.audit._record import place_of
from agentguard.audit._segment import Segment, as_segment, first_seq, lines_of, list_segments
from agentguard.core import ConfigError, Glob, IntegrityError, Location

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Filter(msgspec.Struct, frozen=True):
    """Which records to show; what is left out lets everything through.

    `principal` and `action` are globs (an action matches with or without its version), `since` is inclusive
    and `until` exclusive, both aware; `last` keeps the newest so many of what matched.
    """

    principal: str = ""
    action: str = ""
    effect: str = ""
    since: datetime | None = None
    until: datetime | None = None
    correlation_id: str = ""
    last: int | None = None

    def matches(self, record: dict[str, Any]) -> bool:
        """Tell whether a record passes, `last` aside."""
        time = str(record.get("timestamp", ""))
        action = str(record.get("action", ""))
        globbed = Glob(self.action)
        return (
            (not self.effect or record.get("effect") == self.effect)
            and (not self.principal or Glob(self.principal).matches(_principal(record)))
            and (not self.action or globbed.matches(action) or globbed.matches(action.partition("@")[0]))
            and (not self.correlation_id or record.get("correlation_id") == self.correlation_id)
            and (self.since is None or time >= _rfc3339(self.since))
            and (self.until is None or time < _rfc3339(self.until))
        )


def segments_of(path: Path) -> list[Segment]:
    """Return the segments of a folder, or the one that `path` is.

    Raises:
        ConfigError: there is no such log (`audit_missing`).
    """
    if path.is_dir():
        return list_segments(path)
    if not path.exists():
        raise ConfigError(f"no audit log at `{path}`", code="audit_missing")
    return [as_segment(path) or Segment(0, "", path)]


def read_folder(path: Path, *, after: int = 0, limit: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield records with `seq` above `after`, oldest first. Raises IntegrityError at a line that is none."""
    segments = list_segments(path) if path.is_dir() else []
    starts = [first_seq(segment) for segment in segments]
    begin = max((i for i, seq in enumerate(starts) if seq is not None and seq <= after + 1), default=0)
    return itertools.islice(_records(segments[begin:], after), limit)


def read_records(path: Path, filters: Filter | None = None) -> Iterator[dict[str, Any]]:
    """Yield the records of a folder or of one segment that pass, oldest first.

    Raises:
        ConfigError: there is no such log.
        IntegrityError: a line is no record, with its file and line.
    """
    filters = filters or Filter()
    segments = segments_of(path)
    if filters.last is None:
        return (record for record in _records(segments, 0) if filters.matches(record))
    found: list[dict[str, Any]] = []
    for segment in reversed(segments):
        passed = [record for record in _records([segment], 0) if filters.matches(record)]
        found = passed + found
        if len(found) >= filters.last:
            break
    return iter(found[max(len(found) - filters.last, 0) :])


def _records(segments: list[Segment], after: int) -> Iterator[dict[str, Any]]:
    for segment in segments:
        for number, line in lines_of(segment):
            place = place_of(line)
            if place is not None and place.seq <= after:
                continue
            try:
                record = orjson.loads(line) if place is not None else None
            except orjson.JSONDecodeError:
                record = None
            if record is None:
                raise IntegrityError(
                    "this line is no audit record",
                    code="audit_unreadable",
                    location=Location(segment.name, number),
                    hint="run `agentguard audit verify`",
                )
            yield record


def _principal(record: dict[str, Any]) -> str:
    principal = record.get("principal", "")
    return str(principal.get("id", "") if isinstance(principal, dict) else principal)


def _rfc3339(time: datetime) -> str:
    utc = time.astimezone(UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond:06d}Z"

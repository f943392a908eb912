"""What the kernel saw as an `Event`, the form in which every layer tells what happened."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agentguard.core import Event, EventKind
from agentguard.kernel._attempts import describe_attempt
from agentguard.kernel._layout import Flag, Kind

if TYPE_CHECKING:
    from agentguard.kernel._seen import Seen
    from agentguard.kernel._tree import ProcessTree

_NS = 1_000_000_000
_MAX_PARENTS = 16


def clock_offset_ns() -> int:
    """Return what turns nanoseconds since the machine's start into those since 1970, as of now."""
    return time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def event_of(seen: Seen, tree: ProcessTree, *, principal: str, run: str, offset_ns: int) -> Event:
    """Return the event; `session` is the run, and the id is the same however often this is asked.

    `tree` has taken in what was seen before, and says which program it was and who started it.
    """
    process = tree.of(seen)
    attempt = describe_attempt(seen)
    payload: dict[str, Any] = {
        "what": seen.kind.name.lower(),
        "pid": seen.pid,
        "started_ns": seen.start_ns,
        "program": process.program,
        "result": seen.ret,
    }
    if parents := [each.program for each in tree.ancestors(process)]:
        payload["parents"] = parents[:_MAX_PARENTS]
    if attempt is not None:
        payload["attempt"], payload["detail"] = attempt
    if seen.path:
        payload["path"] = seen.path
        payload["claimed"] = bool(seen.flags & Flag.CLAIMED)
    if seen.other:
        payload["other"] = seen.other
    if seen.argv:
        payload["argv"] = list(seen.argv)
    if seen.address is not None:
        payload["address"], payload["port"] = seen.address.host, seen.address.port
    if seen.dns is not None:
        payload["name"], payload["addresses"] = seen.dns.name, list(seen.dns.addresses)
    if seen.truncated:
        payload["truncated"] = True
    return Event(
        event_id=f"{run}-{seen.time_ns:x}-{seen.tid:x}-{seen.kind.value:x}",
        kind=EventKind.ALERT if attempt is not None else _kind(seen.kind),
        time=datetime.fromtimestamp((seen.time_ns + offset_ns) / _NS, UTC),
        principal=principal,
        session=run,
        payload=payload,
    )


def _kind(kind: Kind) -> EventKind:
    if kind <= Kind.SENDFILE:
        return EventKind.FILE
    return EventKind.NET if kind <= Kind.DNS else EventKind.PROC

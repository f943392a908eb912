"""Events: what happened, from any layer, and how to ask for them."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any

import msgspec

from agentguard.core.glob import Glob


class EventKind(enum.Enum):
    """Which layer an event comes from."""

    TOOL = "tool"
    LLM = "llm"
    FILE = "file"
    NET = "net"
    PROC = "proc"
    DECISION = "decision"
    OUTCOME = "outcome"
    APPROVAL = "approval"
    ALERT = "alert"


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that happened; `time` is aware and UTC.

    In `payload`, `action` and `resource` name what was done to what, as in a request, and `effect` is what the
    policy says of it: for an event that nobody could have stopped, what it would have said. The rest depends
    on the kind; all of it is hostile.
    """

    event_id: str
    kind: EventKind
    time: datetime
    principal: str = ""
    session: str = ""
    payload: dict[str, Any] = {}


class StoredEvent(msgspec.Struct, frozen=True):
    """An event and its place in a store; places grow, and none is used twice."""

    seq: int
    event: Event


class EventFilter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which events to read; what is left out lets everything through.

    `principal`, `action` and `resource` are globs (an action matches with or without its version); `since`
    is inclusive and `until` exclusive, both aware.
    """

    kinds: tuple[EventKind, ...] = ()
    principal: str = ""
    session: str = ""
    action: str = ""
    resource: str = ""
    effect: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def matches(self, event: Event) -> bool:
        """Tell whether an event passes."""
        payload = event.payload
        action = str(payload.get("action", ""))
        wanted = Glob(self.action)
        return (
            (not self.kinds or event.kind in self.kinds)
            and (not self.session or event.session == self.session)
            and (not self.effect or payload.get("effect") == self.effect)
            and (self.since is None or event.time >= self.since)
            and (self.until is None or event.time < self.until)
            and (not self.principal or Glob(self.principal).matches(event.principal))
            and (not self.action or wanted.matches(action) or wanted.matches(action.partition("@")[0]))
            and (not self.resource or Glob(self.resource).matches(str(payload.get("resource", ""))))
        )

"""Events: what happened, from any layer."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any

import msgspec


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
    """One thing that happened; `time` is aware and UTC."""

    event_id: str
    kind: EventKind
    time: datetime
    principal: str = ""
    session: str = ""
    payload: dict[str, Any] = {}

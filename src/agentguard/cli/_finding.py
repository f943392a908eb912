"""What one check of `agentguard doctor` found."""

from __future__ import annotations

import enum

import msgspec


class State(enum.Enum):
    """How a check went."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Finding(msgspec.Struct, frozen=True):
    """What one check found, and what to do."""

    check: str
    state: State
    message: str
    hint: str | None = None

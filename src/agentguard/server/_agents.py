"""Who asks, since when, and what was last decided: a view of decisions, kept in memory."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentguard.core import Decision

MAX_AGENTS = 10_000
# What an agent wrote is kept to this many characters, so that 10,000 agents stay small.
_MAX_TEXT = 300


class LastDecision(msgspec.Struct, frozen=True):
    """The newest decision on one principal."""

    time: datetime
    effect: str
    action: str
    resource: str
    reason: str
    audit_id: str = ""


class AgentSeen(msgspec.Struct, frozen=True):
    """One principal that asked. `first_seen` is as far back as this server has looked in the log."""

    principal: str
    first_seen: datetime
    last: LastDecision


class AgentsSeen:
    """The principals that asked; beyond 10,000 the one that came first is forgotten. Safe to call from threads."""

    def __init__(self, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._seen: dict[str, AgentSeen] = {}

    def decided(self, decision: Decision) -> None:
        """Note a decision that was just made."""
        last = LastDecision(
            self._now(),
            decision.effect.value,
            decision.action[:_MAX_TEXT],
            decision.resource[:_MAX_TEXT],
            decision.reason[:_MAX_TEXT],
            decision.audit_id,
        )
        self._put(decision.principal, last)

    def recorded(self, record: Mapping[str, Any]) -> None:
        """Note a decision record of the log, of this process or another; other records are passed over."""
        when = parse_time(record.get("timestamp"))
        principal = principal_of(record)
        if "effect" not in record or not principal or when is None:
            return
        effect, action, resource, reason, audit_id = (
            str(record.get(name) or "")[:_MAX_TEXT]
            for name in ("effect", "action", "resource", "reason", "event_id")
        )
        self._put(principal, LastDecision(when, effect, action, resource, reason, audit_id))

    def list(self) -> list[AgentSeen]:
        """Return them all, the one that asked last first."""
        with self._lock:
            agents = list(self._seen.values())
        return sorted(agents, key=lambda agent: agent.last.time, reverse=True)

    def _put(self, principal: str, last: LastDecision) -> None:
        with self._lock:
            known = self._seen.get(principal)
            if known is None:
                if len(self._seen) >= MAX_AGENTS:
                    del self._seen[next(iter(self._seen))]
                known = AgentSeen(principal, last.time, last)
            newest = last if last.time >= known.last.time else known.last
            self._seen[principal] = AgentSeen(principal, min(known.first_seen, last.time), newest)


def principal_of(record: Mapping[str, Any]) -> str:
    """Return the id of a record's principal, which is written as a text or as an object with an `id`."""
    principal = record.get("principal")
    if isinstance(principal, dict):
        principal = principal.get("id")
    return principal if isinstance(principal, str) else ""


def parse_time(text: object) -> datetime | None:
    """Return an RFC 3339 time as an aware one, or None where it is none."""
    try:
        when = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return when if when is None or when.tzinfo else when.replace(tzinfo=UTC)

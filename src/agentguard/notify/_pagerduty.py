"""PagerDuty, Events API v2: what needs somebody triggers, what was decided resolves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import NoticeKind
from agentguard.notify._post import post

if TYPE_CHECKING:
    from agentguard.notify._message import Message

_SEVERITIES = {"critical": "critical", "high": "error", "medium": "warning", "low": "info", "info": "info"}
_MAX_SUMMARY = 1024


class PagerDuty:
    """Sends events to one service's integration."""

    kind = "pagerduty"

    def __init__(self, name: str, *, routing_key: str, url: str) -> None:
        self.name, self._key, self._url = name, routing_key, url

    def takes(self, message: Message) -> bool:  # noqa: ARG002 - as `Channel`
        """Take everything."""
        return True

    def send(self, message: Message) -> None:
        """Send an event; see `Channel.send`."""
        post(self._url, msgspec.json.encode(event_of(message, self._key)), {})


def event_of(message: Message, routing_key: str) -> dict[str, Any]:
    """Return the event; one approval is one incident."""
    notice = message.notice
    key = f"agentguard:{notice.approval or notice.id}"[:255]
    if notice.kind is NoticeKind.APPROVAL_DECIDED:
        return {"routing_key": routing_key, "event_action": "resolve", "dedup_key": key}
    event: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": "trigger",
        "dedup_key": key,
        "client": "AgentGuard",
        "payload": {
            "summary": message.subject[:_MAX_SUMMARY],
            "source": "agentguard",
            "severity": _SEVERITIES[notice.severity.value],
            "timestamp": notice.at.isoformat(),
            "class": notice.kind.value,
            "custom_details": dict(notice.fields),
        },
    }
    if message.url:
        event |= {"client_url": message.url, "links": [{"href": message.url, "text": "Open"}]}
    return event

"""Microsoft Teams: an Adaptive Card 1.4 to a workflow ("Post to a channel when a webhook request is received")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.notify._post import post

if TYPE_CHECKING:
    from agentguard.notify._message import Message

_COLOURS = {
    "critical": "attention",
    "high": "attention",
    "medium": "warning",
    "low": "default",
    "info": "default",
}
_CARD = "application/vnd.microsoft.card.adaptive"


class Teams:
    """Posts cards."""

    kind = "teams"

    def __init__(self, name: str, url: str) -> None:
        self.name, self._url = name, url

    def takes(self, message: Message) -> bool:  # noqa: ARG002 - as `Channel`
        """Take everything."""
        return True

    def send(self, message: Message) -> None:
        """Post a card; see `Channel.send`."""
        post(self._url, msgspec.json.encode(card_of(message)), {})


def card_of(message: Message) -> dict[str, Any]:
    """Return the message with its card."""
    notice = message.notice
    head = {
        "type": "TextBlock", "text": message.subject, "weight": "Bolder", "wrap": True,
        "color": _COLOURS[notice.severity.value],
    }  # fmt: skip
    facts = [{"title": name, "value": value} for name, value in notice.fields]
    actions = [{"type": "Action.OpenUrl", "title": each.label, "url": each.url} for each in message.buttons]
    if message.url:
        actions.append({"type": "Action.OpenUrl", "title": "Open", "url": message.url})
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [head, *([{"type": "FactSet", "facts": facts}] if facts else [])],
        "actions": actions,
    }
    return {"type": "message", "attachments": [{"contentType": _CARD, "contentUrl": None, "content": card}]}

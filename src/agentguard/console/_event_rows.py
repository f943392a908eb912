"""One event as a row of the page, beside the decisions: texts only, each of them safe to show."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

from agentguard.console._rows import MAX_PARAMS, Row, json_of, text_of
from agentguard.console._text import visible
from agentguard.core import EventKind

if TYPE_CHECKING:
    from agentguard.core import StoredEvent

# What an event shows in the place of an effect, where nothing was stopped.
SEEN = {"seen": ("◦", "seen"), "alert": ("!", "alert")}
_WOULD = {
    "deny": "would be denied",
    "require_approval": "would need approval",
    "transform": "would be rewritten",
}
_NAMED = frozenset(("action", "resource", "effect", "reason", "rule"))


def event_row_of(stored: StoredEvent) -> Row:
    """Return the row of an event. What the policy would have said of it stands beside `seen`."""
    event, payload = stored.event, stored.event.payload
    time = event.time.astimezone(UTC)
    effect = "alert" if event.kind is EventKind.ALERT else "seen"
    icon, label = SEEN[effect]
    would = _WOULD.get(str(payload.get("effect")))
    if event.kind is EventKind.APPROVAL:
        # A step of a question to people: nothing was done, and the decision has a row of its own.
        label = f"approval: {text_of(payload.get('status'), 60).replace('_', ' ')}"
    elif would is not None and effect == "seen":
        label = f"seen, {would}"
    rest = {name: value for name, value in payload.items() if name not in _NAMED}
    return Row(
        seq=stored.seq,
        timestamp=f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond:06d}Z",
        time=f"{time:%H:%M:%S}",
        effect=effect,
        icon=icon,
        label=label,
        principal=text_of(event.principal, 120),
        action=text_of(payload.get("action") or event.kind.value, 120),
        resource=text_of(payload.get("resource"), 200),
        reason=text_of(payload.get("reason") or payload.get("note"), 300),
        rule=text_of(payload.get("rule"), 120),
        latency="",
        facts=(
            ("Kind", event.kind.value),
            *((("Session", text_of(event.session, 120)),) if event.session else ()),
            ("Event id", text_of(event.event_id, 120)),
        ),
        params=visible(json_of(rest, indent=2), MAX_PARAMS, keep="\n"),
        is_event=True,
    )

"""One decision record as a row of the page: texts only, each of them safe to show."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.console._text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EFFECTS = {
    "allow": ("✓", "allow"),
    "deny": ("✕", "deny"),
    "require_approval": ("?", "approval"),
    "transform": ("⇄", "transform"),
}
_FACTS = (
    ("rule", "Rule"),
    ("stage", "Stage"),
    ("risk", "Risk"),
    ("findings", "Findings"),
    ("near_misses", "Near misses"),
    ("obligations", "Obligations"),
    ("approval", "Approval"),
    ("context", "Context"),
    ("correlation_id", "Correlation id"),
    ("policy_version", "Policy version"),
    ("event_id", "Event id"),
)
MAX_PARAMS = 4000
_MAX_FACT = 600


class Row(msgspec.Struct, frozen=True):
    """What the page shows of a decision or an event; `facts` are (label, text) pairs for the details.

    Where `is_event`, `seq` is the event's place in its store, and `effect` is `seen`, `alert`, or what was done.
    """

    seq: int
    timestamp: str
    time: str
    effect: str
    icon: str
    label: str
    principal: str
    action: str
    resource: str
    reason: str
    rule: str
    latency: str
    facts: tuple[tuple[str, str], ...]
    params: str
    is_event: bool = False


class Chain(msgspec.Struct, frozen=True):
    """Where the audit chain stands: `head` is the newest record's hash, `signed` the newest under a signed head."""

    seq: int
    head: str
    signed: int
    healthy: bool
    why_not: str = ""


def row_of(record: Mapping[str, Any]) -> Row | None:
    """Return the row of a record, or None where it records no decision.

    Values that a schema marks secret are already masked: the log never had them.
    """
    effect = record.get("effect")
    if not isinstance(effect, str) or effect not in EFFECTS:
        return None
    icon, label = EFFECTS[effect]
    timestamp = visible(str(record.get("timestamp") or ""), 40)
    if record.get("observed") is True:
        # Nobody asked, and nothing was stopped: it says what enforcement would have done.
        label = f"{label} (observed)"
    return Row(
        seq=int(record["seq"]),
        timestamp=timestamp,
        time=timestamp.partition("T")[2][:8] or timestamp,
        effect=effect,
        icon=icon,
        label=label,
        principal=_principal(record.get("principal")),
        action=text_of(record.get("action"), 120),
        resource=text_of(record.get("resource"), 200),
        reason=text_of(record.get("reason"), 300),
        rule=text_of(record.get("rule"), 120) or "no rule",
        latency=_latency(record.get("latency_us")),
        facts=tuple(_facts(record)),
        params=visible(json_of(record.get("params") or {}, indent=2), MAX_PARAMS, keep="\n"),
    )


def _facts(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, label in _FACTS:
        value = record.get(name)
        if isinstance(value, dict):
            value = {key: item for key, item in value.items() if item not in ("", None, {}, [])}
        if value in (None, "", [], {}, ()):
            continue
        yield label, _risk(value) if name == "risk" else text_of(value, _MAX_FACT)


def _principal(principal: object) -> str:
    """Return the id, and for a delegated one on whose behalf it acts."""
    if not isinstance(principal, dict):
        return text_of(principal, 120)
    chain = principal.get("on_behalf_of") or ()
    behalf = f" for {', '.join(map(str, chain))}" if chain else ""
    return text_of(f"{principal.get('id') or ''}{behalf}", 160)


def _risk(risk: object) -> str:
    if isinstance(risk, dict) and {"action", "resource", "score"} <= risk.keys():
        effect = f", calls for {risk['effect']}" if risk.get("effect") else ""
        terms = f"action {risk['action']} \N{MULTIPLICATION SIGN} resource {risk['resource']}"
        return text_of(f"{terms} = {risk['score']}{effect}", _MAX_FACT)
    return text_of(risk, _MAX_FACT)


def _latency(latency_us: object) -> str:
    if not isinstance(latency_us, int | float):
        return ""
    return f"{latency_us:.0f} µs" if latency_us < 1000 else f"{latency_us / 1000:.1f} ms"  # noqa: PLR2004


def text_of(value: object, limit: int) -> str:
    """Return a value as text that is safe to show."""
    if value is None:
        return ""
    return visible(value if isinstance(value, str) else json_of(value), limit)


def json_of(value: object, indent: int | None = None) -> str:
    """Return a value as JSON for people."""
    return json.dumps(value, ensure_ascii=False, indent=indent, default=str)

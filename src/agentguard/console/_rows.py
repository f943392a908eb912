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
    ("context", "Context"),
    ("correlation_id", "Correlation id"),
    ("policy_version", "Policy version"),
    ("event_id", "Event id"),
)
_MAX_PARAMS = 4000
_MAX_FACT = 600


class Row(msgspec.Struct, frozen=True):
    """What the page shows of a decision; `facts` are (label, text) pairs for the details."""

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
    return Row(
        seq=int(record["seq"]),
        timestamp=timestamp,
        time=timestamp.partition("T")[2][:8] or timestamp,
        effect=effect,
        icon=icon,
        label=label,
        principal=_principal(record.get("principal")),
        action=_text(record.get("action"), 120),
        resource=_text(record.get("resource"), 200),
        reason=_text(record.get("reason"), 300),
        rule=_text(record.get("rule"), 120) or "no rule",
        latency=_latency(record.get("latency_us")),
        facts=tuple(_facts(record)),
        params=visible(_json(record.get("params") or {}, indent=2), _MAX_PARAMS, keep="\n"),
    )


def _facts(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, label in _FACTS:
        value = record.get(name)
        if isinstance(value, dict):
            value = {key: item for key, item in value.items() if item not in ("", None, {}, [])}
        if value in (None, "", [], {}, ()):
            continue
        yield label, _risk(value) if name == "risk" else _text(value, _MAX_FACT)


def _principal(principal: object) -> str:
    """Return the id, and for a delegated one on whose behalf it acts."""
    if not isinstance(principal, dict):
        return _text(principal, 120)
    chain = principal.get("on_behalf_of") or ()
    behalf = f" for {', '.join(map(str, chain))}" if chain else ""
    return _text(f"{principal.get('id') or ''}{behalf}", 160)


def _risk(risk: object) -> str:
    if isinstance(risk, dict) and {"action", "resource", "score"} <= risk.keys():
        effect = f", calls for {risk['effect']}" if risk.get("effect") else ""
        terms = f"action {risk['action']} \N{MULTIPLICATION SIGN} resource {risk['resource']}"
        return _text(f"{terms} = {risk['score']}{effect}", _MAX_FACT)
    return _text(risk, _MAX_FACT)


def _latency(latency_us: object) -> str:
    if not isinstance(latency_us, int | float):
        return ""
    return f"{latency_us:.0f} µs" if latency_us < 1000 else f"{latency_us / 1000:.1f} ms"  # noqa: PLR2004


def _text(value: object, limit: int) -> str:
    if value is None:
        return ""
    return visible(value if isinstance(value, str) else _json(value), limit)


def _json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent, default=str)

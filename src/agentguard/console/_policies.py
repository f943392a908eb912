"""The policy set in force as the page shows it: texts only, each of them safe to show."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.console._rows import EFFECTS
from agentguard.console._text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agentguard.policy import PolicyDescription

_MAX_TEXT = 300
_MAX_PART = 600
_TITLES = {
    "rules": "Rules",
    "sequences": "Sequences",
    "limits": "Limits",
    "breaker": "Breaker",
    "cumulative_risk": "Cumulative risk",
}
_SHOWN_ELSEWHERE = frozenset(("id", "effect", "reason", "file", "line", "shipped", "severity", "tier"))


class PolicyRow(msgspec.Struct, frozen=True):
    """One rule of any kind; `says` are (key, text) pairs of what is written in it."""

    id: str
    effect: str
    icon: str
    label: str
    marks: tuple[str, ...]
    reason: str
    place: str
    says: tuple[tuple[str, str], ...]


class PolicyGroup(msgspec.Struct, frozen=True):
    """The rules of one kind: the project's `own`, and those `shipped` with the package."""

    title: str
    own: tuple[PolicyRow, ...]
    shipped: tuple[PolicyRow, ...]


def policy_groups(description: PolicyDescription, text: str = "") -> tuple[PolicyGroup, ...]:
    """Return the rules by kind, those in which all words of `text` stand; kinds without any are left out."""
    groups = []
    for name, title in _TITLES.items():
        written: Any = msgspec.to_builtins(getattr(description, name))
        entries = [entry for entry in _entries(name, written) if _contains(entry, text)]
        own, shipped = (
            tuple(_row(entry) for entry in entries if bool(entry.get("shipped")) is which)
            for which in (False, True)
        )
        if own or shipped:
            groups.append(PolicyGroup(title, own, shipped))
    return tuple(groups)


def _entries(name: str, written: Any) -> Iterator[dict[str, Any]]:
    if isinstance(written, dict):
        # There is one of these, and its id is fixed.
        yield {"id": name.replace("_", "-"), **written}
    elif written is not None:
        yield from written


def _contains(entry: Mapping[str, Any], text: str) -> bool:
    whole = json.dumps(entry, ensure_ascii=False).casefold()
    return all(word in whole for word in text.casefold().split())


def _row(entry: Mapping[str, Any]) -> PolicyRow:
    effect = entry.get("effect", "deny")
    icon, label = EFFECTS[effect]
    marks = [entry["tier"]] if entry.get("tier") == "mandatory" else []
    marks += [entry["severity"]] if entry.get("severity") else []
    return PolicyRow(
        id=visible(str(entry.get("id", "")), _MAX_TEXT),
        effect=effect,
        icon=icon,
        label=label,
        marks=tuple(marks),
        reason=visible(entry.get("reason", ""), _MAX_TEXT),
        place=_place(entry),
        says=tuple(
            (name, visible(_written(value), _MAX_PART))
            for name, value in entry.items()
            if name not in _SHOWN_ELSEWHERE and value not in (None, "", [], (), {})
        ),
    )


def _place(entry: Mapping[str, Any]) -> str:
    if entry.get("shipped"):
        return "ships with AgentGuard"
    if not entry.get("file"):
        return ""
    line = f":{entry['line']}" if entry.get("line") else ""
    return visible(f"{entry['file']}{line}", _MAX_TEXT)


def _written(value: Any) -> str:
    """Return a part of a rule on one line, about as it is written in its file."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return ", ".join(map(_written, value))
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_nested(inner)}" for name, inner in value.items()) + "}"
    return json.dumps(value)


def _nested(value: Any) -> str:
    return f"[{_written(value)}]" if isinstance(value, list | tuple) else _written(value)

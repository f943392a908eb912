"""What people are told about an approval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agentguard.approvals._rules import asked
from agentguard.core import Approval, Notice, NoticeKind, Risk, Severity, StepKind

if TYPE_CHECKING:
    from datetime import datetime

    from agentguard.core import Step

_SEVERITY = {
    Risk.LOW: Severity.LOW,
    Risk.MEDIUM: Severity.MEDIUM,
    Risk.HIGH: Severity.HIGH,
    Risk.CRITICAL: Severity.CRITICAL,
}
_TITLES = {
    StepKind.OPENED: (NoticeKind.APPROVAL_PENDING, "approval needed"),
    StepKind.EDITED: (NoticeKind.APPROVAL_PENDING, "approval needed for a changed request"),
    StepKind.ESCALATED: (NoticeKind.APPROVAL_ESCALATED, "approval still needed"),
    StepKind.DELEGATED: (NoticeKind.APPROVAL_DELEGATED, "a vote was given to you"),
    StepKind.APPROVED: (NoticeKind.APPROVAL_DECIDED, "approved"),
    StepKind.DENIED: (NoticeKind.APPROVAL_DECIDED, "denied"),
    StepKind.EXPIRED: (NoticeKind.APPROVAL_DECIDED, "expired"),
    StepKind.CANCELLED: (NoticeKind.APPROVAL_DECIDED, "cancelled"),
    StepKind.RELEASED: (NoticeKind.APPROVAL_DECIDED, "let through by the policy in force"),
    StepKind.GLASS_BROKEN: (NoticeKind.GLASS_BROKEN, "the glass was broken"),
    StepKind.EFFECT_UNKNOWN: (NoticeKind.APPROVAL_EFFECT_UNKNOWN, "dispatched, effect unknown"),
}
_MAX_PARAMS = 2000


def notice_of(approval: Approval, number: int) -> Notice | None:
    """Return what people are told about a step of an approval, None where it is nothing to tell."""
    step = approval.steps[number]
    known = _TITLES.get(step.kind)
    if known is None:
        return None
    kind, title = known
    severity = _SEVERITY[approval.risk]
    people, groups = _whom(approval, step)
    if kind is NoticeKind.GLASS_BROKEN:
        severity = Severity.CRITICAL
    return Notice(
        id=f"{approval.id}:{number}",
        kind=kind,
        severity=severity,
        title=f"{title}: {approval.principal} {approval.action} on {approval.resource}",
        at=step.at,
        fields=_fields(approval, step),
        links=(("approval", f"/approvals/{approval.id}"),),
        approval=approval.id,
        edition=approval.edition,
        people=people,
        groups=groups,
        everyone=kind is NoticeKind.GLASS_BROKEN,
    )


def jump_notice(seconds: float, at: datetime) -> Notice:
    """Return what people are told when somebody has set the clock."""
    return Notice(
        id=f"clock:{at.timestamp():.3f}",
        kind=NoticeKind.CLOCK_JUMPED,
        severity=Severity.HIGH,
        title=f"the clock of the guard was set by {seconds:+.0f} s; deadlines of approvals do not follow it",
        at=at,
    )


def _whom(approval: Approval, step: Step) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if step.kind is StepKind.ESCALATED:
        return tuple(step.details.get("people", ())), tuple(step.details.get("groups", ()))
    if step.kind is StepKind.DELEGATED:
        return (str(step.details["to"]),), ()
    people, groups = asked(approval)
    return tuple(sorted(people)), tuple(sorted(groups))


def _fields(approval: Approval, step: Step) -> tuple[tuple[str, str], ...]:
    quorum = approval.route.quorum.approve
    behalf = ", ".join(approval.on_behalf_of)
    fields = [
        ("principal", f"{approval.principal} on behalf of {behalf}" if behalf else approval.principal),
        ("action", approval.action),
        ("resource", approval.resource),
        ("parameters", _shown(approval)),
        ("risk", approval.risk.value),
        ("reason", approval.reason),
        ("purpose", approval.purpose),
        ("needs", f"{quorum} people" if quorum > 1 else ""),
        ("deadline", f"{approval.deadline:%Y-%m-%d %H:%M:%S} UTC" if approval.state.is_open else ""),
        ("at zero", approval.route.at_zero if step.kind in (StepKind.OPENED, StepKind.ESCALATED) else ""),
        ("by", step.by),
        # Its first step says again why it is asked.
        ("note", step.note if step.kind is not StepKind.OPENED else ""),
    ]
    return tuple((name, value) for name, value in fields if value)


def _shown(approval: Approval) -> str:
    text = msgspec.json.encode(approval.params).decode()
    if approval.patch is not None:
        text += f" changed by {msgspec.json.encode(approval.patch).decode()}"
    return text if len(text) <= _MAX_PARAMS else f"{text[:_MAX_PARAMS]}…"

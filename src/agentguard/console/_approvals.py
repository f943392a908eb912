"""Approvals as the pages show them: texts only, each of them safe to show."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.console._rows import MAX_PARAMS, json_of
from agentguard.console._text import visible
from agentguard.core import ApprovalState, StepKind

if TYPE_CHECKING:
    from datetime import datetime

    from agentguard.core import Approval, Step

# state -> (icon, word, the effect whose colours it has)
_STATES = {
    ApprovalState.PENDING: ("?", "pending", "require_approval"),
    ApprovalState.APPROVED: ("✓", "approved", "allow"),
    ApprovalState.DENIED: ("✕", "denied", "deny"),
    ApprovalState.EXPIRED: ("◷", "expired", "deny"),
    ApprovalState.CANCELLED: ("⊘", "cancelled", "seen"),
    ApprovalState.CONSUMED: ("✓", "used", "allow"),
}
_WORDS = {
    StepKind.OPENED: "asked for",
    StepKind.VOTED: "voted",
    StepKind.EDITED: "changed by an approver",
    StepKind.DEFERRED: "deferred",
    StepKind.DELEGATED: "vote given away",
    StepKind.ESCALATED: "escalated",
    StepKind.GLASS_BROKEN: "glass broken",
    StepKind.APPROVED: "approved",
    StepKind.DENIED: "denied",
    StepKind.EXPIRED: "expired",
    StepKind.CANCELLED: "cancelled",
    StepKind.CONSUMED: "used up",
    StepKind.RELEASED: "let through by the policy in force",
    StepKind.DISPATCHED: "dispatched",
    StepKind.EFFECT_UNKNOWN: "dispatched, effect unknown",
    StepKind.FINISHED: "finished",
    StepKind.REVIEWED: "reviewed",
}
_MAX_LINE, _MAX_NOTE = 300, 2000


class StepLine(msgspec.Struct, frozen=True):
    """One thing that happened: when, what, by whom, and what they said."""

    time: str
    what: str
    by: str
    note: str


class ApprovalView(msgspec.Struct, frozen=True):
    """One approval. `facts` are (label, text) pairs; `deadline_at` is RFC 3339, for a countdown."""

    id: str
    icon: str
    word: str
    effect: str
    is_pending: bool
    principal: str
    action: str
    resource: str
    reason: str
    risk: str
    opened: str
    deadline: str
    deadline_at: str
    needs: str
    edition: int
    facts: tuple[tuple[str, str], ...]
    params: str
    patch: str
    steps: tuple[StepLine, ...]
    is_effect_unknown: bool
    awaits_review: bool


def view_of(approval: Approval) -> ApprovalView:
    """Return what the pages show of an approval."""
    icon, word, effect = _STATES[approval.state]
    if approval.is_effect_unknown and approval.dispatched:
        icon, word, effect = "!", "dispatched, effect unknown", "require_approval"
    elif approval.result is not None:
        word = f"used: {approval.result.status}"
    quorum = approval.route.quorum
    approving = len(
        {
            vote.in_place_of or vote.person
            for vote in approval.votes
            if vote.approves and vote.edition == approval.edition
        }
    )
    return ApprovalView(
        id=visible(approval.id, 100),
        icon=icon,
        word=word,
        effect=effect,
        is_pending=approval.state is ApprovalState.PENDING,
        principal=visible(_acting(approval), _MAX_LINE),
        action=visible(approval.action, 120),
        resource=visible(approval.resource, _MAX_LINE),
        reason=visible(approval.reason, _MAX_LINE),
        risk=approval.risk.value,
        opened=_moment(approval.opened_at),
        deadline=_moment(approval.deadline),
        deadline_at=approval.deadline.astimezone(UTC).isoformat(),
        needs=f"{approving} of {quorum.approve}",
        edition=approval.edition,
        facts=_facts(approval),
        params=visible(json_of(approval.params, indent=2), MAX_PARAMS, keep="\n"),
        patch=visible(json_of(approval.patch, indent=2), MAX_PARAMS, keep="\n") if approval.patch else "",
        steps=tuple(_line(step) for step in approval.steps),
        is_effect_unknown=approval.is_effect_unknown and bool(approval.dispatched),
        awaits_review=approval.awaits_review,
    )


def _acting(approval: Approval) -> str:
    behalf = ", ".join(approval.on_behalf_of)
    return f"{approval.principal} on behalf of {behalf}" if behalf else approval.principal


def _facts(approval: Approval) -> tuple[tuple[str, str], ...]:
    route = approval.route
    asked = ", ".join((*route.people, *(f"group {each}" for each in route.groups))) or "every approver"
    outcome = "it is denied" if route.at_zero == "deny" else "it is allowed"
    pairs: list[tuple[str, Any]] = [
        ("Why it is asked", approval.purpose),
        ("Rule", approval.rule),
        ("Route", f"{route.name}: {asked}"),
        ("When the time is up", outcome),
        *((name.replace("_", " ").capitalize(), value) for name, value in approval.about.items()),
        ("Session", approval.session),
        ("Task", approval.task),
        ("Policy", approval.policy_version[:19]),
        ("Approval id", approval.id),
        ("Binding", approval.binding[:23]),
    ]
    return tuple((name, visible(str(value), _MAX_LINE)) for name, value in pairs if value)


def _line(step: Step) -> StepLine:
    said = step.details.get("approves")
    word = _WORDS.get(step.kind, step.kind.value)
    if step.kind is StepKind.VOTED and isinstance(said, bool):
        word = "voted for it" if said else "voted against it"
    word = visible(word + _more(step), _MAX_LINE)
    via = (
        f" ({step.origin.via}{', ' + step.origin.address if step.origin.address else ''})"
        if step.origin
        else ""
    )
    return StepLine(_moment(step.at), word, visible(step.by, 120) + via, visible(step.note, _MAX_NOTE))


def _more(step: Step) -> str:
    """Return to whom, for how long, or with which word it was."""
    details = step.details
    if step.kind is StepKind.ESCALATED:
        asked = (*details.get("people", ()), *(f"group {each}" for each in details.get("groups", ())))
        return f" to {', '.join(asked)}" if asked else ""
    if step.kind is StepKind.DELEGATED:
        return f" to {details.get('to', '')}"
    if step.kind is StepKind.DEFERRED:
        return f" for {details.get('for_s', 0) / 60:g} min"
    if step.kind is StepKind.REVIEWED:
        return ": justified" if details.get("justified") else ": not justified"
    return f": {details['outcome']}" if step.kind is StepKind.FINISHED and "outcome" in details else ""


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"

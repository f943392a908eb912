"""What time alone does to an approval. Pure: the engine says what time it is."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec.structs import replace

from agentguard.core import Approval, ApprovalState, Step, StepKind

if TYPE_CHECKING:
    from datetime import datetime

    from agentguard.approvals._rules import Rules

NOBODY_DECIDED = "nobody decided in time"
NOBODY_OBJECTED = "nobody objected in time, and the route lets it through then"
NOT_USED = "it was approved and not used in time"


def advance(approval: Approval, at: datetime) -> Approval:
    """Return the approval as it stands at a time: escalated, expired; the same object where nothing is due."""
    if approval.state is ApprovalState.PENDING:
        approval = _escalated(approval, at)
    if not approval.state.is_open or at < approval.deadline:
        return approval
    if approval.state is ApprovalState.APPROVED:
        return _ended(approval, ApprovalState.EXPIRED, StepKind.EXPIRED, NOT_USED)
    if approval.route.at_zero == "allow":
        passed = _ended(approval, ApprovalState.APPROVED, StepKind.APPROVED, NOBODY_OBJECTED)
        return replace(passed, deadline=at + timedelta(seconds=approval.route.limit_s))
    return _ended(approval, ApprovalState.EXPIRED, StepKind.EXPIRED, NOBODY_DECIDED)


def next_due(approval: Approval, rules: Rules) -> datetime | None:
    """Return when time will next do something to it, None if never."""
    if approval.state is ApprovalState.PENDING:
        escalations = approval.route.escalations[approval.escalated :]
        return min([approval.deadline, *(_due(approval, each.after_s) for each in escalations[:1])])
    if approval.state is ApprovalState.APPROVED:
        return approval.deadline
    if approval.is_effect_unknown and not approval.effect_unknown and approval.consumed_at is not None:
        return approval.consumed_at + timedelta(seconds=rules.outcome_within_s)
    return None


def _escalated(approval: Approval, at: datetime) -> Approval:
    for escalation in approval.route.escalations[approval.escalated :]:
        due = _due(approval, escalation.after_s)
        if at < due or due >= approval.deadline:
            break
        details = {"people": list(escalation.people), "groups": list(escalation.groups)}
        step = Step(StepKind.ESCALATED, due, details=details)
        approval = replace(approval, escalated=approval.escalated + 1, steps=(*approval.steps, step))
    return approval


def _ended(approval: Approval, state: ApprovalState, kind: StepKind, note: str) -> Approval:
    step = Step(kind, approval.deadline, note=note)
    return replace(approval, state=state, steps=(*approval.steps, step))


def _due(approval: Approval, after_s: float) -> datetime:
    return approval.opened_at + timedelta(seconds=after_s + approval.deferred_s)

"""Puts the steps of an approval on record and tells people, each at least once, whatever dies in between.

An approval says how far that has come (`recorded`, `noticed`). What a crash cut off is done again, and can be known
by the approval's id and the number of the step.
"""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Any

from agentguard.approvals._notice import notice_of
from agentguard.core import Approval, AuditError, Event, EventKind, NotifyError, StepKind

if TYPE_CHECKING:
    from agentguard.core import ApprovalError, AuditLog, EventBus, Move, Notifier

_LOG = logging.getLogger("agentguard.approvals")


def record_steps(approval: Approval, audit: AuditLog) -> int:
    """Put what is not there yet into the log; return how many steps are there now.

    Raises:
        AuditError: the log could not take one.
    """
    for number in range(approval.recorded, len(approval.steps)):
        audit.append(step_record(approval, number))
    return len(approval.steps)


def tell_steps(approval: Approval, bus: EventBus | None, notifier: Notifier | None) -> int:
    """Publish and tell what was not told yet; return how many steps were told by now."""
    for number in range(approval.noticed, len(approval.steps)):
        if bus is not None and not bus.publish([_event(approval, number)]):
            return number
        notice = notice_of(approval, number) if notifier is not None else None
        if notice is not None and notifier is not None:
            try:
                notifier.notify(notice)
            except NotifyError as error:
                _LOG.error("a notice is not taken and kept for later: %s", error.message)
                return number
    return len(approval.steps)


def step_record(approval: Approval, number: int) -> dict[str, Any]:
    """Return the audit record of a step."""
    step = approval.steps[number]
    record: dict[str, Any] = {
        "type": "approval",
        "approval": approval.id,
        "step": number,
        "status": step.kind.value,
        "principal": approval.principal,
        "action": approval.action,
        "resource": approval.resource,
        "correlation_id": approval.correlation_id,
        "at": step.at.isoformat(),
        "by": step.by,
        **step.details,
    }
    if step.origin is not None:
        record["origin"] = {"via": step.origin.via, "address": step.origin.address}
    if step.note:
        record["note"] = step.note
    if step.kind is StepKind.OPENED:
        record |= _question(approval)
    if step.kind is StepKind.EDITED:
        record["patch"] = approval.patch
    return record


def refusal_record(approval_id: str, about: Approval | None, move: str, by: str, code: str) -> dict[str, Any]:
    """Return the audit record of a move that was refused."""
    record = {"type": "approval", "approval": approval_id, "status": "refused", "move": move, "by": by}
    if about is not None:
        record |= {"principal": about.principal, "action": about.action, "resource": about.resource}
    return record | {"code": code}


def record_refusal(
    audit: AuditLog, approval_id: str, about: Approval | None, move: Move, error: ApprovalError
) -> None:
    """Put on record that a move was refused; what cannot be recorded is logged, and the move stays refused."""
    person = getattr(move, "person", None)
    by = person.name if person is not None else getattr(move, "by", "")
    name = type(move).__struct_config__.tag
    record = refusal_record(approval_id[:200], about, str(name), by, error.code)
    origin = getattr(move, "origin", None)
    if origin is not None:
        record["origin"] = {"via": origin.via, "address": origin.address}
    try:
        audit.append(record)
    except AuditError as failure:
        _LOG.error("a refused move could not be recorded: %s", failure.message)


def _question(approval: Approval) -> dict[str, Any]:
    route = approval.route
    return {
        "params": approval.params,
        "binding": approval.binding,
        "basis": approval.basis,
        "rule": approval.rule,
        "policy_version": approval.policy_version,
        "risk": approval.risk.value,
        "reason": approval.reason,
        "route": route.name,
        "quorum": {"approve": route.quorum.approve, "deny": route.quorum.deny},
        "deadline": approval.deadline.isoformat(),
        "at_zero": route.at_zero,
    }


def _event(approval: Approval, number: int) -> Event:
    step = approval.steps[number]
    payload = {
        "action": approval.action,
        "resource": approval.resource,
        "effect": "require_approval",
        "approval": approval.id,
        "step": number,
        "status": step.kind.value,
        "state": approval.state.value,
        "by": step.by,
        "note": step.note,
    }
    return Event(
        _event_id(approval, number),
        EventKind.APPROVAL,
        step.at,
        approval.principal,
        approval.session,
        payload,
    )


def _event_id(approval: Approval, number: int) -> str:
    """Return the same id whenever the step is told again: the time of a version 7 UUID, the rest a hash."""
    digest = hashlib.sha256(f"{approval.id}:{number}".encode()).hexdigest()
    millis = int(approval.steps[number].at.timestamp() * 1000)
    return f"{millis:012x}7{digest[:3]}8{digest[3:18]}"

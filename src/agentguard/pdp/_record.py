"""What stands in the audit log about a decision: everything that explains it, and no secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentguard.core import Context, Decision, Effect, OriginKind, Outcome, Principal
from agentguard.registry import CompiledAction, mask_secrets

if TYPE_CHECKING:
    from collections.abc import Callable

_EMPTY = Context()
# By rank: `Effect.value` goes through a descriptor and costs several times as much.
_NAMES = tuple(effect.value for effect in Effect)
_KINDS = tuple(kind.value for kind in OriginKind)


def decision_record(
    decision: Decision,
    *,
    principal: Principal,
    context: Context,
    action: CompiledAction | None,
    commit: Callable[[Any], Any],
    observed: bool = False,
) -> dict[str, Any]:
    """Return the record of a decision; `observed` marks what happened without being asked for.

    Values that the schema marks secret become commitments. Parameters of an undeclared action are one
    commitment as a whole: where nothing is declared, nothing says what is secret.
    """
    record: dict[str, Any] = {
        "type": "decision",
        "correlation_id": decision.correlation_id,
        "principal": decision.principal,
        "action": decision.action,
        "resource": decision.resource,
        "params": masked_params(decision.params, action, commit),
        "effect": _NAMES[decision.effect.rank],
        "reason": decision.reason,
        "rule": decision.rule,
        "stage": decision.stage,
        "policy_version": decision.policy_version,
        "latency_us": decision.latency_us,
    }
    if observed:
        record["observed"] = True
    if principal.roles:
        record["roles"] = principal.roles
    if principal.on_behalf_of:
        record["on_behalf_of"] = principal.on_behalf_of
    if context is not _EMPTY:
        told = _context(context)
        if told:
            record["context"] = told
    if decision.approval:
        record["approval"] = decision.approval
    risk = decision.risk
    if risk is not None:
        record["risk"] = {"action": risk.action, "resource": risk.resource, "score": risk.score}
    if decision.obligations:
        record["obligations"] = [{each.name: each.value} for each in decision.obligations]
    if decision.findings:
        record["findings"] = [
            {"detector": each.detector, "score": each.score, "severity": each.severity.value}
            for each in decision.findings
        ]
    if decision.origins:
        # Neither the value nor the words that led to it: both can be private.
        record["origins"] = [
            {
                "argument": each.argument,
                "role": each.role,
                "kind": _KINDS[each.kind.rank],
                "source": each.source,
            }
            for each in decision.origins
        ]
    return record


def masked_params(params: dict[str, Any], action: CompiledAction | None, commit: Callable[[Any], Any]) -> Any:
    """Return `params` fit for the log; `action` is None when nothing declares them."""
    if action is not None:
        return mask_secrets(action, params, commit) if action.secret_paths else params
    return commit(params) if params else {}


def outcome_record(outcome: Outcome) -> dict[str, Any]:
    """Return the record of what came of an action."""
    record = {
        "type": "outcome",
        "decision": outcome.audit_id,
        "principal": outcome.principal,
        "status": outcome.status,
        "detail": outcome.detail[:500],
    }
    return record | {"approval": outcome.approval} if outcome.approval else record


def _context(context: Context) -> dict[str, Any]:
    told: dict[str, Any] = {}
    # One by one: a loop over the names costs three times as much.
    if context.session:
        told["session"] = context.session
    if context.task:
        told["task"] = context.task
    if context.ticket:
        told["ticket"] = context.ticket
    if context.reason:
        told["reason"] = context.reason
    if context.time is not None:
        told["time"] = context.time.isoformat()
    if context.attributes:
        told["attributes"] = context.attributes
    return told

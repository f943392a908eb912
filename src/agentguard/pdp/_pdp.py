"""The decision point: from a request to a recorded decision, whatever goes wrong on the way."""

from __future__ import annotations

import logging
from functools import lru_cache
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import (
    AgentGuardError,
    AuditError,
    Clock,
    Context,
    Decision,
    Effect,
    Outcome,
    Principal,
    Request,
    RequestError,
    SystemClock,
    normalise_action,
    normalise_resource_id,
    snapshot,
)
from agentguard.pdp._evaluate import Verdict, World, evaluate
from agentguard.pdp._record import decision_record, masked_params, outcome_record
from agentguard.policy import Facts, near_misses

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from agentguard.core import AuditLog
    from agentguard.registry import CompiledAction

log = logging.getLogger("agentguard.pdp")

_normalised = lru_cache(maxsize=8192)(normalise_resource_id)
_set = msgspec.structs.force_setattr
_CLOSED = "the decision point is closed"
_ENOUGH = 200  # characters of a hostile name that are worth repeating


def _no_commitment(_value: object) -> str:
    return "[withheld]"


class PolicyDecisionPoint:
    """Decides requests in this process (`core.Decider`). Safe to use from many threads.

    `world` may be replaced at any time by another one; a decision uses the one that it began with. Without
    `audit` nothing is recorded; with it, a decision that cannot be recorded is a deny. `commit` turns a
    secret value into what may stand in the log. `listeners` are called with every decision and its record.
    """

    def __init__(
        self,
        world: World,
        *,
        audit: AuditLog | None = None,
        commit: Callable[[Any], Any] = _no_commitment,
        clock: Clock | None = None,
    ) -> None:
        self.world = world
        self._audit = audit
        self._commit = commit
        self._clock = clock or SystemClock()
        self._closed = False

    def decide(self, request: Request, *, trace: bool = False) -> Decision:
        """Return the decision on `request`; never raises."""
        start = perf_counter_ns()
        world = self.world
        verdict: Verdict | None = None
        asked: tuple[CompiledAction, dict[str, Any]] | None = None
        try:
            principal, context, now = self._who_and_when(request)
            action, resource_id, params = _what(world, request)
            resource = world.inventory.resolve(resource_id)
            verdict = evaluate(world, principal, action, resource, params, context, now)
            asked = (action, params)
            decision = Decision(
                verdict.effect,
                verdict.reason,
                principal.id,
                verdict.action.reference,
                resource_id,
                verdict.params,
                verdict.rule,
                verdict.stage,
                world.policies.version,
                verdict.risk,
                verdict.obligations,
                prechecks=verdict.action.action.prechecks,
                required_privileges=verdict.action.action.required_privileges,
                correlation_id=context.correlation_id,
            )
            if trace:
                facts = Facts(principal, action.action, resource, params, context, now)
                _set(decision, "near_misses", near_misses(world.policies, facts))
        except AgentGuardError as error:
            decision = _refusal(request, world, "request", error.message)
        except Exception as error:  # the boundary: a crash in a layer is a deny
            log.exception("a layer failed", extra={"error": type(error).__name__})
            decision = _refusal(request, world, "error", f"a layer failed: {type(error).__name__}")
        _set(decision, "latency_us", (perf_counter_ns() - start) / 1000)
        return decision if self._audit is None else self._recorded(request, decision, verdict, asked)

    def decide_plan(self, requests: Sequence[Request]) -> list[Decision]:
        """Return one decision a step, in order."""
        return [self.decide(request) for request in requests]

    def record_outcome(self, outcome: Outcome) -> None:
        """Record what came of an action.

        Raises:
            AuditError: the log could not take it.
        """
        if self._audit is not None:
            self._audit.append(outcome_record(outcome))

    def close(self) -> None:
        """Deny from now on, and close the log."""
        self._closed = True
        if self._audit is not None:
            self._audit.close()

    def _who_and_when(self, request: Request) -> tuple[Principal, Context, datetime]:
        if self._closed:
            raise RequestError(_CLOSED, code="closed")
        principal, context = request.principal, request.context
        if type(principal) is not Principal or not principal.id:
            raise RequestError("the request has no principal")
        if type(context) is not Context:
            raise RequestError("the request's context is malformed")
        now = context.time
        if now is None:
            return principal, context, self._clock.now()
        if now.tzinfo is None:
            raise RequestError("the request's time has no time zone")
        return principal, context, now

    def _recorded(
        self,
        request: Request,
        decision: Decision,
        verdict: Verdict | None,
        asked: tuple[CompiledAction, dict[str, Any]] | None,
    ) -> Decision:
        assert self._audit is not None
        try:
            record = decision_record(
                decision,
                principal=request.principal if type(request.principal) is Principal else Principal(""),
                context=request.context if type(request.context) is Context else Context(),
                action=verdict.action if verdict is not None else None,
                commit=self._commit,
            )
            if asked is not None and decision.params is not asked[1]:
                action, params = asked
                record["requested"] = {
                    "action": action.reference,
                    "params": masked_params(params, action, self._commit),
                }
            _set(decision, "audit_id", self._audit.append(record))
        except Exception as error:  # the boundary: what is not on record is not allowed
            if not isinstance(error, AuditError):
                log.exception("a decision could not be recorded", extra={"error": type(error).__name__})
            return _unrecorded(decision, error)
        return decision


def _what(world: World, request: Request) -> tuple[CompiledAction, str, dict[str, Any]]:
    name = request.action
    action = world.registry.resolve(name) if type(name) is str else None
    if action is None:
        reference = normalise_action(name)
        raise RequestError(f"undeclared action `{reference}`", code="action_undeclared")
    resource = request.resource
    if type(resource) is not str:
        raise RequestError("the request has no resource", code="resource_invalid")
    return action, _normalised(resource), snapshot(request.params)


def _refusal(request: Request, world: World, stage: str, reason: str) -> Decision:
    principal, context = request.principal, request.context
    return Decision(
        effect=Effect.DENY,
        reason=reason,
        principal=principal.id if type(principal) is Principal else "",
        action=_shown(request.action),
        resource=_shown(request.resource),
        stage=stage,
        policy_version=world.policies.version,
        correlation_id=context.correlation_id if type(context) is Context else "",
    )


def _shown(name: object) -> str:
    """Return a hostile name fit to be shown: text, short, valid Unicode."""
    return name[:_ENOUGH].encode("utf-8", "replace").decode() if isinstance(name, str) else ""


def _unrecorded(decision: Decision, error: Exception) -> Decision:
    why = error.message if isinstance(error, AgentGuardError) else type(error).__name__
    return msgspec.structs.replace(
        decision,
        effect=Effect.DENY,
        stage="audit",
        reason=f"the decision could not be recorded: {why}",
        obligations=(),
        audit_id="",
    )

"""The enforcement point in the agent's process: asks, and runs a function only as it was decided."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, runtime_checkable

import msgspec

from agentguard.clients._deny import refuse
from agentguard.clients._guarded import Guarded
from agentguard.clients._session import MAX_RESULT_BYTES, Session, bounded
from agentguard.core import (
    TOKEN_PRINCIPAL,
    AgentGuardError,
    Context,
    Decider,
    Decision,
    Observation,
    Outcome,
    PlanStep,
    Principal,
    Request,
    RequestError,
    snapshot,
)
from agentguard.enforcement import log_decision, require_known

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType
    from typing import Literal, Self

    from agentguard.clients._sandbox import Sandbox

P = ParamSpec("P")
R = TypeVar("R")

_NO_CONTEXT = Context()
_LOGGER = logging.getLogger("agentguard.pep")


@runtime_checkable
class AsyncDecider(Protocol):
    """A decider that can also be awaited."""

    async def adecide(self, request: Request, *, trace: bool = False) -> Decision:
        """Return the decision, as `Decider.decide` does."""


class EnforcementPoint:
    """Asks `decider` before each action. Safe to use from many threads.

    `principal` is who acts unless a call names another: one that the host program vouches for, or None where
    the decider knows it, as a sidecar does from the token. `find_principal` returns the principal with an id.
    `sandboxes` are what this program can run an action in, by the names that rules call them.
    """

    def __init__(
        self,
        decider: Decider,
        *,
        principal: Principal | str | None,
        find_principal: Callable[[str], Principal] = Principal,
        sandboxes: Mapping[str, Sandbox] | None = None,
    ) -> None:
        self._decider = decider
        self._find_principal = find_principal
        self.sandboxes: Mapping[str, Sandbox] = dict(sandboxes or {})
        self._principal = find_principal(principal) if isinstance(principal, str) else principal

    def check(
        self,
        action: str,
        *,
        resource: str,
        params: dict[str, Any] | None = None,
        principal: Principal | str | None = None,
        context: Context | None = None,
        session: str = "",
        correlation_id: str = "",
        task: str = "",
        ticket: str = "",
        reason: str = "",
        ticket_for: str = "",
        trace: bool = False,
    ) -> Decision:
        """Return the decision, recorded; whatever goes wrong is a deny that says why, never an exception.

        Do what `decision.action` and `decision.params` say, not what you asked for, and carry the obligations
        out on the result. `session`, `correlation_id`, `task`, `ticket` (that of a change) and `reason` stand over
        those of `context`. `ticket_for` names an executor: what lets the action through then carries an execution
        ticket for it as `decision.ticket`. With `trace` the decision lists its near misses even where it is no deny.
        """
        try:
            about = _context(
                context,
                session=session,
                correlation_id=correlation_id,
                task=task,
                ticket=ticket,
                reason=reason,
            )
            request = self._request(
                action, resource, params, principal=principal, context=about, ticket_for=ticket_for
            )
            return self._judge(self._decider.decide(request, trace=trace), about)
        except Exception as error:  # noqa: BLE001 - nothing that goes wrong here may let the action through
            return _deny(error, action, resource, correlation_id)

    async def acheck(
        self,
        action: str,
        *,
        resource: str,
        params: dict[str, Any] | None = None,
        principal: Principal | str | None = None,
        context: Context | None = None,
        session: str = "",
        correlation_id: str = "",
        task: str = "",
        ticket: str = "",
        reason: str = "",
        ticket_for: str = "",
        trace: bool = False,
    ) -> Decision:
        """Return the same as `check` without blocking the event loop."""
        try:
            about = _context(
                context,
                session=session,
                correlation_id=correlation_id,
                task=task,
                ticket=ticket,
                reason=reason,
            )
            request = self._request(
                action, resource, params, principal=principal, context=about, ticket_for=ticket_for
            )
            if isinstance(self._decider, AsyncDecider):
                return self._judge(await self._decider.adecide(request, trace=trace), about)
            import asyncio  # loads slowly, and who awaits has it loaded

            return self._judge(await asyncio.to_thread(self._decider.decide, request, trace=trace), about)
        except Exception as error:  # noqa: BLE001 - as in `check`
            return _deny(error, action, resource, correlation_id)

    def check_plan(
        self,
        steps: Iterable[PlanStep | Mapping[str, Any]],
        *,
        principal: Principal | str | None = None,
        context: Context | None = None,
    ) -> list[Decision]:
        """Return one decision a step, each made as if the ones before had happened.

        A step is a `PlanStep`, or a mapping with its keys `action`, `resource` and perhaps `params`. If one of
        them is malformed or the decider fails, all are denied.
        """
        given = list(steps)
        try:
            plan = [
                step if isinstance(step, PlanStep) else msgspec.convert(dict(step), PlanStep)
                for step in given
            ]
            about = _context(context)
            requests = [
                self._request(step.action, step.resource, step.params, principal=principal, context=about)
                for step in plan
            ]
            return self._judge_all(self._decider.decide_plan(requests), about, len(plan))
        except Exception as error:  # noqa: BLE001 - as in `check`
            return [_deny(error, *_names(step), "") for step in given]

    def guarded(
        self,
        action: str,
        *,
        resource: str,
        params: Mapping[str, Any] | None = None,
        principal: Principal | str | None = None,
        context: Context | None = None,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Return a decorator that lets a function, sync or async, run only as it was decided.

        The arguments, bound by signature, are the action's parameters, together with the fixed `params` that
        the function does not take; all must be JSON. `resource` may name them: `mail/{to}`. The function gets
        copies of the decided parameters; the obligations are carried out on what it returns, and how it
        ended is recorded.

        Raises:
            ConfigError: when decorating: the template, the action's name or the function cannot be guarded.
            ActionDenied: when called: the action is denied, or cannot be run exactly as decided.
            ApprovalRequired: when called: the action needs an approval.
            ExecutionError: when called: it ran, and its result cannot be passed on as the obligations want.
        """

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            guard = Guarded(
                self,
                function,
                action,
                resource=resource,
                fixed=params or {},
                principal=principal,
                context=context,
            )
            wrapper: Callable[P, R] = guard.wrapper()
            return wrapper

        return decorate

    def report(
        self, decision: Decision, status: Literal["succeeded", "failed", "refused"], detail: str = ""
    ) -> None:
        """Have it recorded what came of a decision; a failure is logged, since what happened has happened."""
        if not decision.audit_id:
            return
        try:
            self._decider.record_outcome(Outcome(decision.audit_id, status, detail, decision.principal))
        except Exception as error:  # noqa: BLE001 - a failed record must not look like a failed action
            name = type(error).__name__
            _LOGGER.error("an outcome is not recorded: %s", name)  # noqa: TRY400 - a traceback may quote parameters

    def session(self, session_id: str | None = None, *, principal: Principal | str | None = None) -> Session:
        """Return a session: checks that belong together, and reports of what the agent saw in between."""
        return Session(self, session_id, principal if principal is not None else self._principal)

    def observe(
        self,
        call: Decision,
        result: Any = None,
        error: BaseException | str | None = None,
        *,
        session: str = "",
    ) -> None:
        """Report what the agent saw of `call`; without `session` it counts for all sessions of the principal.

        Raises:
            AgentGuardError: it could not be reported, so nobody knows what the agent has seen.
        """
        text = "" if error is None else str(error) or type(error).__name__
        principal = self._find_principal(call.principal) if call.principal else TOKEN_PRINCIPAL
        self._decider.observe(
            Observation(
                principal, call.action, call.resource, session, bounded(result), text[:MAX_RESULT_BYTES]
            )
        )

    def close(self) -> None:
        """Release what the decider holds; a later `check` denies."""
        self._decider.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _request(
        self,
        action: str,
        resource: str,
        params: dict[str, Any] | None,
        *,
        principal: Any,
        context: Context,
        ticket_for: str = "",
    ) -> Request:
        if type(action) is not str or type(resource) is not str:
            raise RequestError("an action and a resource are texts")
        if type(ticket_for) is not str:
            raise RequestError("`ticket_for` is an executor's name")
        who = self._principal if principal is None else principal
        if isinstance(who, str):
            who = self._find_principal(who)
        if who is None:
            who = TOKEN_PRINCIPAL
        if not isinstance(who, Principal):
            raise RequestError("a principal is an id or a `Principal`")
        copies = {} if params is None else snapshot(params)
        return Request(who, action, resource, copies, context, ticket_for)

    def _judge_all(self, decisions: list[Decision], context: Context, count: int) -> list[Decision]:
        if len(decisions) != count:
            raise RequestError("the decider answered fewer or more decisions than the plan has steps")
        return [self._judge(decision, context) for decision in decisions]

    def _judge(self, decision: Decision, context: Context) -> Decision:
        if type(decision) is not Decision:
            raise RequestError("the decider answered something else than a decision")
        known = require_known(decision, context, sandboxes=self.sandboxes)
        log_decision(known)
        return known


def _context(context: Context | None, **texts: str) -> Context:
    if context is None and not any(texts.values()):
        return _NO_CONTEXT
    given = {name: value for name, value in texts.items() if value}
    if context is not None and not isinstance(context, Context):
        raise RequestError("a context is a `Context`")
    return msgspec.structs.replace(context or Context(), **given)


def _names(step: PlanStep | Mapping[str, Any]) -> tuple[Any, Any]:
    if isinstance(step, PlanStep):
        return step.action, step.resource
    return (step.get("action"), step.get("resource")) if isinstance(step, dict) else ("", "")


def _deny(error: Exception, action: Any, resource: Any, correlation_id: Any) -> Decision:
    """Return the deny for a failure of ours; foreign texts may quote a parameter, so their class must do."""
    name = type(error).__name__
    _LOGGER.warning("a check failed and is denied: %s", name)
    if isinstance(error, AgentGuardError):
        reason = error.message
    elif isinstance(error, msgspec.ValidationError):
        reason = "a step of the plan is malformed"
    else:
        reason = f"the check failed: {name}"
    decision = refuse(reason, action=action, resource=resource, correlation_id=correlation_id)
    log_decision(decision)
    return decision

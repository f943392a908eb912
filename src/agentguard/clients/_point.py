"""The enforcement point in the agent's process: asks, and runs a function only as it was decided."""

from __future__ import annotations

import logging
import os
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, Unpack, overload, runtime_checkable

from agentguard.clients._asking import (
    Asked,
    check_keywords,
    claim_run,
    deny_failure,
    deny_step,
    find_principal,
    make_context,
    make_request,
    read_step,
)
from agentguard.clients._guarded import guard_with
from agentguard.clients._session import MAX_RESULT_BYTES, Session, bounded, shown
from agentguard.clients._tool_session import ToolSession
from agentguard.clients._waiting import Wait, needs_person
from agentguard.core import (
    TOKEN_PRINCIPAL,
    AgentGuardError,
    ApprovalState,
    ApprovalWaiter,
    Context,
    Decider,
    Decision,
    LabelKeeper,
    Observation,
    Outcome,
    PlanStep,
    Principal,
    RequestError,
    SessionOpener,
    SessionOpening,
    SpendAnswer,
    SpendAsker,
    snapshot,
)
from agentguard.enforcement import log_decision, require_known

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
    from types import TracebackType
    from typing import Literal, Self

    from agentguard.clients._budgets import Budgets
    from agentguard.clients._sandbox import Sandbox
    from agentguard.core import ApprovalStatus, Regrade, Request, Spender, SpendQuestion, Vouched

P = ParamSpec("P")
R = TypeVar("R")

_LOGGER = logging.getLogger("agentguard.pep")


@runtime_checkable
class AsyncDecider(Protocol):
    """A decider that can also be awaited."""

    async def adecide(self, request: Request, *, trace: bool = False) -> Decision:
        """Return the decision, as `Decider.decide` does."""


class EnforcementPoint:
    """Asks `decider` before each action. Safe to use from many threads.

    `principal` is who acts unless a call names another: one that the host program vouches for, or None where
    the decider knows it, as a sidecar does from the token. `find_principal` returns the principal with an id. `run`
    is the run of `agentguard run` that this process is part of, for a decider in this process.
    `sandboxes` are what this program can run an action in, by the names that rules call them. A guarded function
    waits `approval_wait_s` seconds for people, None as long as they have.
    """

    def __init__(
        self,
        decider: Decider,
        *,
        principal: Principal | str | None,
        find_principal: Callable[[str], Principal] = Principal,
        sandboxes: Mapping[str, Sandbox] | None = None,
        approval_wait_s: float | None = None,
        run: str = "",
    ) -> None:
        self._decider = decider
        self._approval_wait_s = approval_wait_s
        self._run = run
        self._find_principal = find_principal
        self.sandboxes: Mapping[str, Sandbox] = dict(sandboxes or {})
        self._principal = find_principal(principal) if isinstance(principal, str) else principal

    def check(self, action: str, *, resource: str, **about: Unpack[Asked]) -> Decision:
        """Return the decision, recorded; whatever goes wrong is a deny that says why, never an exception.

        Do what `decision.action` and `decision.params` say, not what you asked for, and carry the obligations
        out on the result. `params` are the action's parameters, as JSON. `principal` lets another one act.
        `session`, `correlation_id`, `task`, `ticket` (that of a change) and `reason` stand over those of `context`.
        `ticket_for` names an executor: what lets the action through then carries an execution ticket for it as
        `decision.ticket`. A decision that needs a person has the id of what it waits for as `decision.approval`: wait
        with `wait_approval`, then ask for the same again with `approval=` that id. With `trace` the decision lists its near misses even where it is no deny.
        """
        check_keywords(about)
        try:
            request = self._request(action, resource, about)
            return self._judge(
                self._decider.decide(request, trace=about.get("trace", False)), request.context
            )
        except Exception as error:  # noqa: BLE001 - nothing that goes wrong here may let the action through
            return deny_failure(error, action, resource, about.get("correlation_id", ""))

    async def acheck(self, action: str, *, resource: str, **about: Unpack[Asked]) -> Decision:
        """Return the same as `check` without blocking the event loop."""
        check_keywords(about)
        try:
            request, trace = self._request(action, resource, about), about.get("trace", False)
            if isinstance(self._decider, AsyncDecider):
                return self._judge(await self._decider.adecide(request, trace=trace), request.context)
            import asyncio  # loads slowly, and who awaits has it loaded

            return self._judge(
                await asyncio.to_thread(self._decider.decide, request, trace=trace), request.context
            )
        except Exception as error:  # noqa: BLE001 - as in `check`
            return deny_failure(error, action, resource, about.get("correlation_id", ""))

    def check_plan(
        self,
        steps: Iterable[PlanStep | Mapping[str, Any]],
        *,
        principal: Principal | str | None = None,
        context: Context | None = None,
        session: str = "",
    ) -> list[Decision]:
        """Return one decision a step, each made as if the ones before had happened.

        A step is a `PlanStep`, or a mapping with its keys `action`, `resource` and perhaps `params`. If one of
        them is malformed or the decider fails, all are denied.
        """
        given = list(steps)
        try:
            who, about = self.principal(principal), make_context(context, {"session": session})
            plan = [read_step(step) for step in given]
            requests = [make_request(step.action, step.resource, who, step.params, about) for step in plan]
            return self._judge_all(self._decider.decide_plan(requests), about, len(plan))
        except Exception as error:  # noqa: BLE001 - as in `check`
            return [deny_step(error, step) for step in given]

    def guarded(
        self,
        action: str,
        *,
        resource: str,
        params: Mapping[str, Any] | None = None,
        principal: Principal | str | None = None,
        context: Context | None = None,
        ticket_for: str = "",
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Return a decorator that lets a function, sync or async, run only as it was decided.

        The arguments, bound by signature, are the action's parameters, together with the fixed `params` that
        the function does not take; all must be JSON. `resource` may name them: `mail/{to}`. The function gets
        copies of the decided parameters; the obligations are carried out on what it returns, how it ended is
        recorded, and what the agent sees of it is reported, as `observe` does, in the session of `context`. Where a
        person has to approve, the call waits for them.
        With `ticket_for`, the name of an executor, the function's parameter `ticket` is given the execution ticket; who
        calls the function does not give it.

        Raises:
            ConfigError: when decorating: the template, the action's name or the function cannot be guarded.
            ActionDenied: when called: the action is denied, or cannot be run exactly as decided.
            ApprovalRequired: when called: the action needs an approval that nobody gave while it waited.
            ExecutionError: when called: it ran, and its result cannot be passed on as the obligations want, or
                could not be reported.
        """
        return guard_with(
            self,
            partial(self.observe, session=context.session if context is not None else ""),
            action,
            resource=resource,
            fixed=params or {},
            principal=principal,
            context=context,
            ticket_for=ticket_for,
        )

    def wait_approval(self, decision: Decision, timeout_s: float | None = None) -> ApprovalStatus:
        """Return where the approval stands that `decision` waits for, once people have said or the time is up.

        Without `timeout_s` it waits as long as they have. It uses nothing up: ask for the same again with
        `check(…, approval=decision.approval)`.

        Raises:
            AgentGuardError: nobody was asked, or nobody could say where it stands.
        """
        return Wait(self._decider, decision, self._who(decision), timeout_s).run()

    async def await_approval(self, decision: Decision, timeout_s: float | None = None) -> ApprovalStatus:
        """Return the same without blocking the event loop."""
        return await Wait(self._decider, decision, self._who(decision), timeout_s).arun()

    def hold(self, decision: Decision, again: Callable[[str], Decision]) -> Decision:
        """Return what people make of a decision that waits for them: what `again` answers with their approval.

        It is the same decision where they said nothing in time, or nobody was asked.
        """
        while needs_person(decision) and self.outlast(decision):
            known = decision.approval
            decision = again(known)
            if decision.approval == known:
                break
        return decision

    def outlast(self, decision: Decision) -> bool:
        """Wait for the people that `decision` waits for, as long as this point does; tell whether they have said."""
        if not isinstance(self._decider, ApprovalWaiter):
            return False
        self._say_waiting(decision)
        try:
            status = self.wait_approval(decision, self._approval_wait_s)
        except AgentGuardError:
            return False
        return status.state is not ApprovalState.PENDING

    async def aoutlast(self, decision: Decision) -> bool:
        """Do the same without blocking the event loop."""
        if not isinstance(self._decider, ApprovalWaiter):
            return False
        self._say_waiting(decision)
        try:
            status = await self.await_approval(decision, self._approval_wait_s)
        except AgentGuardError:
            return False
        return status.state is not ApprovalState.PENDING

    def spending(self, agent: str, session: str) -> tuple[Budgets, Spender] | None:
        """Return the budgets that hold an agent's model calls and on whose account these go; None where there are none."""
        del agent, session
        return None

    def ask_spending(
        self, question: SpendQuestion, *, session: str, principal: Principal, audit_id: str
    ) -> SpendAnswer:
        """Return what people say to a question of a budget; a no where the decider asks nobody."""
        if not isinstance(self._decider, SpendAsker):
            return SpendAnswer(note="this guard can ask nobody about budgets; the gateway can")
        return self._decider.ask_spending(
            question, principal=principal, context=Context(session=session), audit_id=audit_id
        )

    async def ahold(
        self, decision: Decision, again: Callable[[str], Coroutine[Any, Any, Decision]]
    ) -> Decision:
        """Return the same without blocking the event loop."""
        while needs_person(decision) and await self.aoutlast(decision):
            known = decision.approval
            decision = await again(known)
            if decision.approval == known:
                break
        return decision

    def report(
        self, decision: Decision, status: Literal["succeeded", "failed", "refused"], detail: str = ""
    ) -> None:
        """Have it recorded what came of a decision; a failure is logged, since what happened has happened."""
        if not decision.audit_id:
            return
        try:
            self._decider.record_outcome(
                Outcome(decision.audit_id, status, detail, decision.principal, decision.approval)
            )
        except Exception as error:  # noqa: BLE001 - a failed record must not look like a failed action
            name = type(error).__name__
            _LOGGER.error("an outcome is not recorded: %s", name)  # noqa: TRY400 - a traceback may quote parameters

    @overload
    def session(
        self, session_id: str | None = None, *, principal: Principal | str | None = None
    ) -> Session: ...

    @overload
    def session(
        self,
        session_id: str | None = None,
        *,
        principal: Principal | str | None = None,
        intent: str,
        tools: Any,
        subject: str | Sequence[str] = (),
    ) -> ToolSession: ...

    def session(
        self,
        session_id: str | None = None,
        *,
        principal: Principal | str | None = None,
        intent: str | None = None,
        tools: Any = None,
        subject: str | Sequence[str] = (),
    ) -> Session | ToolSession:
        """Return a session: checks that belong together, and reports of what the agent saw in between.

        With `intent`, the user's words, and `tools`, their schemas as any framework writes them, calls of these tools
        are decided by where their targets come from, and nothing need be configured. `subject` are names of the user:
        an id, an address.

        Raises:
            AgentGuardError: a session with an intent cannot be opened; says why.
        """
        if intent is None:
            if tools is not None or subject:
                raise RequestError("`tools` and `subject` go with `intent`", code="session_invalid")
            return Session(self, session_id, principal if principal is not None else self._principal)
        if not isinstance(self._decider, SessionOpener):
            raise RequestError("this decider opens no sessions with an intent", code="session_invalid")
        who = self.principal(principal)
        names = (subject,) if isinstance(subject, str) else tuple(subject)
        opened = self._decider.open_session(SessionOpening(who, intent, tools, session_id or "", names))
        return ToolSession(self, opened, who)

    def observe(
        self,
        call: Decision,
        result: Any = None,
        error: BaseException | str | None = None,
        *,
        session: str = "",
    ) -> None:
        """Report what the agent saw of `call`; without `session` it counts where the principal names none.

        Raises:
            AgentGuardError: it could not be reported, so nobody knows what the agent has seen.
        """
        self.observe_call(
            call.action, result, error, resource=call.resource, session=session, principal=self._who(call)
        )

    def observe_call(
        self,
        action: str,
        result: Any = None,
        error: BaseException | str | None = None,
        *,
        resource: str,
        session: str,
        principal: Principal,
        params: dict[str, Any] | None = None,
    ) -> None:
        """Report what came back of a call that need not have been decided here; `params` are its parameters.

        Raises:
            AgentGuardError: as `observe`.
        """
        text = "" if error is None else shown(error) or type(error).__name__
        copies = None if params is None else snapshot(params)
        self._decider.observe(
            Observation(
                principal, action, resource, session, bounded(result), text[:MAX_RESULT_BYTES], copies
            )
        )

    def regrade(self, regrade: Regrade) -> Decision:
        """Have a change of a label decided, and carried out if it is allowed.

        Raises:
            RequestError: there is nothing to change, or the decider keeps no labels.
        """
        return self._judge(self._labels().regrade(regrade), Context())

    def vouch(self, words: Vouched) -> None:
        """Have words counted as trusted that no model wrote.

        Raises:
            AgentGuardError: they do not count.
        """
        self._labels().vouch(words)

    def principal(self, named: Principal | str | None) -> Principal:
        """Return who is meant: an id is looked up, None is whoever acts here.

        Raises:
            RequestError: it is neither an id nor a `Principal`.
        """
        return find_principal(named, self._principal, self._find_principal)

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

    def _request(self, action: str, resource: str, about: Asked) -> Request:
        context = make_context(about.get("context"), about)
        if self._run:
            context = claim_run(context, self._run, os.getpid())
        who = self.principal(about.get("principal"))
        ticket_for, approval = about.get("ticket_for", ""), about.get("approval", "")
        return make_request(action, resource, who, about.get("params"), context, ticket_for, approval)

    def _say_waiting(self, decision: Decision) -> None:
        # Whoever looks at a program that stands still is to know why, without any logging set up.
        if self._approval_wait_s != 0:
            _LOGGER.warning(
                "%s waits for a person: agentguard approvals show %s", decision.action, decision.approval
            )

    def _who(self, decision: Decision) -> Principal:
        return self._find_principal(decision.principal) if decision.principal else TOKEN_PRINCIPAL

    def _labels(self) -> LabelKeeper:
        if not isinstance(self._decider, LabelKeeper):
            raise RequestError("this decider keeps no labels", code="flow_invalid")
        return self._decider

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

"""One guarded function: decide on its arguments, run it with the decided ones, keep the obligations."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, Unpack

from msgspec.structs import replace

from agentguard.clients._binding import Binding
from agentguard.clients._deny import refuse
from agentguard.clients._reply import is_same_action
from agentguard.clients._sandbox import confined
from agentguard.clients._template import ResourceTemplate
from agentguard.core import (
    ActionDenied,
    AgentGuardError,
    ApprovalRequired,
    ConfigError,
    Decision,
    Effect,
    ExecutionError,
    RequestError,
    normalise_action,
)
from agentguard.enforcement import carry_out, log_decision

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from agentguard.clients._asking import About
    from agentguard.clients._sandbox import Sandbox
    from agentguard.core import Context, Principal

F = TypeVar("F", bound=Callable[..., Any])


class Asker(Protocol):
    """Whom a guarded function asks: an enforcement point, or one session of it."""

    @property
    def sandboxes(self) -> Mapping[str, Sandbox]:
        """What the host program can confine a call with, by name."""

    def check(self, action: str, *, resource: str, **about: Unpack[About]) -> Decision:
        """Return the decision."""

    async def acheck(self, action: str, *, resource: str, **about: Unpack[About]) -> Decision:
        """Return the same without blocking the event loop."""

    def hold(self, decision: Decision, again: Callable[[str], Decision]) -> Decision:
        """Return what people make of a decision that waits for them."""

    async def ahold(
        self, decision: Decision, again: Callable[[str], Coroutine[Any, Any, Decision]]
    ) -> Decision:
        """Return the same without blocking the event loop."""

    def report(
        self, decision: Decision, status: Literal["succeeded", "failed", "refused"], detail: str = ""
    ) -> None:
        """Have it recorded what came of a decision."""


Observe = Callable[[Decision, Any, BaseException | None], None]


def guard_with(asker: Asker, observe: Observe, action: str, **declared: Any) -> Callable[[F], F]:
    """Return a decorator that guards a function as `declared`; see `Guarded`."""

    def decorate(function: F) -> F:
        wrapper: F = Guarded(asker, observe, function, action, **declared).wrapper()
        return wrapper

    return decorate


class Guarded:
    """A function and what it is declared to do; `observe` takes what the agent sees of each call.

    Raises:
        ConfigError: the function or the declaration cannot be used.
    """

    def __init__(
        self,
        asker: Asker,
        observe: Observe,
        function: Callable[..., Any],
        action: str,
        *,
        resource: str,
        fixed: Mapping[str, Any],
        principal: Principal | str | None,
        context: Context | None,
        ticket_for: str = "",
    ) -> None:
        try:
            self._action = normalise_action(action)
        except RequestError as error:
            raise ConfigError(f"action {action!a}: {error.message}") from None
        if _is_generator(function):
            raise ConfigError(
                "only a function that returns its result can be guarded, no generator",
                hint="guard the function that does one step",
            )
        if type(ticket_for) is not str:
            raise ConfigError("`ticket_for` is an executor's name")
        self._asker = asker
        self._observe = observe
        self._function = function
        self._is_async = _is_async(function)
        self._binding = Binding(function, fixed=fixed, takes_ticket=bool(ticket_for))
        self._resource = ResourceTemplate(resource, names=self._binding.names)
        self._template = resource
        self._about: About = {"principal": principal, "context": context}
        self._takes_ticket = bool(ticket_for)
        if ticket_for:
            self._about["ticket_for"] = ticket_for

    def wrapper(self) -> Any:
        """Return the function to use in place of the guarded one."""
        if self._is_async:

            @functools.wraps(self._function)
            async def guarded_async(*args: Any, **kwargs: Any) -> Any:
                return await self._arun(args, kwargs)

            return self._signed(guarded_async)

        @functools.wraps(self._function)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            return self._run(args, kwargs)

        return self._signed(guarded)

    def _signed(self, wrapper: Any) -> Any:
        if self._takes_ticket:
            # What reads signatures, to tell a model how to call this, is not to offer the ticket.
            wrapper.__signature__ = self._binding.signature
        return wrapper

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        host, params, resource = self._ask(args, kwargs)

        def ask(approval: str) -> Decision:
            return self._asker.check(self._action, resource=resource, **self._asked(params, approval))

        decision = self._asker.hold(ask(""), ask)
        try:
            call = self._final_call(decision, resource, host)
        except ActionDenied as denied:
            self._report_refusal(decision, denied)
            raise
        try:
            result = carry_out(decision, call())
        except BaseException as error:
            self._report_failure(decision, error)
            raise
        self._report_success(decision, result)
        return result

    async def _arun(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        import asyncio  # loads slowly, and who awaits has it loaded

        host, params, resource = self._ask(args, kwargs)

        async def ask(approval: str) -> Decision:
            return await self._asker.acheck(self._action, resource=resource, **self._asked(params, approval))

        decision = await self._asker.ahold(await ask(""), ask)
        try:
            call = self._final_call(decision, resource, host)
        except ActionDenied as denied:
            await asyncio.to_thread(self._report_refusal, decision, denied)
            raise
        try:
            result = carry_out(decision, await call())
        except (Exception, asyncio.CancelledError) as error:
            await asyncio.to_thread(self._report_failure, decision, error)
            raise
        except BaseException as error:
            # The loop is ending, or this coroutine is: there is nothing left to wait with.
            self._report_failure(decision, error)
            raise
        await asyncio.to_thread(self._report_success, decision, result)
        return result

    def _asked(self, params: dict[str, Any], approval: str) -> About:
        about = self._about.copy()
        about["params"] = params
        if approval:
            about["approval"] = approval
        return about

    def _ask(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any], str]:
        """Return the host's object, the parameters and the resource that a call is about."""
        try:
            host, params = self._binding.bind(args, kwargs)
            return host, params, self._resource.render(params)
        except RequestError as error:
            decision = refuse(error.message, action=self._action, resource=self._template)
            log_decision(decision)
            raise ActionDenied(decision) from None

    def _final_call(self, decision: Decision, resource: str, host: Any) -> Callable[[], Any]:
        """Return what to run, within the sandboxes that the decision asks for.

        Raises:
            ActionDenied: the decision lets nothing through, or not this function on this resource, or not here.
        """
        if decision.effect is Effect.REQUIRE_APPROVAL:
            raise ApprovalRequired(decision)
        if decision.effect is Effect.DENY:
            raise ActionDenied(decision)
        if not is_same_action(self._action, decision.action):
            raise _refused(
                decision, f"the decision is to run `{decision.action}`, which this function does not do"
            )
        if self._takes_ticket and not decision.ticket:
            raise _refused(decision, "the decision carries no ticket, and the executor needs one")
        try:
            call = self._binding.call_with(host, decision.params, decision.ticket)
            final = self._resource.render(decision.params)
        except RequestError as error:
            raise _refused(decision, error.message) from None
        if final != resource or decision.resource != resource:
            raise _refused(decision, "the decision changes what the action is done to")
        run = functools.partial(self._function, *call.args, **call.kwargs)
        try:
            return confined(decision, run, self._asker.sandboxes, is_async=self._is_async)
        except RequestError as error:
            raise _refused(decision, error.message) from None

    def _report_success(self, decision: Decision, result: Any) -> None:
        self._asker.report(decision, "succeeded")
        self._report_seen(decision, result, None)

    def _report_failure(self, decision: Decision, error: BaseException) -> None:
        self._asker.report(decision, "failed", _detail(error))
        if isinstance(error, Exception):
            self._report_seen(decision, None, error)

    def _report_seen(self, decision: Decision, result: Any, error: Exception | None) -> None:
        """Report what the agent is about to see.

        Raises:
            ExecutionError: it could not be reported, so the agent must not see it.
        """
        try:
            self._observe(decision, result, error)
        except AgentGuardError:
            raise ExecutionError(
                "the action ran, and what it gave back could not be reported, so it is not passed on",
                code="observation_lost",
            ) from None

    def _report_refusal(self, decision: Decision, denied: ActionDenied) -> None:
        """Record that what was let through is not run; a denial needs no outcome."""
        if denied.decision is not decision:
            log_decision(denied.decision)
            self._asker.report(decision, "refused", denied.decision.reason)


def _refused(decision: Decision, reason: str) -> ActionDenied:
    return ActionDenied(replace(decision, effect=Effect.DENY, reason=reason, stage="client"))


def _detail(error: BaseException) -> str:
    """Return the error's class; its text may hold a secret."""
    return error.code if isinstance(error, ExecutionError) else type(error).__name__


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - asks what kind of function it is, not whether
    )


def _is_generator(function: Callable[..., Any]) -> bool:
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)

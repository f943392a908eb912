"""A decider across a socket. Whatever goes wrong on the way is a deny that names the cause."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from agentguard.clients._breaker import Breaker
from agentguard.clients._channel import Channel, ChannelError, late
from agentguard.clients._deny import deny
from agentguard.clients._loop import LoopThread
from agentguard.clients._reply import (
    ReplyError,
    TicketRefusedError,
    read_check,
    read_consumed,
    read_nothing,
    read_plan,
    read_regrade,
    read_session,
    read_status,
)
from agentguard.core import (
    ApprovalError,
    AuditError,
    CheckCall,
    ConfigError,
    Context,
    ObserveCall,
    PlanCall,
    PlanStep,
    RegradeCall,
    RequestError,
    SessionCall,
    TicketError,
    VouchCall,
    WaitCall,
    snapshot,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from agentguard.clients._channel import Answer
    from agentguard.core import (
        ApprovalStatus,
        Decision,
        Observation,
        OpenedSession,
        Outcome,
        Principal,
        Regrade,
        Request,
        SessionOpening,
        Ticket,
        TicketCall,
        Vouched,
    )

T = TypeVar("T")

# What the caller's thread waits longer than the deadline, for the loop's thread to say what went wrong.
GRACE_S = 0.25
_LOGGER = logging.getLogger("agentguard.pep")
_CLOSED = "the connection to the sidecar was closed"
_NO_CONTEXT = Context()


class RemoteDecider:
    """Asks the sidecar at `url`, showing `token`. Implements `core.Decider` and `core.LabelKeeper`.

    A call has `deadline_s` seconds for everything. After `breaker_failures` calls in a row that got no proper
    answer, calls are denied at once for `breaker_open_s` seconds; then one at a time tries again. `clock`
    counts seconds for that. A request's principal is named to the sidecar only if it has an id: the token's
    counts, unless it has `act_as`. Safe to use from many threads, from any event loop, and after a fork.

    Raises:
        ConfigError: the URL is no plain http or https URL, the token cannot stand in a header, or a number is
            not above zero.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        deadline_s: float = 2.0,
        breaker_failures: int = 5,
        breaker_open_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not (deadline_s > 0 and breaker_failures > 0 and breaker_open_s > 0):
            raise ConfigError("deadline, breaker failures and breaker seconds are numbers above zero")
        self._deadline_s = deadline_s
        self._open_s = breaker_open_s
        self._breaker = Breaker(failures=breaker_failures, open_s=breaker_open_s, clock=clock)
        channel = Channel(_base(url), _header(token), deadline_s=deadline_s)
        breaker = self._breaker

        def on_fork() -> object:
            breaker.reset()
            return channel.abandon()

        self._channel = channel
        self._loop = LoopThread(on_stop=channel.close, on_fork=on_fork)
        self._finalizer = weakref.finalize(self, LoopThread.stop, self._loop)

    def decide(self, request: Request, *, trace: bool = False) -> Decision:
        """Return the sidecar's decision, or a deny of stage `client`."""
        return self._wait(self._decide(request, trace=trace), lambda reason: deny(request, reason))

    async def adecide(self, request: Request, *, trace: bool = False) -> Decision:
        """Return the same without blocking the running event loop."""
        try:
            future = self._loop.submit(self._decide(request, trace=trace))
        except RuntimeError:
            return deny(request, _CLOSED)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self._deadline_s + GRACE_S)
        except TimeoutError:
            return deny(request, late(self._deadline_s))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Nobody cancelled us: `close` cancelled the call.
            return deny(request, _CLOSED)

    def decide_plan(self, requests: Sequence[Request]) -> list[Decision]:
        """Return the sidecar's decisions, or denies. All steps have one principal and one context."""
        steps = list(requests)
        if not steps:
            return []
        return self._wait(self._plan(steps), lambda reason: [deny(step, reason) for step in steps])

    def record_outcome(self, outcome: Outcome) -> None:
        """Have the sidecar record it.

        Raises:
            AuditError: it did not say that it has.
        """
        problem = self._wait(self._record(outcome), str)
        if problem:
            raise AuditError(f"the outcome is not recorded: {problem}")

    def observe(self, observation: Observation) -> None:
        """Have the sidecar take it in, for the principal whose token it is.

        Raises:
            RequestError: it did not say that it has.
        """
        problem = self._wait(self._observe(observation), str)
        if problem:
            raise RequestError(f"the observation is not taken in: {problem}", code="observation_lost")

    def regrade(self, regrade: Regrade) -> Decision:
        """Have the sidecar decide on it and carry it out.

        Raises:
            RequestError: it answered no decision; `code` is its own, or `regrade_lost` where nobody knows
                whether it was done.
        """
        answer = self._wait(self._regrade(regrade), _Failure)
        if isinstance(answer, _Failure):
            raise answer.error("the label is not changed", code="regrade_lost")
        return answer

    def vouch(self, words: Vouched) -> None:
        """Have the sidecar take in words that no model wrote.

        Raises:
            RequestError: it did not say that it has; `code` is its own, or `vouch_lost`.
        """
        failure = self._wait(self._vouch(words), _Failure)
        if failure is not None:
            raise failure.error("the words do not count", code="vouch_lost")

    def consume_ticket(self, call: TicketCall, digest: str) -> Ticket:
        """Have the sidecar use a ticket up; `digest` is the canonical hash of the call's parameters.

        Raises:
            TicketError: it did not say that it has; nothing may be done.
        """
        found = self._wait(self._consume(call, digest), _no_ticket)
        if isinstance(found, TicketError):
            raise found
        return found

    def open_session(self, opening: SessionOpening) -> OpenedSession:
        """Have the sidecar open a session with the user's words.

        Raises:
            RequestError: it did not say that it has; `code` is its own, or `session_lost`.
        """
        answer = self._wait(self._open(opening), _Failure)
        if isinstance(answer, _Failure):
            raise answer.error("the session is not opened", code="session_lost")
        return answer

    def wait_approval(self, approval_id: str, *, principal: Principal, timeout_s: float) -> ApprovalStatus:
        """Return where an approval stands, once it is decided or the time is up.

        Raises:
            ApprovalError: the sidecar knows no such approval.
            RequestError: it did not say; `code` is its own, or `approval_lost`.
        """
        waiting = self._wait(self._held(approval_id, principal, timeout_s), _Failure, held_s=timeout_s)
        return _status(waiting)

    async def await_approval(
        self, approval_id: str, *, principal: Principal, timeout_s: float
    ) -> ApprovalStatus:
        """Return the same without blocking the running event loop."""
        try:
            future = self._loop.submit(self._held(approval_id, principal, timeout_s))
        except RuntimeError:
            return _status(_Failure(_CLOSED))
        # The loop's own deadline ends it.
        return _status(await asyncio.wrap_future(future))

    def close(self) -> None:
        """Close the connections; a later `decide` denies. Idempotent."""
        self._finalizer()

    def _wait(
        self, coroutine: Coroutine[Any, Any, T], otherwise: Callable[[str], T], *, held_s: float = 0.0
    ) -> T:
        """Run it on the loop; the loop's own deadline answers first unless its thread is starved."""
        from concurrent.futures import CancelledError

        try:
            future = self._loop.submit(coroutine)
        except RuntimeError:
            return otherwise(_CLOSED)
        try:
            return future.result(self._deadline_s + held_s + GRACE_S)
        except TimeoutError:
            return otherwise(late(self._deadline_s + held_s))
        except CancelledError:
            return otherwise(_CLOSED)
        finally:
            future.cancel()

    async def _decide(self, request: Request, *, trace: bool) -> Decision:
        try:
            call = CheckCall(
                request_id=secrets.token_hex(16),
                action=request.action,
                resource=request.resource,
                params=snapshot(request.params),
                context=_context(request),
                principal=request.principal.id or None,
                trace=trace,
                ticket_for=request.ticket_for,
                approval=request.approval,
                observed=request.observed,
            )
            return await self._ask("/v1/check", call, lambda answer: read_check(call, answer))
        except Exception as error:  # noqa: BLE001 - nothing that goes wrong here may let the action through
            return deny(request, _reason(error))

    async def _plan(self, requests: list[Request]) -> list[Decision]:
        try:
            call = _plan_call(requests)
            return await self._ask("/v1/check/plan", call, lambda answer: read_plan(call, answer))
        except Exception as error:  # noqa: BLE001 - as above
            return [deny(each, _reason(error)) for each in requests]

    async def _record(self, outcome: Outcome) -> str:
        try:
            await self._ask("/v1/outcome", outcome, read_nothing)
        except Exception as error:  # noqa: BLE001 - becomes the AuditError that the port promises
            return _reason(error)
        return ""

    async def _observe(self, seen: Observation) -> str:
        try:
            call = ObserveCall(
                seen.action,
                seen.resource,
                seen.session,
                seen.result,
                seen.error,
                seen.principal.id or None,
                seen.params,
            )
            await self._ask("/v1/observe", call, read_nothing)
        except Exception as error:  # noqa: BLE001 - becomes the RequestError that the port promises
            return _reason(error)
        return ""

    async def _regrade(self, regrade: Regrade) -> Decision | _Failure:
        try:
            wish = msgspec.structs.asdict(regrade) | {"by": regrade.by.id or None}
            call = RegradeCall(**wish, request_id=secrets.token_hex(16))
            return await self._ask(
                "/v1/regrade", call, lambda answer: read_regrade(call, regrade.kind, answer)
            )
        except Exception as error:  # noqa: BLE001 - becomes the RequestError that the port promises
            return _Failure.of(error)

    async def _vouch(self, words: Vouched) -> _Failure | None:
        try:
            by = words.by.id if words.by is not None else None
            call = VouchCall(
                text=words.text,
                session=words.session,
                source=words.source,
                principal=words.principal or None,
                by=by,
            )
            await self._ask("/v1/vouch", call, read_nothing)
        except Exception as error:  # noqa: BLE001 - as above
            return _Failure.of(error)
        return None

    async def _consume(self, call: TicketCall, digest: str) -> Ticket | TicketError:
        try:
            return await self._ask(
                "/v1/tickets/consume", call, lambda answer: read_consumed(call, digest, answer)
            )
        except TicketRefusedError as error:
            return error.error
        except Exception as error:  # noqa: BLE001 - becomes the TicketError that the method promises
            return _no_ticket(_reason(error))

    async def _open(self, opening: SessionOpening) -> OpenedSession | _Failure:
        try:
            call = SessionCall(
                intent=opening.intent,
                tools=opening.tools,
                session=opening.session,
                subject=opening.subject,
                principal=opening.principal.id or None,
                by=opening.by.id if opening.by is not None else None,
            )
            return await self._ask("/v1/sessions", call, lambda answer: read_session(call, answer))
        except TypeError:
            hint = "tools for a sidecar are JSON"
            return _Failure(f"the tools are no JSON; {hint}", "session_invalid")
        except Exception as error:  # noqa: BLE001 - as above
            return _Failure.of(error)

    async def _held(
        self, approval_id: str, principal: Principal, timeout_s: float
    ) -> ApprovalStatus | _Failure:
        try:
            call = WaitCall(approval=approval_id, timeout_s=timeout_s, principal=principal.id or None)
            return await self._ask(
                "/v1/approvals/wait", call, lambda answer: read_status(call, answer), held_s=timeout_s
            )
        except Exception as error:  # noqa: BLE001 - becomes the error that the method promises
            return _Failure.of(error)

    async def _ask(
        self, path: str, call: msgspec.Struct, read: Callable[[Answer], T], *, held_s: float = 0.0
    ) -> T:
        """Return what `read` makes of the answer, telling the breaker how it went."""
        body = msgspec.json.encode(call)
        if not self._breaker.admit():
            raise ChannelError(
                f"circuit breaker is open: the sidecar failed too often, the next try is within {self._open_s:g} s"
            )
        try:
            result = read(await self._channel.post(path, body, held_s=held_s))
        except ReplyError as error:
            (self._breaker.succeeded if error.is_alive else self._breaker.failed)()
            raise
        except Exception:
            self._breaker.failed()
            raise
        except BaseException:
            self._breaker.abandoned()
            raise
        self._breaker.succeeded()
        return result


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why there is no proper answer; `code` is the sidecar's own."""

    reason: str
    code: str | None = None

    @classmethod
    def of(cls, error: Exception) -> _Failure:
        return cls(_reason(error), error.code if isinstance(error, ReplyError) else None)

    def error(self, what: str, *, code: str) -> RequestError:
        """Return the error that says it; `code` where there is none of the sidecar's."""
        return RequestError(f"{what}: {self.reason}", code=self.code or code)


def _status(answer: ApprovalStatus | _Failure) -> ApprovalStatus:
    if not isinstance(answer, _Failure):
        return answer
    if answer.code == "approval_unknown":
        raise ApprovalError(answer.reason, code=answer.code)
    raise answer.error("nobody says whether it is approved", code="approval_lost")


def _plan_call(requests: list[Request]) -> PlanCall:
    first = requests[0]
    if any(each.principal != first.principal or each.context != first.context for each in requests):
        raise RequestError("a plan for a sidecar has one principal and one context")
    return PlanCall(
        request_id=secrets.token_hex(16),
        steps=tuple(PlanStep(each.action, each.resource, snapshot(each.params)) for each in requests),
        context=_context(first),
        principal=first.principal.id or None,
    )


def _context(request: Request) -> Context | None:
    return None if request.context == _NO_CONTEXT else request.context


def _reason(error: Exception) -> str:
    if isinstance(error, ChannelError | ReplyError):
        return str(error)
    if isinstance(error, RequestError):
        return error.message
    # Its text may quote a parameter.
    _LOGGER.error("asking the sidecar failed: %s", type(error).__name__)
    return f"asking the sidecar failed: {type(error).__name__}"


def _no_ticket(reason: str) -> TicketError:
    return TicketError(
        f"the ticket is not known to be used up: {reason}",
        code="ticket_store_unavailable",
        hint="do nothing, and ask for a new decision",
    )


def _base(url: str) -> str:
    hint = "write it as http://127.0.0.1:8787"
    try:
        parts = urlsplit(url)
        is_plain = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_plain = False
        parts = urlsplit("")
    if not is_plain or not url.isprintable() or " " in url:
        raise ConfigError("the sidecar's address is no http or https URL", hint=hint)
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ConfigError("the sidecar's address has a user, a query or a fragment", hint=hint)
    return url.rstrip("/")


def _header(token: str) -> str:
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError("the token is empty or has a character that no token has", code="token_malformed")
    return token

"""The hot path: `/v1/check`, `/v1/check/plan` and `/v1/outcome`, for agent tokens."""

from __future__ import annotations

import asyncio
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import msgspec

from agentguard.core import (
    AuditError,
    CheckCall,
    CheckReply,
    Context,
    IdentityError,
    Observation,
    ObserveCall,
    Outcome,
    PlanCall,
    PlanReply,
    Request,
)
from agentguard.server._http import HttpError, bearer, parse_json, unauthorized

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentguard.core import Decision, Principal
    from agentguard.identity import VerifiedToken
    from agentguard.server._agents import AgentsSeen
    from agentguard.server._http import Headers
    from agentguard.server._metrics import Metrics
    from agentguard.server._services import Services

T = TypeVar("T")

MAX_PLAN_STEPS = 100
# Deciding with a record on disk waits; so many may wait together and share one fdatasync.
_THREADS = 64

_check_decoder = msgspec.json.Decoder(CheckCall)
_plan_decoder = msgspec.json.Decoder(PlanCall)
_observe_decoder = msgspec.json.Decoder(ObserveCall)
_outcome_decoder = msgspec.json.Decoder(Outcome)
_encoder = msgspec.json.Encoder()
_PLAIN = Context()
_RUN = re.compile(rb"([0-9A-Za-z-]{1,64})(?:/([0-9]{1,10}))?")


class CheckRoutes:
    """Answers agents. Each method takes the headers and the body, and returns the answer's body."""

    def __init__(self, services: Services, metrics: Metrics, agents: AgentsSeen) -> None:
        self._services = services
        self._decider = services.decider
        self._metrics = metrics
        self._agents = agents
        self._pool = ThreadPoolExecutor(_THREADS, "agentguard-decide") if services.blocking else None

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    async def check(self, headers: Headers, body: bytes) -> bytes:
        """Decide one request."""
        token = self.authenticate(headers)
        call = parse_json(body, _check_decoder)
        request = Request(
            principal=self.principal(token, call.principal),
            action=call.action,
            resource=call.resource,
            params=call.params,
            context=_context(token, call.context, headers),
            ticket_for=call.ticket_for,
            approval=call.approval,
            observed=_observed(token, asked=call.observed),
        )
        if self._pool is None:
            decision, took_s = self._timed_decide(request, trace=call.trace)
        else:
            decision, took_s = await self.in_thread(lambda: self._timed_decide(request, trace=call.trace))
        self._metrics.took(took_s)
        self.note(decision, observed=call.observed)
        return _encoder.encode(CheckReply(call.request_id, decision))

    async def plan(self, headers: Headers, body: bytes) -> bytes:
        """Decide a whole plan."""
        token = self.authenticate(headers)
        call = parse_json(body, _plan_decoder)
        if len(call.steps) > MAX_PLAN_STEPS:
            raise HttpError(400, "plan_too_long", f"a plan has at most {MAX_PLAN_STEPS} steps")
        principal, context = self.principal(token, call.principal), _context(token, call.context, headers)
        requests = [
            Request(principal, step.action, step.resource, step.params, context) for step in call.steps
        ]
        decisions = await self.in_thread(lambda: self._decider.decide_plan(requests))
        for decision in decisions:
            self.note(decision)
        return _encoder.encode(PlanReply(call.request_id, tuple(decisions)))

    async def outcome(self, headers: Headers, body: bytes) -> bytes:
        """Record what came of an action."""
        token = self.authenticate(headers)
        outcome = parse_json(body, _outcome_decoder)
        # An agent may say what came of its own actions, and only in its own name.
        outcome = msgspec.structs.replace(outcome, principal=token.principal.id)
        try:
            await self.in_thread(lambda: self._decider.record_outcome(outcome))
        except AuditError as error:
            raise HttpError(503, error.code, error.message, hint=error.hint) from None
        return b""

    async def observe(self, headers: Headers, body: bytes) -> bytes:
        """Take in what an action gave back."""
        token = self.authenticate(headers)
        call = parse_json(body, _observe_decoder)
        seen = Observation(
            self.principal(token, call.principal),
            call.action,
            call.resource,
            call.session,
            call.result,
            call.error,
            call.params,
        )
        await self.in_thread(lambda: self._decider.observe(seen))
        return b""

    def authenticate(self, headers: Headers) -> VerifiedToken:
        """Return what the bearer token proves.

        Raises:
            HttpError: 401, with the code of what is wrong with the token.
        """
        token = bearer(headers)
        if not token:
            raise unauthorized(
                "token_missing", "there is no bearer token", hint="send `Authorization: Bearer TOKEN`"
            )
        try:
            return self._services.verify_token(token)
        except IdentityError as error:
            hint = error.hint
            if self._services.admin_matches(token):
                hint = "the admin token names no principal; issue one with `agentguard token issue`"
            raise unauthorized(error.code, error.message, hint=hint) from None

    def principal(self, token: VerifiedToken, named: str | None) -> Principal:
        """Return the token's principal, or the one that its bearer names and may act as.

        Raises:
            HttpError: 403, it may not, or the inventory does not know that one.
        """
        if named is None or named == token.principal.id:
            return token.principal
        if not token.act_as:
            raise HttpError(
                403,
                "principal_not_vouched",
                "the body names another principal than the token",
                hint="leave `principal` out, or use a token that may act as others",
            )
        principal = self._services.principal_named(named)
        if principal is None:
            raise HttpError(403, "principal_unknown", "the inventory has no such principal")
        return principal

    def _timed_decide(self, request: Request, *, trace: bool) -> tuple[Decision, float]:
        start = time.perf_counter()
        decision = self._decider.decide(request, trace=trace)
        return decision, time.perf_counter() - start

    def note(self, decision: Decision, *, observed: bool = False) -> None:
        """Count a decision in the metrics and in the list of agents."""
        self._metrics.decided(decision, observed=observed)
        self._agents.decided(decision)

    async def in_thread(self, call: Callable[[], T]) -> T:
        """Return what a call that may wait returns."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)


def _context(token: VerifiedToken, context: Context | None, headers: Headers) -> Context:
    """Return the context if the token may vouch for it, with the run that the agent says it is part of.

    A rule can be satisfied by a ticket or an attribute, so only an enforcement point that is trusted with
    principals is trusted with them. The time is the server's own, whoever asks.
    """
    if context is None:
        return _claimed(_PLAIN, headers)
    if context.time is not None:
        raise HttpError(403, "context_not_vouched", "`context.time` is the server's to say")
    if not token.act_as:
        claimed = [name for name in ("ticket", "provenance", "attributes") if getattr(context, name)]
        if claimed:
            raise HttpError(
                403,
                "context_not_vouched",
                f"this token may not vouch for {_listed(claimed)}",
                hint="an agent may set `session`, `correlation_id`, `task` and `reason`",
            )
    return _claimed(context, headers)


def _claimed(context: Context, headers: Headers) -> Context:
    found = _RUN.fullmatch(headers.run) if headers.run else None
    if found is None:
        return context
    run, pid = found[1].decode(), int(found[2] or 0)
    attributes = {**context.attributes, "claimed_run": run, "claimed_pid": pid}
    return msgspec.structs.replace(context, attributes=attributes)


def _observed(token: VerifiedToken, *, asked: bool) -> bool:
    """Return whether the request counts as observed; only who may act as others can have seen what they did."""
    if asked and not token.act_as:
        raise HttpError(
            403,
            "context_not_vouched",
            "this token may not say that something was `observed`",
            hint="leave `observed` out: an agent's own requests count",
        )
    return asked


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`context.{name}`" for name in names)

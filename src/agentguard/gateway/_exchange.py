"""One request of an agent: decided, reserved, sent, and sent again where that is safe."""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import Context, Effect, Request, Spender
from agentguard.gateway._asking import Desk, Ended
from agentguard.gateway._dial import DialError, Dialler
from agentguard.gateway._media import quote_media
from agentguard.gateway._quote import is_charged, quote_call
from agentguard.gateway._refusal import RefusalError, refuse_decision, refuse_spending
from agentguard.llm import API, HOSTED_TOOL, MEDIA, MODELS, RewriteError, Wire, resource_of, rewrite

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.core import Decision, Principal
    from agentguard.gateway._door import Asked, Door
    from agentguard.gateway._health import Health
    from agentguard.gateway._later import Part
    from agentguard.gateway._reading import Reading
    from agentguard.gateway._upstream import Upstream
    from agentguard.gateway._wire import Answer
    from agentguard.spend import Admission, Report

_RETRIED = frozenset((429, 500, 502, 503, 504, 529))
_SERVER_ERRORS = 500
_FIRST_WAIT_S = 0.25
_LONGEST_WAIT_S = 4.0
# Names that grow have neighbours in the ledger's index, so that a step writes few of its pages.
_attempts = (f"{time.time_ns():016x}{number:08x}{secrets.token_hex(8)}" for number in itertools.count())


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the principal of the token, in which session, and on whose account.

    `approval` is the id of an approval that was asked for earlier, for the same call.
    """

    principal: Principal
    context: Context
    spender: Spender
    approval: str = ""


@dataclass(frozen=True, slots=True)
class Parts:
    """What all exchanges share."""

    desk: Desk
    dialler: Dialler
    health: Health
    max_retries: int
    sleep: Callable[[float], Any] = asyncio.sleep


class Exchange:
    """A request on its way to an upstream; after `open`, `upstream`, `decision` and `response` are the ones in use."""

    upstream: Upstream
    decision: Decision
    response: Answer

    def __init__(
        self,
        parts: Parts,
        caller: Caller,
        door: Door,
        asked: Asked,
        reading: Reading,
        *,
        query: str,
        later: Part | None = None,
    ) -> None:
        self._parts = parts
        self._caller = caller
        self._door = door
        self._asked = asked
        self._reading = reading
        self._call = reading.call
        self._later = later
        self._content_type = ""
        self._query = query
        self._is_open = False
        self._decisions: dict[str, Decision] = {}
        self.admission: Admission | None = None
        self.changed: list[str] = []
        self.adds_usage = False

    @property
    def desk(self) -> Desk:
        """Who is asked about it."""
        return self._parts.desk

    async def open(self) -> None:
        """Send the request to one upstream after the other until one answers.

        Raises:
            RefusalError: nobody may be asked, or nobody answered.
        """
        for number, upstream in enumerate(self._plan()):
            body = await self._prepare(upstream)
            is_last = number == self._last
            self._parts.health.begins(upstream.name)
            try:
                self.response = await self._parts.dialler.open(
                    upstream, self._door, self._asked, self._query, body, content_type=self._content_type
                )
            except DialError as error:
                await self._failed(upstream, error, is_last=is_last)
                await self._wait(number, None)
                continue
            wait_s = _asked_wait(self.response)
            is_near = number + 1 < self._count or wait_s is None or wait_s <= _LONGEST_WAIT_S
            if not self._is_retried(upstream, self.response) or is_last or not is_near:
                return
            await self.close(
                succeeded=False, is_free=True, detail=f"status {self.response.status}, sent again"
            )
            self.response.close()
            await self._wait(number, wait_s)

    async def close(
        self,
        *,
        succeeded: bool,
        report: Report | None = None,
        is_estimated: bool = False,
        is_free: bool = False,
        detail: str = "",
    ) -> None:
        """Book what the present attempt cost, and record what came of it. Only the first time counts."""
        over = self.end(
            succeeded=succeeded, report=report, is_estimated=is_estimated, is_free=is_free, detail=detail
        )
        if over is not None:
            # INVARIANT: what is begun here is done, though nobody may wait for it any more.
            await asyncio.shield(over)

    def end(
        self,
        *,
        succeeded: bool,
        report: Report | None = None,
        is_estimated: bool = False,
        is_free: bool = False,
        detail: str = "",
    ) -> asyncio.Future[None] | None:
        """Begin what `close` does; return when it is over, None if it is."""
        if not self._is_open:
            return None
        self._is_open = False
        about = [
            each for each in (detail, self.admission.reason if self.admission is not None else "") if each
        ]
        ended = Ended(
            self.decision,
            self.admission,
            succeeded=succeeded,
            detail="; ".join(about),
            report=report,
            is_estimated=is_estimated,
            is_free=is_free,
        )
        return self._parts.desk.close_call(ended)

    def _plan(self) -> list[Upstream]:
        """Return whom to ask, in order, each as often as it may come to that."""
        model = "" if self._call.action == MODELS and self._call.model == "any" else self._call.model
        known = self._parts.health.known(self._door, model)
        if not known:
            raise RefusalError(
                404, "model_unknown", f"no upstream of the gateway serves `{self._call.model[:200]}`"
            )
        if self._call.action == API:
            # What is kept at a provider is found again where it was put.
            own = self._door.kind
            known = sorted(known, key=lambda each: (each.kind != own, each.order, each.name))[:1]
        candidates = self._parts.health.candidates(known)
        if not candidates:
            raise RefusalError(
                503,
                "upstream_unavailable",
                "every upstream that serves this model failed repeatedly and is left alone for a while",
                retry=True,
                retry_after_s=5,
            )
        self._count = len(candidates)
        self._last = self._parts.max_retries
        return [candidates[number % self._count] for number in range(self._last + 1)]

    async def _prepare(self, upstream: Upstream) -> bytes:
        """Decide and reserve for one attempt, and return the body to send."""
        self.upstream = upstream
        decision = self._decisions.get(upstream.name)
        if decision is None:
            decision = self._decisions[upstream.name] = await self._decide(upstream)
        self.decision = decision
        self._is_open = True
        self.admission = None
        body = self._rewritten(decision.params)
        if self._later is not None:
            await self._later.before(upstream, self._caller, decision, next(_attempts), self._still)
        if body is None or not is_charged(self._call) or self._door.counts_only:
            return self._encode(body)
        return await self._reserve(upstream, body)

    def _encode(self, body: dict[str, Any] | None) -> bytes:
        self._content_type, encoded = self._reading.encode(body)
        return encoded

    async def _decide(self, upstream: Upstream) -> Decision:
        caller, call = self._caller, self._call
        resource = resource_of(upstream.name, "api" if call.action == API else call.model)
        request = Request(
            caller.principal, call.action, resource, call.params, caller.context, approval=caller.approval
        )
        decision = await self._parts.desk.decide(request)
        if decision.effect is not Effect.ALLOW and decision.effect is not Effect.TRANSFORM:
            raise refuse_decision(decision)
        if decision.resource != resource or decision.action.partition("@")[0] != call.action:
            raise RefusalError(
                403, "action_denied", "the decision is about another call", decision_id=decision.audit_id
            )
        for hosted in call.hosted:
            params = {
                "tool": hosted.kind,
                "model": call.model,
                **({"server": hosted.server} if hosted.server else {}),
            }
            if hosted.kind not in (decision.params.get("hosted_tools") or ()):
                continue
            about = Request(caller.principal, HOSTED_TOOL, resource, params, caller.context)
            answer = await self._parts.desk.decide(about)
            if answer.effect is not Effect.ALLOW:
                raise refuse_decision(answer)
        return decision

    def _rewritten(self, params: dict[str, Any]) -> dict[str, Any] | None:
        """Return the body as it was decided, with the usage asked for in streams; None where there is none."""
        try:
            body = rewrite(self._call, params)
        except RewriteError as error:
            raise RefusalError(403, "action_denied", str(error), decision_id=self.decision.audit_id) from None
        if self._call.body is None:
            return None
        model = body.get("model")
        if model != self._call.body.get("model") and not self.upstream.serves(str(model)):
            raise RefusalError(
                403,
                "action_denied",
                f"the decision is on another model, which upstream `{self.upstream.name}` does not serve",
                decision_id=self.decision.audit_id,
            )
        self.changed = sorted(
            key for key in {*body, *self._call.body} if body.get(key) != self._call.body.get(key)
        )
        options = body.get("stream_options")
        asks = type(options) is dict and options.get("include_usage") is True
        self.adds_usage = self._call.wire is Wire.CHAT and self._call.is_stream and not asks
        if self.adds_usage:
            body = {
                **body,
                "stream_options": {**(options if type(options) is dict else {}), "include_usage": True},
            }
        return body

    async def _reserve(self, upstream: Upstream, body: dict[str, Any]) -> bytes:
        """Have the call reserved, and return the body with what the budgets write into it."""
        encoded = self._encode(body)
        model = body.get("model") if type(body.get("model")) is str else self._call.model
        call = msgspec.structs.replace(self._call, model=model)
        if call.action == MEDIA:
            reading = msgspec.structs.replace(self._reading, call=call)
            quoted = quote_media(reading, body, upstream.provider, len(encoded))
        else:
            quoted = quote_call(call, body, upstream.provider, len(encoded))
        admission = await self._parts.desk.reserve(
            quoted, self._caller, next(_attempts), decision=self.decision, still=self._still
        )
        if admission is None:
            return encoded
        self.admission = admission
        if not admission.is_admitted:
            refusal = refuse_spending(admission, self.decision)
            self.admission = None
            await self.close(succeeded=False, detail=f"not sent: {refusal.code}")
            raise refusal
        written: dict[str, Any] = {}
        if admission.max_output_tokens is not None:
            written["max_output_tokens"] = admission.max_output_tokens
        if admission.model != quoted.model:
            written["model"] = admission.model
        if not written:
            return encoded
        return await self._written(body, written)

    async def _still(self) -> None:
        """Pass where the policy that let the call through is in force, or lets it through as well.

        Raises:
            RefusalError: it does not.
        """
        decision, caller = self.decision, self._caller
        request = Request(
            caller.principal, self._call.action, decision.resource, self._call.params, caller.context
        )
        now = await self._parts.desk.question(request)
        if now.policy_version == decision.policy_version:
            return
        is_same = now.effect in (Effect.ALLOW, Effect.TRANSFORM) and now.params == decision.params
        if not is_same:
            await self.close(succeeded=False, detail="not sent: the policy changed")
            raise RefusalError(
                403,
                "action_denied",
                f"the policy changed while people were asked: {now.reason}",
                decision_id=now.audit_id,
                rule=now.rule,
            )

    async def _written(self, body: dict[str, Any], written: dict[str, Any]) -> bytes:
        decided = msgspec.structs.replace(self._call, params=self.decision.params, body=body)
        try:
            body = rewrite(decided, {**self.decision.params, **written})
        except RewriteError as error:
            await self.close(succeeded=False, is_free=True, detail="not sent")
            raise RefusalError(
                403, "budget_exceeded", str(error), decision_id=self.decision.audit_id
            ) from None
        self.changed = sorted({*self.changed, *written})
        return self._encode(body)

    async def _failed(self, upstream: Upstream, error: DialError, *, is_last: bool) -> None:
        self._parts.health.failed(upstream.name)
        await self.close(succeeded=False, is_free=error.is_safe, detail=error.message)
        reason, decision_id = f"upstream `{upstream.name}`: {error.message}", self.decision.audit_id
        if error.is_slow:
            raise RefusalError(504, "upstream_slow", reason, decision_id=decision_id)
        if is_last or not error.is_safe:
            raise RefusalError(
                502, "upstream_unreachable", reason, decision_id=decision_id, retry=error.is_safe
            )

    def _is_retried(self, upstream: Upstream, response: Answer) -> bool:
        if response.status >= _SERVER_ERRORS:
            self._parts.health.failed(upstream.name)
        else:
            self._parts.health.succeeded(upstream.name)
        return response.status in _RETRIED and response.header(b"x-should-retry") != b"false"

    async def _wait(self, number: int, asked_s: float | None) -> None:
        """Wait before the same upstream is asked again; another one is asked at once."""
        if number + 1 < self._count:
            return
        usual = min(_FIRST_WAIT_S * 2 ** (number + 1 - self._count), _LONGEST_WAIT_S)
        await self._parts.sleep(min(asked_s or usual * (0.5 + random.random() / 2), _LONGEST_WAIT_S))  # noqa: S311 - spreads retries


def _asked_wait(response: Answer) -> float | None:
    text = response.header(b"retry-after")
    return float(text[:9]) if text.isdigit() else None

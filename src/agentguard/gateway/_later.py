"""A request that is about a batch: what has to happen before it is sent, and after its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agentguard.core import Effect, Request
from agentguard.gateway._batch import Batches
from agentguard.gateway._refusal import RefusalError, refuse_decision, refuse_spending
from agentguard.llm import HOSTED_TOOL, resource_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agentguard.core import Decision
    from agentguard.gateway._asking import Desk
    from agentguard.gateway._batch import Plan
    from agentguard.gateway._door import Door
    from agentguard.gateway._exchange import Caller
    from agentguard.gateway._reading import Reading
    from agentguard.gateway._upstream import Upstream
    from agentguard.spend import Admission


class Later:
    """Makes the part of each request that is about a batch."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._batches = Batches()

    def of(self, reading: Reading, door: Door, principal: str) -> Part | None:
        """Return a request's part about a batch, None where it has none.

        Raises:
            RefusalError: the batch cannot be read, or nobody has seen it.
        """
        if not door.is_bare or door.is_media:
            return None
        handed_in = self._batches.handed_in(reading, door)
        begun = (
            handed_in if door.rest == "messages/batches" else self._batches.begun(reading, door, principal)
        )
        return Part(self._desk, self._batches, door, principal, handed_in, begun)


class Part:
    """One request about a batch: `handed_in` is what it hands in, `begun` what it has the provider begin."""

    def __init__(  # noqa: PLR0917 - made in one place
        self,
        desk: Desk,
        batches: Batches,
        door: Door,
        principal: str,
        handed_in: Plan | None,
        begun: Plan | None,
    ) -> None:
        self._desk = desk
        self._batches = batches
        self._door = door
        self._principal = principal
        self._handed_in = handed_in
        self._begun = begun
        self._held: list[Admission] = []

    async def before(
        self,
        upstream: Upstream,
        caller: Caller,
        decision: Decision,
        name: str,
        still: Callable[[], Awaitable[None]],
    ) -> None:
        """Decide the calls that are handed in, and reserve what those that are begun may cost, as `Desk.reserve` does.

        Raises:
            RefusalError: one of them is denied, or the budgets have no room.
        """
        for call in self._handed_in.kinds if self._handed_in is not None else ():
            if not upstream.serves(call.model):
                raise RefusalError(
                    404, "model_unknown", f"the upstream of the batch does not serve `{call.model[:200]}`"
                )
            resource = resource_of(upstream.name, call.model)
            await self._allow(Request(caller.principal, call.action, resource, call.params, caller.context))
            for hosted in call.hosted:
                more = {"server": hosted.server} if hosted.server else {}
                params = {"tool": hosted.kind, "model": call.model, **more}
                await self._allow(Request(caller.principal, HOSTED_TOOL, resource, params, caller.context))
        if self._begun is None:
            return
        for number, quoted in enumerate(self._begun.quotes(upstream.provider)):
            admission = await self._desk.reserve(
                quoted, caller, f"{name}-{number}", decision=decision, still=still
            )
            if admission is None:
                return
            if not admission.is_admitted:
                raise refuse_spending(admission, decision)
            self._held.append(admission)
            if admission.model != quoted.model or admission.max_output_tokens is not None:
                raise RefusalError(
                    403, "budget_exceeded", "the budgets change a batch, which cannot be changed on its way",
                    decision_id=decision.audit_id,
                )  # fmt: skip

    async def _allow(self, about: Request) -> None:
        decision = await self._desk.decide(about)
        if decision.effect is not Effect.ALLOW:
            raise refuse_decision(decision)

    async def after(self, status: int, content: bytes) -> None:
        """Remember what was taken, and book what is over."""
        if status >= 300:  # noqa: PLR2004 - the provider has taken nothing
            return
        body = _decoded(content)
        if self._handed_in is not None and self._begun is None:
            self._batches.keep(self._principal, self._handed_in, body)
        if self._held:
            self._batches.start(self._held, body)
            self._held = []
        for admission, report in self._batches.ended(self._door, content):
            await self._desk.book_late(admission, report)

    async def give_back(self) -> None:
        """Release what was reserved for a batch that was not begun. Idempotent."""
        held, self._held = self._held, []
        for admission in held:
            await self._desk.book_late(admission, None)


def _decoded(content: bytes) -> object:
    try:
        return msgspec.json.decode(content)
    except (ValueError, RecursionError):
        return None

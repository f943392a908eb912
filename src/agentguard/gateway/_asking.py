"""Asks the decision point and the budgets, on the event loop or in threads where they wait for a disk."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from msgspec.structs import replace

from agentguard.core import AuditError, Decision, Effect, Outcome, RequestError, SpendError
from agentguard.enforcement import log_decision, require_known
from agentguard.gateway._books import Books
from agentguard.gateway._people import People

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from agentguard.core import Decider, Observation, Request, SpendAnswer, Spender, SpendQuestion
    from agentguard.gateway._exchange import Caller
    from agentguard.spend import Admission, Call, Report, Settlement

T = TypeVar("T")

_log = logging.getLogger("agentguard.gateway")
# As many as may wait for the disk together.
_THREADS = 64
# Each budget of a call may ask, at each of its thresholds.
_MOST_QUESTIONS = 20


class Budgets(Protocol):
    """Reserves before a call what it may cost, and books after it what it did; a `BudgetKeeper` is one."""

    def together(self, steps: Sequence[Callable[[], T]]) -> list[T | Exception]:
        """Return what each step answers or raises, for what one of them costs on the disk."""

    def reserve(self, call: Call, spender: Spender, *, attempt: str) -> Admission:
        """Return whether the budgets let a call pass, with what it may cost reserved if they do. Never raises."""

    def settle(self, admission: Admission, report: Report | None, *, estimated: bool = False) -> Settlement:
        """Book what a call cost. Raises SpendError if nothing is booked."""

    def release(self, admission: Admission) -> Settlement:
        """Give back what was reserved. Raises SpendError if nothing is given back."""

    def grant(self, question: SpendQuestion, given_at: datetime) -> None:
        """Go on past a threshold: people said yes to it."""

    def turn_down(self, admission: Admission, answer: SpendAnswer) -> Admission:
        """Return the refusal of a call whose question got an answer that is no yes."""


class Desk:
    """Everyone who is asked about a call. With `blocking` they wait for the disk, so they are asked in threads.

    Who needs an approval is held up to `hold_s` seconds for it.
    """

    def __init__(
        self,
        decider: Decider,
        budgets: Budgets | None,
        *,
        blocking: bool,
        on_decision: Callable[[Decision], None] | None,
        hold_s: float = 0.0,
    ) -> None:
        self._decider = decider
        self._people = People(decider, hold_s=hold_s)
        self.budgets = budgets
        self._pool = ThreadPoolExecutor(_THREADS, "agentguard-gateway") if blocking else None
        self.on_decision = on_decision
        self._books = Books(budgets, self._pool) if budgets is not None else None

    @property
    def is_idle(self) -> bool:
        """Whether all that was to be booked is."""
        return self._books is None or self._books.is_idle

    async def decide(self, request: Request) -> Decision:
        """Return the decision, recorded; one that cannot be carried out is a deny."""
        if self._pool is None:
            decided = self._decider.decide(request)
        else:
            decided = await self.run(lambda: self._decider.decide(request))
        if decided.effect is Effect.REQUIRE_APPROVAL:
            decided = await self._people.hold(
                decided, request.principal, lambda approval: self._redeem(request, approval)
            )
        decision = require_known(decided, request.context)
        log_decision(decision)
        if self.on_decision is not None:
            self.on_decision(decision)
        return decision

    async def question(self, request: Request) -> Decision:
        """Return the decision of a request that uses nothing up: it is asked again when it is carried out."""
        decisions = await self.run(lambda: self._decider.decide_plan([request]))
        if len(decisions) != 1:
            raise RequestError("the decider did not answer")
        return require_known(decisions[0], request.context)

    async def observe(self, observation: Observation) -> None:
        """Report what an agent sees.

        Raises:
            AgentGuardError: it could not be reported, so nobody knows what the agent has seen.
        """
        if self._pool is None:
            self._decider.observe(observation)
        else:
            await self.run(lambda: self._decider.observe(observation))

    async def reserve(
        self,
        call: Call,
        caller: Caller,
        attempt: str,
        *,
        decision: Decision,
        still: Callable[[], Awaitable[None]],
    ) -> Admission | None:
        """Return what the budgets say, and where they ask what people do; None where there are no budgets.

        While people are asked nothing is reserved. `decision` let the call through; `still` raises where it would not
        do so any more, after they were waited for.
        """
        admission = await self._reserve(call, caller.spender, attempt)
        if admission is None or admission.question is None or self.budgets is None:
            return admission
        for _ in range(_MOST_QUESTIONS):
            answer, has_waited = await self._people.answer(
                admission.question, caller.principal, caller.context, decision
            )
            if answer.given_at is None:
                return self.budgets.turn_down(admission, answer)
            if has_waited:
                await still()
            self.budgets.grant(admission.question, answer.given_at)
            again = await self._reserve(call, caller.spender, attempt)
            if again is None or again.question is None:
                return again
            admission = again
        return admission

    async def _reserve(self, call: Call, spender: Spender, attempt: str) -> Admission | None:
        budgets = self.budgets
        if budgets is None or self._books is None:
            return None
        return await self._books.ask(
            lambda: budgets.reserve(call, spender, attempt=attempt),
            undo=lambda admission: budgets.release(admission) if admission.is_admitted else None,
        )

    async def book_late(self, admission: Admission, report: Report | None) -> None:
        """Book what a report says, or give back where there is none; what fails is logged, for nothing waits for it."""
        budgets, books = self.budgets, self._books
        if budgets is None or books is None:
            return
        try:
            if report is None:
                await books.ask(lambda: budgets.release(admission))
            else:
                await books.ask(lambda: budgets.settle(admission, report))
        except SpendError as error:
            _log.error("a batch is not booked: %s", error.code)

    def close_call(self, ended: Ended) -> asyncio.Future[None] | None:
        """Have booked what a call cost, and recorded what came of it; return when that is over, None if it is.

        What fails is logged, for what happened has happened. Nobody need wait for it: until it is booked, what was
        reserved stands.
        """
        admission, budgets = ended.admission, self.budgets
        if admission is not None and budgets is not None and self._books is not None:
            return self._books.post(partial(_book, budgets, admission, ended), partial(self._booked, ended))
        if self._pool is None:
            self._record(ended, "")
            return None
        return asyncio.get_running_loop().run_in_executor(self._pool, self._record, ended, "")

    async def close(self) -> None:
        """Book and record what is left to be, and end the threads."""
        if self._books is not None:
            await self._books.drain()
        if self._pool is not None:
            self._pool.shutdown()
        self._people.close()

    async def run(self, ask: Callable[[], T]) -> T:
        """Return what is answered."""
        if self._pool is None:
            return ask()
        return await asyncio.get_running_loop().run_in_executor(self._pool, ask)

    def _booked(self, ended: Ended, settled: Settlement | Exception) -> None:
        if isinstance(settled, Exception):
            code = settled.code if isinstance(settled, SpendError) else type(settled).__name__
            _log.error("a call is not booked: %s", code)
            words = f"not booked: {code}; it counts as reserved"
        elif ended.is_free:
            words = "not charged"
        else:
            words = (
                ("cost unknown" if settled.cost is None else f"{settled.cost} micro-dollars")
                + (" estimated" if ended.is_estimated or ended.report is None else "")
                + (", overrun" if settled.overrun else "")
            )
        self._record(ended, words)

    def _record(self, ended: Ended, booked: str) -> None:
        decision = ended.decision
        if not decision.audit_id or decision.effect not in (Effect.ALLOW, Effect.TRANSFORM):
            return
        outcome = Outcome(
            decision.audit_id,
            "succeeded" if ended.succeeded else "failed",
            "; ".join(each for each in (ended.detail, booked) if each),
            decision.principal,
        )
        try:
            self._decider.record_outcome(outcome)
        except AuditError as error:
            _log.error("an outcome is not recorded: %s", error.code)
        except Exception as error:  # noqa: BLE001 - the boundary: nobody waits for this, and others' bills are behind it
            _log.error("an outcome is not recorded: %s", type(error).__name__)

    async def _redeem(self, request: Request, approval: str) -> Decision:
        """Return the decision on a request that comes with its approval, which that uses up."""
        asked = asyncio.ensure_future(
            self.run(lambda: self._decider.decide(replace(request, approval=approval)))
        )
        try:
            return await asyncio.shield(asked)
        except asyncio.CancelledError:
            # The approval is used, and nobody is there to use it for.
            asked.add_done_callback(lambda done: self._refused(done.result()))
            raise

    def _refused(self, decision: Decision) -> None:
        if decision.audit_id and decision.effect in (Effect.ALLOW, Effect.TRANSFORM):
            outcome = Outcome(
                decision.audit_id, "refused", "the agent hung up", decision.principal, decision.approval
            )
            try:
                self._decider.record_outcome(outcome)
            except AuditError as error:
                _log.error("an outcome is not recorded: %s", error.code)


def _book(budgets: Budgets, admission: Admission, ended: Ended) -> Settlement:
    if ended.is_free:
        return budgets.release(admission)
    return budgets.settle(admission, ended.report, estimated=ended.is_estimated)


class Ended:
    """How a call ended. `is_free`: the provider charges nothing for it, or has never seen it."""

    __slots__ = ("admission", "decision", "detail", "is_estimated", "is_free", "report", "succeeded")

    def __init__(
        self,
        decision: Decision,
        admission: Admission | None,
        *,
        succeeded: bool,
        detail: str = "",
        report: Report | None = None,
        is_estimated: bool = False,
        is_free: bool = False,
    ) -> None:
        self.decision = decision
        self.admission = admission
        self.succeeded = succeeded
        self.detail = detail
        self.report = report
        self.is_estimated = is_estimated
        self.is_free = is_free

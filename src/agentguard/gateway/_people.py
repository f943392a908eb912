"""Holds callers while people decide, and asks people where a budget says so."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from agentguard.core import AgentGuardError, ApprovalState, ApprovalWaiter, Effect, SpendAnswer, SpendAsker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from agentguard.core import Context, Decider, Decision, Principal, SpendQuestion

T = TypeVar("T")

# As many callers as are held together while people decide; others wait for their turn.
_HELD = 128
# One look takes no longer, so that a caller who has hung up leaves no thread behind for long.
_SLICE_S = 20.0


class Limit(Protocol):
    """How long an answer may take."""

    def stand_still(self) -> None:
        """Let no time pass."""

    def go_on(self) -> None:
        """Let it pass again."""


# People's time is not that of the answer that the present task makes.
_limit: ContextVar[Limit | None] = ContextVar("agentguard_answer_limit", default=None)


def outlasts(limit: Limit) -> None:
    """Let `limit`, which is that of the present task, stand still while the task waits for people."""
    _limit.set(limit)


class People:
    """Those who decide on approvals, as `decider` reaches them. Used on one event loop.

    A caller is held up to `hold_s` seconds. One who hangs up meanwhile uses nothing up; what was asked waits on, for
    who asks the same again.
    """

    def __init__(self, decider: Decider, *, hold_s: float) -> None:
        self._decider = decider
        self._hold_s = hold_s
        self._pool = ThreadPoolExecutor(_HELD, "agentguard-held")

    async def hold(
        self, decision: Decision, principal: Principal, again: Callable[[str], Awaitable[Decision]]
    ) -> Decision:
        """Return what `again` answers once people have said; the same decision where they did not in time."""
        until = time.monotonic() + self._hold_s
        while decision.effect is Effect.REQUIRE_APPROVAL and decision.approval:
            known = decision.approval
            if not await self._have_said(known, principal, until):
                break
            decision = await again(known)
            if decision.approval == known:
                break
        return decision

    async def answer(
        self, question: SpendQuestion, principal: Principal, context: Context, decision: Decision
    ) -> tuple[SpendAnswer, bool]:
        """Return what people say to a budget's question, and whether they were waited for."""
        asker = self._decider
        if not isinstance(asker, SpendAsker):
            return SpendAnswer(note="nobody is asked here"), False

        def ask() -> SpendAnswer:
            return asker.ask_spending(
                question, principal=principal, context=context, audit_id=decision.audit_id
            )

        # Where all of the threads hold somebody, one who only asks must not wait for them.
        answer = await asyncio.to_thread(ask)
        until, has_waited = time.monotonic() + self._hold_s, False
        while answer.is_pending and await self._have_said(answer.approval, principal, until):
            has_waited = True
            answer = await asyncio.to_thread(ask)
        return answer, has_waited

    def close(self) -> None:
        """End the threads, without waiting for people."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _have_said(self, approval: str, principal: Principal, until: float) -> bool:
        """Wait, and tell whether an approval is decided."""
        waiter = self._decider
        if not self._hold_s or not isinstance(waiter, ApprovalWaiter):
            return False
        with _standing_still():
            while (left := until - time.monotonic()) > 0:
                look = partial(
                    waiter.wait_approval, approval, principal=principal, timeout_s=min(left, _SLICE_S)
                )
                try:
                    status = await self._in_thread(look)
                except AgentGuardError:
                    return False
                if status.state is not ApprovalState.PENDING:
                    return True
        return False

    def _in_thread(self, call: Callable[[], T]) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._pool, call)


@contextmanager
def _standing_still() -> Iterator[None]:
    limit = _limit.get()
    if limit is None:
        yield
        return
    limit.stand_still()
    try:
        yield
    finally:
        limit.go_on()

"""Holds callers while people decide, and asks people where a budget says so."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Protocol

from agentguard.core import ApprovalState, ApprovalWaiter, Effect, SpendAnswer, SpendAsker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from agentguard.core import ApprovalStatus, Context, Decider, Decision, Principal, SpendQuestion

_log = logging.getLogger("agentguard.gateway")
# As many approvals as are waited for together; others wait for their turn.
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
        self._looks: dict[tuple[str, str], asyncio.Future[ApprovalStatus]] = {}

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

        # Where all of the threads wait for somebody, one who only asks must not wait for them.
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
                look = self._look(waiter, approval, principal)
                await asyncio.wait([look], timeout=left)
                if not look.done() or look.cancelled() or look.exception() is not None:
                    return False
                if look.result().state is not ApprovalState.PENDING:
                    return True
        return False

    def _look(
        self, waiter: ApprovalWaiter, approval: str, principal: Principal
    ) -> asyncio.Future[ApprovalStatus]:
        """Return where an approval stands a while from now, or sooner; all who wait for one share a thread."""
        key = (approval, principal.id)
        look = self._looks.get(key)
        if look is None:
            wait = partial(waiter.wait_approval, approval, principal=principal, timeout_s=_SLICE_S)
            look = self._looks[key] = asyncio.get_running_loop().run_in_executor(self._pool, wait)
            look.add_done_callback(lambda done: self._looked(key, done))
        return look

    def _looked(self, key: tuple[str, str], look: asyncio.Future[ApprovalStatus]) -> None:
        del self._looks[key]
        if not look.cancelled() and look.exception() is not None:
            _log.warning("an approval cannot be waited for: %s", type(look.exception()).__name__)


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

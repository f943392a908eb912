"""Waits for people: for as long as they have, over failures of the way to them."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

from agentguard.core import (
    AgentGuardError,
    ApprovalError,
    ApprovalState,
    ApprovalStatus,
    ApprovalWaiter,
    Decision,
    Effect,
    Principal,
    RequestError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

# One question takes no longer, so that a caller who has given up leaves nothing behind for long.
SLICE_S = 20.0
# A sidecar that restarts is back by then.
_PATIENCE_S = 60.0
_PAUSE_S = 0.5
_LOGGER = logging.getLogger("agentguard.pep")


@runtime_checkable
class AsyncWaiter(Protocol):
    """An `ApprovalWaiter` that can also be awaited."""

    async def await_approval(
        self, approval_id: str, *, principal: Principal, timeout_s: float
    ) -> ApprovalStatus:
        """Return where an approval stands, as `ApprovalWaiter.wait_approval` does."""


def needs_person(decision: Decision) -> bool:
    """Tell whether a decision waits for people who were asked."""
    return decision.effect is Effect.REQUIRE_APPROVAL and bool(decision.approval)


class Wait:
    """One wait for the people who were asked about `decision`; None as `timeout_s` waits as long as they have.

    Raises:
        RequestError: nobody was asked, or `decider` cannot wait.
    """

    def __init__(
        self, decider: object, decision: Decision, principal: Principal, timeout_s: float | None
    ) -> None:
        if not decision.approval or not isinstance(decider, ApprovalWaiter):
            raise RequestError("nobody was asked about this decision", code="approval_unknown")
        self._decider = decider
        self._approval = decision.approval
        self._principal = principal
        self._until = None if timeout_s is None else time.monotonic() + timeout_s
        self._failing_since: float | None = None

    def run(self) -> ApprovalStatus:
        """Return where the approval stands, once it is decided or the time is up.

        Raises:
            AgentGuardError: there is no such approval, or nobody could say for too long.
        """
        while True:
            try:
                status = self._decider.wait_approval(
                    self._approval, principal=self._principal, timeout_s=self._slice_s()
                )
            except AgentGuardError as error:
                time.sleep(self._pause_s(error))
                continue
            if self._is_over(status):
                return status

    async def arun(self) -> ApprovalStatus:
        """Return the same without blocking the event loop."""
        import asyncio  # loads slowly, and who awaits has it loaded

        while True:
            try:
                status = await self._ask()
            except AgentGuardError as error:
                await asyncio.sleep(self._pause_s(error))
                continue
            if self._is_over(status):
                return status

    def _ask(self) -> Awaitable[ApprovalStatus]:
        about: tuple[str, Principal, float] = (self._approval, self._principal, self._slice_s())
        decider = self._decider
        if isinstance(decider, AsyncWaiter):
            return decider.await_approval(about[0], principal=about[1], timeout_s=about[2])
        # The loop's own threads are few, and others need them while this one sleeps.
        return in_own_thread(lambda: decider.wait_approval(about[0], principal=about[1], timeout_s=about[2]))

    def _slice_s(self) -> float:
        return SLICE_S if self._until is None else max(0.0, min(SLICE_S, self._until - time.monotonic()))

    def _is_over(self, status: ApprovalStatus) -> bool:
        self._failing_since = None
        is_late = self._until is not None and time.monotonic() >= self._until
        return status.state is not ApprovalState.PENDING or is_late

    def _pause_s(self, error: AgentGuardError) -> float:
        """Return how long to pause before the next try, or raise `error` where trying on is of no use."""
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
            _LOGGER.warning("waiting for an approval failed and is tried again: %s", error.code)
        is_over = self._until is not None and now >= self._until
        # What an approval itself says does not change by asking again.
        is_final = isinstance(error, ApprovalError) and error.code != "approvals_unavailable"
        if is_final or is_over or now - self._failing_since > _PATIENCE_S:
            raise error
        return _PAUSE_S


async def in_own_thread(call: Callable[[], T]) -> T:
    """Return what a call that waits returns, from a thread that it has to itself."""
    import asyncio

    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # a result where there is no error

    def run() -> None:
        try:
            ended = (call(), None)
        except Exception as error:  # noqa: BLE001 - it is raised where it is awaited
            ended = (None, error)  # type: ignore[assignment]  # as above
        try:
            loop.call_soon_threadsafe(settle, *ended)
        except RuntimeError:
            # The loop has ended, and nobody waits any more.
            _LOGGER.debug("nobody waits for an approval any more")

    threading.Thread(target=run, name="agentguard-waits", daemon=True).start()
    return await future

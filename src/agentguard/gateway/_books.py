"""What concurrent calls ask of the budgets, in one step: the ledger's file is written once for all of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from agentguard.core import SpendError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from agentguard.gateway._asking import Budgets

T = TypeVar("T")

# So long a bill may wait for a reservation to be written with; what was reserved for it stands meanwhile.
_PATIENCE_S = 0.01


class Books:
    """Gathers what is asked in one turn of the event loop, or while the last step is written in `pool`.

    Who asks is answered once that is on the file. Used on one event loop.
    """

    def __init__(self, budgets: Budgets, pool: Executor | None) -> None:
        self._budgets = budgets
        self._pool = pool
        self._waiting: list[
            tuple[Callable[[], Any], asyncio.Future[Any], Callable[[Any], object] | None]
        ] = []
        self._is_called = False
        self._later: asyncio.TimerHandle | None = None

    async def ask(
        self, step: Callable[[], T], *, undo: Callable[[T], object] | None = None, can_wait: bool = False
    ) -> T:
        """Return what a step answers. Where nobody waits for the answer any more, `undo` gets it.

        One that `can_wait` is taken with the next one that cannot, or after `_PATIENCE_S`.

        Raises:
            SpendError: the step raised it.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._waiting.append((step, answer, undo))
        if self._is_called:
            pass
        elif can_wait:
            self._later = self._later or loop.call_later(_PATIENCE_S, self._begin)
        else:
            self._is_called = True
            loop.call_soon(self._begin)
        return await answer

    def _begin(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._is_called = True
        # Who has gone before anything was reserved needs no answer; what is to be booked is booked.
        asked = [each for each in self._waiting if not each[1].done() or each[2] is None]
        self._waiting = []
        if not asked:
            self._is_called = False
            return
        steps = [step for step, _, _ in asked]
        if self._pool is None:
            self._is_called = False
            _tell(asked, self._answers(steps))
            return
        writing = asyncio.get_running_loop().run_in_executor(self._pool, self._answers, steps)
        writing.add_done_callback(lambda done: self._written(asked, done))

    def _written(self, asked: list[Any], done: asyncio.Future[list[Any]]) -> None:
        answers = done.result() if not done.cancelled() else [_stopped()] * len(asked)
        undone = [
            (lambda undo=undo, answer=answer: undo(answer))
            for (_, future, undo), answer in zip(asked, answers, strict=True)
            if future.done() and undo is not None and not isinstance(answer, BaseException)
        ]
        _tell(asked, answers)
        self._waiting += [(step, asyncio.get_running_loop().create_future(), None) for step in undone]
        self._begin()

    def _answers(self, steps: list[Callable[[], Any]]) -> list[Any]:
        try:
            return self._budgets.together(steps)
        except Exception as error:  # noqa: BLE001 - the boundary: whoever waits must hear of it
            return [error] * len(steps)


def _tell(asked: list[Any], answers: list[Any]) -> None:
    for (_, future, _), answer in zip(asked, answers, strict=True):
        if future.done():
            continue
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)


def _stopped() -> SpendError:
    return SpendError("the gateway was stopped", code="spend_closed")

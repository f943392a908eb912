"""What concurrent calls ask of the budgets, in one step: the ledger's file is written once for all of them."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from agentguard.core import SpendError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from agentguard.gateway._asking import Budgets

T = TypeVar("T")

# So long a bill may wait for a reservation to be written with; what was reserved for it stands meanwhile.
_PATIENCE_S = 0.01


class _Asked:
    """A step, and who is told what came of it: `answer` on the event loop, `then` where the step was taken."""

    __slots__ = ("answer", "step", "then", "undo")

    def __init__(
        self,
        step: Callable[[], Any],
        answer: asyncio.Future[Any],
        *,
        undo: Callable[[Any], object] | None = None,
        then: Callable[[Any], object] | None = None,
    ) -> None:
        self.step = step
        self.answer = answer
        self.undo = undo
        self.then = then


class Books:
    """Gathers what is asked in one turn of the event loop, or while the last step is written in `pool`.

    Who asks is answered once that is on the file. Used on one event loop.
    """

    def __init__(self, budgets: Budgets, pool: Executor | None) -> None:
        self._budgets = budgets
        self._pool = pool
        self._waiting: list[_Asked] = []
        self._is_called = False
        self._later: asyncio.TimerHandle | None = None
        self._posted = 0

    @property
    def is_idle(self) -> bool:
        """Whether all that was asked and posted is over."""
        return not (self._waiting or self._is_called or self._posted)

    async def ask(self, step: Callable[[], T], *, undo: Callable[[T], object] | None = None) -> T:
        """Return what a step answers. Where nobody waits for the answer any more, `undo` gets it.

        Raises:
            SpendError: the step raised it.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._waiting.append(_Asked(step, answer, undo=undo))
        if not self._is_called:
            self._is_called = True
            loop.call_soon(self._begin)
        return await answer

    def post(self, step: Callable[[], T], then: Callable[[T | Exception], object]) -> asyncio.Future[None]:
        """Have a step taken with the next one that is asked for, or after `_PATIENCE_S`; return when it is over.

        `then` gets what it answers or raises, whoever still waits.
        """
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        self._waiting.append(_Asked(step, over, then=then))
        self._posted += 1
        if not self._is_called and self._later is None:
            self._later = loop.call_later(_PATIENCE_S, self._begin)
        return over

    async def drain(self) -> None:
        """Return when nothing is waiting any more."""
        while self._waiting or self._is_called:
            await self.ask(lambda: None)

    def _begin(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._is_called = True
        # Who has gone before anything was reserved needs no answer; what is to be booked is booked.
        asked = [each for each in self._waiting if each.undo is None or not each.answer.done()]
        self._waiting = []
        if not asked:
            self._is_called = False
            return
        steps = [each.step for each in asked]
        if self._pool is None:
            self._is_called = False
            for each, answer in zip(asked, self._answers(steps), strict=True):
                if each.then is None:
                    _tell(each, answer)
                else:
                    each.then(answer)
                    self._over(each)
            return
        writing = asyncio.get_running_loop().run_in_executor(self._pool, self._answers, steps)
        writing.add_done_callback(lambda done: self._written(asked, done))

    def _written(self, asked: list[_Asked], done: asyncio.Future[list[Any]]) -> None:
        loop = asyncio.get_running_loop()
        answers = done.result() if not done.cancelled() else [_stopped()] * len(asked)
        undone = [
            (lambda undo=each.undo, answer=answer: undo(answer))
            for each, answer in zip(asked, answers, strict=True)
            if each.answer.done() and each.undo is not None and not isinstance(answer, BaseException)
        ]
        for each, answer in zip(asked, answers, strict=True):
            if each.then is None:
                _tell(each, answer)
            else:
                # It waits for the disk: each in a thread, so that they wait for it together.
                telling = loop.run_in_executor(self._pool, each.then, answer)
                telling.add_done_callback(partial(self._over, each))
        self._waiting += [_Asked(step, loop.create_future()) for step in undone]
        self._begin()

    def _over(self, asked: _Asked, told: asyncio.Future[Any] | None = None) -> None:
        del told
        self._posted -= 1
        if not asked.answer.done():
            asked.answer.set_result(None)

    def _answers(self, steps: list[Callable[[], Any]]) -> list[Any]:
        try:
            return self._budgets.together(steps)
        except Exception as error:  # noqa: BLE001 - the boundary: whoever waits must hear of it
            return [error] * len(steps)


def _tell(asked: _Asked, answer: Any) -> None:
    if asked.answer.done():
        return
    if isinstance(answer, BaseException):
        asked.answer.set_exception(answer)
    else:
        asked.answer.set_result(answer)


def _stopped() -> SpendError:
    return SpendError("the gateway was stopped", code="spend_closed")

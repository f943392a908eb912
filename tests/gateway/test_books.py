from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from agentguard.core import SpendError
from agentguard.gateway._books import Books

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Counting:
    """Budgets that only take steps together, and remember how many at a time."""

    def __init__(self) -> None:
        self.groups: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def together(self, steps: Sequence[Callable[[], Any]]) -> list[Any]:
        self.gate.wait(10)
        self.groups.append(len(steps))
        return [_tried(step) for step in steps]


def _tried(step: Callable[[], Any]) -> Any:
    try:
        return step()
    except SpendError as error:
        return error


def _fails() -> None:
    raise SpendError("no room on the disk")


def test_what_is_asked_in_one_turn_is_one_step() -> None:
    budgets = Counting()

    async def asks() -> list[Any]:
        books = Books(budgets, None)  # type: ignore[arg-type]  # all that books ask of budgets
        asked = [books.ask(partial(int, number)) for number in range(3)]
        return await asyncio.gather(*asked, books.ask(_fails), return_exceptions=True)

    *numbers, error = asyncio.run(asks())
    assert numbers == [0, 1, 2]
    assert isinstance(error, SpendError)
    assert budgets.groups == [4]


def test_what_can_wait_is_taken_with_what_cannot_or_after_a_moment() -> None:
    budgets = Counting()

    async def asks() -> None:
        books = Books(budgets, None)  # type: ignore[arg-type]  # as above
        over = books.post(lambda: "bill", told.append)
        await asyncio.sleep(0)
        assert budgets.groups == []
        await books.ask(lambda: "reserved")
        await over
        assert told == ["bill"]
        await books.post(lambda: "late", told.append)

    told: list[Any] = []
    asyncio.run(asks())
    assert (budgets.groups, told) == ([2, 1], ["bill", "late"])


@pytest.mark.parametrize("threads", [0, 2])
def test_what_is_posted_is_taken_and_told_though_nobody_waits(threads: int) -> None:
    budgets = Counting()
    told: list[Any] = []

    async def asks(pool: ThreadPoolExecutor | None) -> None:
        books = Books(budgets, pool)  # type: ignore[arg-type]  # as above
        books.post(lambda: "bill", told.append).cancel()
        books.post(_fails, told.append)
        await books.drain()
        await asyncio.sleep(0.05)

    if threads:
        with ThreadPoolExecutor(threads) as pool:
            asyncio.run(asks(pool))
    else:
        asyncio.run(asks(None))
    assert told[0] == "bill"
    assert isinstance(told[1], SpendError)


def test_what_is_asked_while_a_thread_writes_is_the_next_step() -> None:
    budgets = Counting()
    budgets.gate.clear()

    async def asks(pool: ThreadPoolExecutor) -> list[int]:
        books = Books(budgets, pool)  # type: ignore[arg-type]  # as above
        first = asyncio.ensure_future(books.ask(lambda: 0))
        await asyncio.sleep(0.01)
        others = [asyncio.ensure_future(books.ask(partial(int, number))) for number in (1, 2)]
        await asyncio.sleep(0)
        budgets.gate.set()
        return await asyncio.gather(first, *others)

    with ThreadPoolExecutor(1) as pool:
        assert asyncio.run(asks(pool)) == [0, 1, 2]
    assert budgets.groups == [1, 2]


def test_reservation_that_nobody_waits_for_any_more_is_undone_and_a_bill_is_booked() -> None:
    budgets = Counting()
    done: list[str] = []
    budgets.gate.clear()

    def unasked() -> str:
        done.append("never")
        return ""

    async def asks(pool: ThreadPoolExecutor) -> None:
        books = Books(budgets, pool)  # type: ignore[arg-type]  # as above
        held = asyncio.ensure_future(books.ask(lambda: "held", undo=done.append))
        await asyncio.sleep(0.01)
        never = asyncio.ensure_future(books.ask(unasked, undo=done.append))
        bill = asyncio.ensure_future(books.ask(lambda: done.append("bill")))
        await asyncio.sleep(0)
        for each in (held, never, bill):
            each.cancel()
        await asyncio.gather(held, never, bill, return_exceptions=True)
        budgets.gate.set()
        await books.ask(lambda: None)

    with ThreadPoolExecutor(1) as pool:
        asyncio.run(asks(pool))
    assert sorted(done) == ["bill", "held"]


def test_budgets_that_break_are_heard_of_by_who_waits() -> None:
    class Broken:
        def together(self, steps: Sequence[Callable[[], Any]]) -> list[Any]:
            raise RuntimeError(f"{len(steps)} steps")

    async def asks() -> None:
        await Books(Broken(), None).ask(lambda: 1)  # type: ignore[arg-type]  # as above

    with pytest.raises(RuntimeError, match="1 steps"):
        asyncio.run(asks())

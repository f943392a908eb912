"""Work that may have to wait for people on its way, written once for threads and for event loops.

It is a generator that yields each decision that waits for people, and is sent whether these have said. Waiting is its
runner's: a thread sleeps, an event loop has no thread held meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from agentguard.clients._waiting import needs_person
from agentguard.core import Decision

if TYPE_CHECKING:
    from agentguard.clients._session import Session

T = TypeVar("T")
Steps: TypeAlias = Generator[Decision, bool, T]


def check(session: Session, action: str, resource: str, params: dict[str, Any]) -> Steps[Decision]:
    """Return the decision, after people have said where it waits for them."""
    decision = session.check(action, resource=resource, params=params)
    while needs_person(decision) and (yield decision):
        known = decision.approval
        decision = session.check(action, resource=resource, params=params, approval=known)
        if decision.approval == known:
            break
    return decision


def run(session: Session, steps: Steps[T]) -> T:
    """Return what the work comes to; this thread waits where it has to."""
    have_said = None
    while True:
        moved, is_done = _move(steps, have_said)
        if is_done:
            return moved  # type: ignore[no-any-return]  # what the work returned
        try:
            have_said = session.outlast(moved)
        except BaseException:
            steps.close()
            raise


def run_at_once(steps: Steps[T]) -> T:
    """Return what the work comes to where nobody can be waited for, as in the reading of an attribute."""
    have_said = None
    while True:
        moved, is_done = _move(steps, have_said)
        if is_done:
            return moved  # type: ignore[no-any-return]  # what the work returned
        have_said = False


async def arun(
    session: Session, steps: Steps[T], *, on_lost: Callable[[T], None] = lambda _result: None
) -> T:
    """Do the same without blocking the event loop. What comes of it after a cancellation is for `on_lost`."""
    have_said = None
    while True:
        job = asyncio.ensure_future(asyncio.to_thread(_move, steps, have_said))
        try:
            moved, is_done = await asyncio.shield(job)
        except asyncio.CancelledError:
            # The thread goes on to the end of its step.
            job.add_done_callback(lambda done: _lost(steps, done, on_lost))
            raise
        if is_done:
            return moved  # type: ignore[no-any-return]  # what the work returned
        try:
            have_said = await session.aoutlast(moved)
        except BaseException:
            steps.close()
            raise


def _move(steps: Steps[Any], have_said: bool | None) -> tuple[Any, bool]:  # noqa: FBT001 - sent as it is
    """Return what the work waits for, or what it has come to and True."""
    try:
        return (next(steps) if have_said is None else steps.send(have_said)), False
    except StopIteration as done:
        return done.value, True


def _lost(steps: Steps[T], job: asyncio.Future[tuple[Any, bool]], on_lost: Callable[[T], None]) -> None:
    if job.cancelled() or job.exception() is not None:
        return
    moved, is_done = job.result()
    if is_done:
        on_lost(moved)
    else:
        steps.close()

"""Callers who wait for people: as long as they have, over failures of the way to them."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from agentguard.clients import EnforcementPoint
from agentguard.clients import _waiting as waiting
from agentguard.core import (
    ActionDenied,
    ApprovalError,
    ApprovalRequired,
    ApprovalState,
    ApprovalStatus,
    Decision,
    Effect,
    Principal,
    Request,
    RequestError,
)
from agentguard.enforcement import Hold
from scripted_decider import ScriptedDecider, decided

if TYPE_CHECKING:
    from collections.abc import Callable

AGENT = Principal("deploy-agent")
REQUEST = Request(AGENT, "restart", "prod/api")


def status(state: ApprovalState, approval: str = "ap-1") -> ApprovalStatus:
    return ApprovalStatus(approval, state, 1, datetime(2026, 1, 31, tzinfo=UTC))


class People(ScriptedDecider):
    """A decider that asks people; `said` is what each wait meets, an error or a state."""

    def __init__(self, *said: ApprovalState | Exception, then: Effect = Effect.ALLOW) -> None:
        super().__init__()
        self.said = list(said)
        self.waits: list[tuple[str, float]] = []
        self.answer = self._decide
        self._then = then

    def _decide(self, request: Request) -> Decision:
        if request.approval:
            return decided(request, effect=self._then, approval=request.approval)
        return decided(request, effect=Effect.REQUIRE_APPROVAL, approval="ap-1")

    def wait_approval(self, approval_id: str, *, principal: Principal, timeout_s: float) -> ApprovalStatus:
        assert principal.id == AGENT.id
        self.waits.append((approval_id, timeout_s))
        said = self.said.pop(0) if self.said else ApprovalState.PENDING
        if isinstance(said, Exception):
            raise said
        if said is ApprovalState.PENDING:
            time.sleep(min(timeout_s, 0.01))
        return status(said)


class AwaitedPeople(People):
    """The same, that can be awaited."""

    async def await_approval(
        self, approval_id: str, *, principal: Principal, timeout_s: float
    ) -> ApprovalStatus:
        return self.wait_approval(approval_id, principal=principal, timeout_s=timeout_s)


def guarded(decider: Any, *, wait_s: float | None = None, is_async: bool = False) -> Callable[[], Any]:
    point = EnforcementPoint(decider, principal=AGENT, approval_wait_s=wait_s)
    if is_async:

        @point.guarded("restart", resource="prod/api")
        async def restart_async() -> str:
            return "restarted"

        return lambda: asyncio.run(restart_async())

    @point.guarded("restart", resource="prod/api")
    def restart() -> str:
        return "restarted"

    return restart


S = ApprovalState
LOST = RequestError("nobody says whether it is approved", code="approval_lost")


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_PAUSE_S", 0.001)


@pytest.mark.parametrize("make", [People, AwaitedPeople])
@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize(
    "said",
    [(S.APPROVED,), (S.PENDING, S.PENDING, S.APPROVED), (LOST, LOST, S.APPROVED), (S.DENIED,), (S.EXPIRED,)],
)
def test_a_guarded_function_waits_for_people(
    make: type[People], said: tuple[ApprovalState | Exception, ...], *, is_async: bool
) -> None:
    is_good = said[-1] is S.APPROVED
    decider = make(*said, then=Effect.ALLOW if is_good else Effect.DENY)
    call = guarded(decider, is_async=is_async)
    if is_good:
        assert call() == "restarted"
        assert decider.outcomes[0].approval == "ap-1"
    else:
        with pytest.raises(ActionDenied):
            call()
    assert [request.approval for request in decider.requests] == ["", "ap-1"]


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize("wait_s", [0, 0.05])
def test_who_is_not_answered_in_time_is_told_what_it_waits_for(wait_s: float, *, is_async: bool) -> None:
    with pytest.raises(ApprovalRequired) as caught:
        guarded(People(), wait_s=wait_s, is_async=is_async)()
    assert caught.value.decision.approval == "ap-1"


@pytest.mark.parametrize("is_async", [True, False])
def test_an_approval_that_is_not_there_is_not_waited_for(*, is_async: bool) -> None:
    decider = People(ApprovalError("there is none", code="approval_unknown"))
    with pytest.raises(ApprovalRequired):
        guarded(decider, is_async=is_async)()
    assert len(decider.waits) == 1


def test_failures_are_not_borne_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_PATIENCE_S", 0.01)
    with pytest.raises(ApprovalRequired):
        guarded(People(*[LOST] * 1000))()


@pytest.mark.parametrize("is_async", [True, False])
def test_a_decider_that_asks_no_people_is_not_waited_for(*, is_async: bool) -> None:
    decider = ScriptedDecider(
        lambda request: decided(request, effect=Effect.REQUIRE_APPROVAL, approval="ap-1")
    )
    with pytest.raises(ApprovalRequired):
        guarded(decider, is_async=is_async)()
    point = EnforcementPoint(decider, principal=AGENT)
    with pytest.raises(RequestError):
        point.wait_approval(point.check("restart", resource="prod/api"))


def test_the_same_answer_again_ends_the_wait() -> None:
    decider = People(S.APPROVED, S.APPROVED, then=Effect.REQUIRE_APPROVAL)
    with pytest.raises(ApprovalRequired):
        guarded(decider)()
    assert len(decider.requests) == 2


def test_a_question_that_is_asked_anew_is_waited_for_too() -> None:
    decider = People(S.APPROVED, S.APPROVED)

    def answer(request: Request) -> Decision:
        following = {"": "ap-1", "ap-1": "ap-2"}
        if request.approval in following:
            return decided(request, effect=Effect.REQUIRE_APPROVAL, approval=following[request.approval])
        return decided(request, approval="ap-2")

    decider.answer = answer
    assert guarded(decider)() == "restarted"


def test_a_session_waits_as_its_guard_does() -> None:
    point = EnforcementPoint(People(S.PENDING, S.APPROVED, S.APPROVED, S.APPROVED), principal=AGENT)
    session = point.session("s-1")
    decision = session.check("restart", resource="prod/api")
    assert session.wait_approval(decision, 5).state is S.APPROVED
    assert asyncio.run(session.await_approval(decision)).state is S.APPROVED

    @session.guarded("restart", resource="prod/api")
    def restart() -> str:
        return "restarted"

    assert restart() == "restarted"


def test_a_wait_of_its_own_thread_hands_on_what_happens() -> None:
    async def main() -> None:
        assert await waiting.in_own_thread(lambda: threading.current_thread().name) == "agentguard-waits"
        with pytest.raises(ZeroDivisionError):
            await waiting.in_own_thread(lambda: 1 // 0)
        task = asyncio.create_task(waiting.in_own_thread(lambda: time.sleep(0.01)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


@pytest.mark.parametrize(
    ("decider", "effect", "asked"),
    [
        (People(S.APPROVED), Effect.ALLOW, 2),
        (People(S.DENIED, then=Effect.DENY), Effect.DENY, 2),
        (People(), Effect.REQUIRE_APPROVAL, 1),
        (People(LOST), Effect.REQUIRE_APPROVAL, 1),
        (People(S.APPROVED, then=Effect.REQUIRE_APPROVAL), Effect.REQUIRE_APPROVAL, 2),
        (ScriptedDecider(), Effect.ALLOW, 1),
        (
            ScriptedDecider(
                lambda request: decided(request, effect=Effect.REQUIRE_APPROVAL, approval="ap-1")
            ),
            Effect.REQUIRE_APPROVAL,
            1,
        ),
    ],
)
def test_who_cannot_come_back_is_held(decider: ScriptedDecider, effect: Effect, asked: int) -> None:
    assert Hold(decider, timeout_s=0.05).ask(REQUEST).effect is effect
    assert len(decider.requests) == asked


def test_who_is_held_for_long_waits_in_pieces_and_outlasts_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentguard.enforcement._hold._PAUSE_S", 0.0)

    pieces: list[float] = []

    class Noting(People):
        def wait_approval(
            self, approval_id: str, *, principal: Principal, timeout_s: float
        ) -> ApprovalStatus:
            pieces.append(timeout_s)
            return super().wait_approval(approval_id, principal=principal, timeout_s=timeout_s)

    decider = Noting(S.PENDING, LOST, S.PENDING, S.APPROVED)
    assert Hold(decider, timeout_s=24 * 3600).ask(REQUEST).effect is Effect.ALLOW
    assert len(pieces) == 4
    # A sidecar takes an hour at most in one question.
    assert max(pieces) <= 60


def test_who_is_not_needed_any_more_is_held_no_longer() -> None:
    held = Hold(People(), timeout_s=3600)
    asked = decided(REQUEST, effect=Effect.REQUIRE_APPROVAL, approval="ap-1")
    answers = iter((False, True))
    assert held.wait(REQUEST, asked, is_over=lambda: next(answers)).effect is Effect.REQUIRE_APPROVAL


@pytest.mark.parametrize("value", [5, b"ap-1"])
def test_an_approval_that_is_no_text_is_a_deny(value: Any) -> None:
    point = EnforcementPoint(ScriptedDecider(), principal=AGENT)
    assert point.check("restart", resource="prod/api", approval=value).effect is Effect.DENY

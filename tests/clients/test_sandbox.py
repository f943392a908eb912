from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from agentguard.clients import EnforcementPoint
from agentguard.clients._sandbox import confined
from agentguard.core import ActionDenied, Context, Effect, Obligation, Principal, Request, RequestError
from scripted_decider import ScriptedDecider, decided

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.core import Decision


def asking(*names: str) -> Callable[[Request], Decision]:
    obligations = tuple(Obligation("sandbox", name) for name in names)
    return lambda request: decided(request, obligations=obligations)


def noting(steps: list[str], name: str) -> Callable[[Decision, Callable[[], Any]], Any]:
    def run(decision: Decision, call: Callable[[], Any]) -> Any:
        steps.append(f"into {name} for {decision.action}")
        try:
            return call()
        finally:
            steps.append(f"out of {name}")

    return run


def test_a_function_runs_inside_every_sandbox_that_is_asked_for() -> None:
    steps: list[str] = []
    decider = ScriptedDecider(asking("outer", "inner", "outer"))
    sandboxes = {name: noting(steps, name) for name in ("inner", "outer", "unused")}
    point = EnforcementPoint(decider, principal="agent", sandboxes=sandboxes)

    @point.guarded("act", resource="a/b")
    def act(n: int) -> int:
        steps.append("act")
        return n + 1

    assert act(1) == 2
    expected = ["into outer for act@1", "into inner for act@1", "act", "out of inner", "out of outer"]
    assert steps == expected
    assert [each.status for each in decider.outcomes] == ["succeeded"]


def test_without_the_sandbox_the_action_is_denied_at_every_door() -> None:
    point = EnforcementPoint(
        ScriptedDecider(asking("jail")), principal="agent", sandboxes={"other": noting([], "other")}
    )
    ran = []
    guarded = point.guarded("act", resource="a/b")(lambda: ran.append(1))
    with pytest.raises(ActionDenied, match="no sandbox `jail`"):
        guarded()
    step = {"action": "act", "resource": "a/b"}
    decisions = [
        point.check("act", resource="a/b"),
        asyncio.run(point.acheck("act", resource="a/b")),
        *point.check_plan([step]),
    ]
    assert {(each.effect, each.stage) for each in decisions} == {(Effect.DENY, "enforcement")}
    assert not ran


def test_an_async_function_runs_inside_an_async_sandbox() -> None:
    steps: list[str] = []

    async def jail(_: Decision, call: Callable[[], Any]) -> Any:
        steps.append("in")
        result = await call()
        steps.append("out")
        return result

    point = EnforcementPoint(ScriptedDecider(asking("jail")), principal="agent", sandboxes={"jail": jail})

    @point.guarded("act", resource="a/b")
    async def act() -> str:
        await asyncio.sleep(0)
        steps.append("act")
        return "done"

    assert asyncio.run(act()) == "done"
    assert steps == ["in", "act", "out"]


def test_a_sandbox_of_the_wrong_kind_runs_nothing_and_that_is_recorded() -> None:
    async def jail(_: Decision, call: Callable[[], Any]) -> Any:
        return await call()

    decider = ScriptedDecider(asking("late"))
    ran = []
    for_sync = EnforcementPoint(decider, principal="agent", sandboxes={"late": jail})
    with pytest.raises(ActionDenied, match="no async one"):
        for_sync.guarded("act", resource="a/b")(lambda: ran.append(1))()

    for_async = EnforcementPoint(decider, principal="agent", sandboxes={"late": noting([], "late")})

    @for_async.guarded("act", resource="a/b")
    async def act() -> None:
        ran.append(2)

    with pytest.raises(ActionDenied, match="an async one"):
        asyncio.run(act())
    assert not ran
    assert [each.status for each in decider.outcomes] == ["refused", "refused"]


def test_what_a_sandbox_raises_is_a_failure_on_record() -> None:
    def breaks(_: Decision, __: Callable[[], Any]) -> Any:
        raise OSError("no such container")

    decider = ScriptedDecider(asking("jail"))
    point = EnforcementPoint(decider, principal="agent", sandboxes={"jail": breaks})
    with pytest.raises(OSError, match="no such container"):
        point.guarded("act", resource="a/b")(lambda: None)()
    assert [(each.status, each.detail) for each in decider.outcomes] == [("failed", "OSError")]


def test_a_reason_that_a_rule_wants_is_looked_for_here_too() -> None:
    decider = ScriptedDecider(
        lambda request: decided(request, obligations=(Obligation("require_reason", True),))
    )
    point = EnforcementPoint(decider, principal="agent")
    assert point.check("act", resource="a/b").effect is Effect.DENY
    assert point.check("act", resource="a/b", reason="the index is full").effect is Effect.ALLOW
    assert point.check("act", resource="a/b", context=Context(reason="full")).effect is Effect.ALLOW
    assert [each.context.reason for each in decider.requests] == ["", "the index is full", "full"]


def test_a_ticket_is_asked_for_by_name() -> None:
    decider = ScriptedDecider(lambda request: decided(request, ticket="a.b.c"))
    point = EnforcementPoint(decider, principal="agent")
    assert point.check("act", resource="a/b", ticket_for="deployer", ticket="CHG-7").ticket == "a.b.c"
    assert (decider.requests[0].ticket_for, decider.requests[0].context.ticket) == ("deployer", "CHG-7")
    asked: Any = 5
    assert point.check("act", resource="a/b", ticket_for=asked).effect is Effect.DENY


def test_a_sandbox_that_is_gone_by_then_is_missed() -> None:
    request = Request(Principal("agent"), "act", "a/b")
    with pytest.raises(RequestError, match="no sandbox `jail`"):
        confined(asking("jail")(request), lambda: None, {}, is_async=False)

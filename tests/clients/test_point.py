from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from agentguard.clients import EnforcementPoint
from agentguard.core import (
    TOKEN_PRINCIPAL,
    Context,
    Effect,
    Obligation,
    PlanStep,
    Principal,
    RequestError,
)
from scripted_decider import ScriptedDecider, decided

if TYPE_CHECKING:
    from collections.abc import Callable

AGENT = Principal("deploy-agent")


@pytest.fixture
def decider() -> ScriptedDecider:
    return ScriptedDecider()


@pytest.fixture
def point(decider: ScriptedDecider) -> EnforcementPoint:
    return EnforcementPoint(decider, principal=AGENT)


def test_check_asks_what_it_was_asked(decider: ScriptedDecider, point: EnforcementPoint) -> None:
    context = Context(session="old", task="t", attributes={"window": True})
    decision = point.check(
        "restart-deployment",
        resource="staging/api",
        params={"n": 1},
        context=context,
        session="s",
        correlation_id="c",
        ticket="T",
    )
    assert decision.effect is Effect.ALLOW
    (request,) = decider.requests
    assert (request.principal, request.action, request.resource) == (
        AGENT,
        "restart-deployment",
        "staging/api",
    )
    assert request.params == {"n": 1}
    assert request.context == Context(
        session="s", correlation_id="c", task="t", ticket="T", attributes={"window": True}
    )


def test_callers_params_are_copied_before_deciding(decider: ScriptedDecider, point: EnforcementPoint) -> None:
    params: dict[str, Any] = {"list": [1]}
    point.check("a", resource="b/c", params=params)
    params["list"].append(2)
    assert decider.requests[0].params == {"list": [1]}


@pytest.mark.parametrize(
    ("own", "given", "asked"),
    [
        (AGENT, None, AGENT),
        (AGENT, "other", Principal("other", roles=("found",))),
        (AGENT, Principal("given"), Principal("given")),
        ("deploy-agent", None, Principal("deploy-agent", roles=("found",))),
        (None, None, TOKEN_PRINCIPAL),
        (None, Principal("given"), Principal("given")),
    ],
)
def test_principal_of_the_call_stands_over_that_of_the_point(
    decider: ScriptedDecider, own: Any, given: Any, asked: Principal
) -> None:
    point = EnforcementPoint(
        decider, principal=own, find_principal=lambda name: Principal(name, roles=("found",))
    )
    point.check("a", resource="b/c", principal=given)
    assert decider.requests[0].principal == asked


def explode(*_: Any) -> Any:
    raise RuntimeError("password hunter2")


def refuse(*_: Any) -> Any:
    raise RequestError("unknown principal")


@pytest.mark.parametrize("decide", [explode, lambda _: None, lambda _: True, lambda _: "allow"])
def test_decider_that_fails_or_answers_nonsense_is_a_deny(
    decider: ScriptedDecider, point: EnforcementPoint, decide: Any, caplog: pytest.LogCaptureFixture
) -> None:
    decider.answer = decide
    with caplog.at_level(logging.DEBUG):
        decisions = [
            point.check("a", resource="b/c", correlation_id="c"),
            asyncio.run(point.acheck("a", resource="b/c", correlation_id="c")),
            *point.check_plan([PlanStep("a", "b/c")]),
        ]
    for decision in decisions:
        assert (decision.effect, decision.stage) == (Effect.DENY, "client")
        assert (decision.action, decision.resource) == ("a", "b/c")
        assert "hunter2" not in decision.reason
    assert decisions[0].correlation_id == "c"
    assert "hunter2" not in caplog.text
    assert "a check failed and is denied" in caplog.text


BAD_CALLS: list[tuple[dict[str, Any], str]] = [
    ({"params": {"x": b"secret"}}, "JSON cannot carry: bytes"),
    ({"params": {"x": object()}}, "JSON cannot carry"),
    ({"params": {1: 2}}, "key that is no text"),
    ({"params": [1]}, "not an object"),
    ({"params": {"x": float("nan")}}, "not finite"),
    ({"resource": None}, "are texts"),
    ({"action": 7}, "are texts"),
    ({"principal": 7}, "a principal is an id"),
    ({"context": {"session": "s"}}, "a context is a `Context`"),
]


@pytest.mark.parametrize(("change", "reason"), BAD_CALLS)
def test_malformed_check_is_a_deny_and_asks_nobody(
    decider: ScriptedDecider, point: EnforcementPoint, change: dict[str, Any], reason: str
) -> None:
    call: dict[str, Any] = {"action": "a", "resource": "b/c"} | change
    for decision in (point.check(**call), asyncio.run(point.acheck(**call))):
        assert decision.effect is Effect.DENY
        assert reason in decision.reason
        assert decision.params == {}
    assert decider.requests == []


def test_principal_that_is_not_found_is_a_deny(decider: ScriptedDecider) -> None:
    point = EnforcementPoint(decider, principal=AGENT, find_principal=refuse)
    assert point.check("a", resource="b/c", principal="x").reason == "unknown principal"


def test_unknown_obligation_is_a_deny(decider: ScriptedDecider, point: EnforcementPoint) -> None:
    decider.answer = lambda request: decided(request, obligations=(Obligation("sing"),))
    assert point.check("a", resource="b/c").effect is Effect.DENY
    assert point.check_plan([PlanStep("a", "b/c")])[0].effect is Effect.DENY


def test_decision_is_logged_at_the_level_it_asks_for(
    decider: ScriptedDecider, point: EnforcementPoint, caplog: pytest.LogCaptureFixture
) -> None:
    decider.answer = lambda request: decided(request, obligations=(Obligation("log_level", "error"),))
    point.check("a", resource="b/c", params={"secret": "hunter2"})
    (record,) = caplog.records
    assert (record.levelno, record.__dict__["action"]) == (logging.ERROR, "a@1")
    assert "hunter2" not in str(record.__dict__)


def test_interrupt_is_not_swallowed(decider: ScriptedDecider, point: EnforcementPoint) -> None:
    def interrupt(_: Any) -> Any:
        raise KeyboardInterrupt

    decider.answer = interrupt
    with pytest.raises(KeyboardInterrupt):
        point.check("a", resource="b/c")


def test_plan_takes_structs_and_mappings(decider: ScriptedDecider, point: EnforcementPoint) -> None:
    steps: list[PlanStep | dict[str, Any]] = [
        PlanStep("a", "b/c", {"x": 1}),
        {"action": "d", "resource": "e/f"},
    ]
    decisions = point.check_plan(steps, principal="other", context=Context(session="s"))
    assert [decision.action for decision in decisions] == ["a@1", "d@1"]
    assert [request.params for request in decider.requests] == [{"x": 1}, {}]
    assert {request.principal.id for request in decider.requests} == {"other"}
    assert {request.context.session for request in decider.requests} == {"s"}
    assert point.check_plan([]) == []


@pytest.mark.parametrize(
    "bad",
    [
        {"action": "a"},
        {"action": "a", "resource": "b/c", "surplus": 1},
        {"action": "a", "resource": "b/c", "params": {"x": b"secret"}},
        PlanStep("a", "b/c", {"x": object()}),
        PlanStep(7, "b/c"),  # type: ignore[arg-type]  # what must be refused
        7,
    ],
)
def test_plan_with_a_malformed_step_is_denied_whole(
    decider: ScriptedDecider, point: EnforcementPoint, bad: Any
) -> None:
    decisions = point.check_plan([PlanStep("a", "b/c"), bad])
    assert [decision.effect for decision in decisions] == [Effect.DENY] * 2
    assert decider.requests == []


def test_plan_with_fewer_decisions_is_denied_whole(decider: ScriptedDecider, point: EnforcementPoint) -> None:
    decider.plan_answer = lambda requests: [decided(requests[0])]
    decisions = point.check_plan([PlanStep("a", "b/c"), PlanStep("a", "b/d")])
    assert [decision.effect for decision in decisions] == [Effect.DENY] * 2


def test_async_check_awaits_a_decider_that_can_be_awaited() -> None:
    class Awaited(ScriptedDecider):
        async def adecide(self, request: Any, *, trace: bool = False) -> Any:
            await asyncio.sleep(0)
            return decided(request, reason=f"awaited, trace {trace}")

    point = EnforcementPoint(Awaited(), principal=AGENT)
    assert asyncio.run(point.acheck("a", resource="b/c")).reason == "awaited, trace False"


def test_async_check_does_not_block_the_loop(decider: ScriptedDecider, point: EnforcementPoint) -> None:
    async def main() -> Effect:
        loop = asyncio.get_running_loop()
        ran = asyncio.Event()

        def decide(request: Any) -> Any:
            # Only a loop that is not blocked can set the event while this thread waits for it.
            asyncio.run_coroutine_threadsafe(set_it(), loop).result(10)
            return decided(request)

        async def set_it() -> None:
            ran.set()

        decider.answer = decide
        decision = await point.acheck("a", resource="b/c")
        assert ran.is_set()
        return decision.effect

    assert asyncio.run(main()) is Effect.ALLOW


def test_leaving_the_context_closes_the_decider(decider: ScriptedDecider) -> None:
    with EnforcementPoint(decider, principal=AGENT) as point:
        assert point.check("a", resource="b/c").effect is Effect.ALLOW
    assert decider.is_closed
    assert point.check("a", resource="b/c").effect is Effect.DENY


@pytest.mark.parametrize("fail", [None, explode])
def test_report_never_raises(
    decider: ScriptedDecider,
    point: EnforcementPoint,
    fail: Callable[..., Any] | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    decider.on_outcome = fail
    decision = point.check("a", resource="b/c")
    point.report(decision, "succeeded")
    assert len(decider.outcomes) == (0 if fail else 1)
    assert ("an outcome is not recorded: RuntimeError" in caplog.text) == (fail is not None)
    assert "hunter2" not in caplog.text


def test_plan_in_something_else_than_a_context_is_denied(
    decider: ScriptedDecider, point: EnforcementPoint
) -> None:
    context: Any = {"session": "s"}
    assert point.check_plan([PlanStep("a", "b/c")], context=context)[0].effect is Effect.DENY
    assert decider.requests == []

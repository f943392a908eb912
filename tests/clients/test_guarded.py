from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from agentguard.clients import EnforcementPoint
from agentguard.core import (
    ActionDenied,
    ApprovalRequired,
    ConfigError,
    Context,
    Effect,
    ExecutionError,
    Obligation,
    Observation,
    Outcome,
    Principal,
    RequestError,
)
from scripted_decider import ScriptedDecider, decided

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

Call = Callable[..., Any]


@pytest.fixture
def decider() -> ScriptedDecider:
    return ScriptedDecider()


@pytest.fixture
def point(decider: ScriptedDecider) -> EnforcementPoint:
    return EnforcementPoint(decider, principal=Principal("deploy-agent"))


def run_sync(function: Call, *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


def run_async(function: Call, *args: Any, **kwargs: Any) -> Any:
    return asyncio.run(function(*args, **kwargs))


@pytest.fixture(params=["sync", "async"])
def mail(request: pytest.FixtureRequest, point: EnforcementPoint) -> tuple[Call, list[Any]]:
    """A guarded function that sends, in both kinds, and what it was called with."""
    sent: list[Any] = []

    def effect(to: str, subject: str, body: str, cc: str | None) -> str:
        sent.append((to, subject, body, cc))
        if body == "explode":
            raise ValueError("password hunter2")
        return f"sent {subject} to {to}"

    if request.param == "sync":

        @point.guarded("send-email", resource="mail/{to}")
        def send(to: str, subject: str = "hi", *, body: str = "", cc: str | None = None) -> str:
            return effect(to, subject, body, cc)

        return lambda *args, **kwargs: run_sync(send, *args, **kwargs), sent

    @point.guarded("send-email", resource="mail/{to}")
    async def asend(to: str, subject: str = "hi", *, body: str = "", cc: str | None = None) -> str:
        await asyncio.sleep(0)
        return effect(to, subject, body, cc)

    return lambda *args, **kwargs: run_async(asend, *args, **kwargs), sent


Mail = tuple[Call, list[Any]]


def test_allowed_call_runs_and_is_recorded(decider: ScriptedDecider, mail: Mail) -> None:
    send, sent = mail
    assert send("ann", body="text") == "sent hi to ann"
    assert sent == [("ann", "hi", "text", None)]
    (request,) = decider.requests
    assert (request.action, request.resource) == ("send-email", "mail/ann")
    assert request.params == {"to": "ann", "subject": "hi", "body": "text"}
    assert decider.outcomes == [Outcome("event-1", "succeeded", principal="deploy-agent")]


@pytest.mark.parametrize(
    ("effect", "error"), [(Effect.DENY, ActionDenied), (Effect.REQUIRE_APPROVAL, ApprovalRequired)]
)
def test_call_that_is_stopped_raises_with_the_decision(
    decider: ScriptedDecider, mail: Mail, effect: Effect, error: type[ActionDenied]
) -> None:
    send, sent = mail
    decider.answer = lambda request: decided(request, effect=effect, reason="not you")
    with pytest.raises(ActionDenied) as caught:
        send("ann")
    assert type(caught.value) is error
    assert caught.value.decision.reason == "not you"
    assert (sent, decider.outcomes) == ([], [])


def test_transform_calls_with_the_decided_params(decider: ScriptedDecider, mail: Mail) -> None:
    send, sent = mail
    params = {"to": "ann", "subject": "[checked]", "body": "", "cc": "audit"}
    decider.answer = lambda request: decided(request, effect=Effect.TRANSFORM, params=params)
    send("ann", "mine", body="mine", cc="mine")
    assert sent == [("ann", "[checked]", "", "audit")]


def test_a_ticket_is_asked_for_and_given_in_its_place(
    decider: ScriptedDecider, point: EnforcementPoint
) -> None:
    given = []

    @point.guarded("send-email", resource="mail/{to}", ticket_for="mailer")
    def send(to: str, ticket: str = "", subject: str = "hi") -> None:
        given.append((to, ticket, subject))

    decider.answer = lambda request: decided(request, ticket=f"for {request.ticket_for}")
    send("ann", subject="hello")
    assert given == [("ann", "for mailer", "hello")]
    # A decider that knows of no tickets lets nothing through.
    decider.answer = decided
    with pytest.raises(ActionDenied, match="carries no ticket"):
        send("ann")
    assert len(given) == 1
    assert [(each.status, each.detail) for each in decider.outcomes] == [
        ("succeeded", ""),
        ("refused", "the decision carries no ticket, and the executor needs one"),
    ]


def test_dropped_optional_param_is_absent_for_the_function_too(decider: ScriptedDecider, mail: Mail) -> None:
    send, sent = mail
    params = {"to": "ann", "subject": "s", "body": "b"}
    decider.answer = lambda request: decided(request, effect=Effect.TRANSFORM, params=params)
    send("ann", cc="mallory")
    assert sent == [("ann", "s", "b", None)]


MISFITS: list[tuple[dict[str, Any], str]] = [
    ({"action": "read-email@1"}, "to run `read-email@1`"),
    ({"params": {"to": "ann", "subject": "s"}}, "leaves out `body`"),
    ({"params": {"to": "ann", "subject": "s", "body": "", "bcc": "x"}}, "adds `bcc`"),
    ({"params": {"to": "bob", "subject": "s", "body": ""}}, "changes what the action is done to"),
    ({"resource": "mail/bob"}, "changes what the action is done to"),
    ({"params": {"to": "a/b", "subject": "s", "body": ""}}, "would change what the resource is"),
    ({"params": {"to": "ann", "subject": object(), "body": ""}}, "JSON cannot carry"),
]


@pytest.mark.parametrize(("change", "reason"), MISFITS)
def test_decision_that_the_function_cannot_carry_out_is_refused_and_recorded(
    decider: ScriptedDecider, mail: Mail, change: dict[str, Any], reason: str
) -> None:
    send, sent = mail
    decider.answer = lambda request: decided(request, effect=Effect.TRANSFORM, **change)
    with pytest.raises(ActionDenied) as caught:
        send("ann")
    assert caught.value.decision.effect is Effect.DENY
    assert reason in caught.value.decision.reason
    assert sent == []
    assert [outcome.status for outcome in decider.outcomes] == ["refused"]
    assert reason in decider.outcomes[0].detail


def test_error_of_the_function_comes_through_and_its_text_is_not_recorded(
    decider: ScriptedDecider, mail: Mail
) -> None:
    send, _ = mail
    with pytest.raises(ValueError, match="hunter2"):
        send("ann", body="explode")
    assert decider.outcomes == [Outcome("event-1", "failed", "ValueError", "deploy-agent")]


def test_obligations_are_carried_out_on_the_result(decider: ScriptedDecider, mail: Mail) -> None:
    send, _ = mail
    obligations = (Obligation("mask_output", ["ann"]), Obligation("max_bytes", 10))
    decider.answer = lambda request: decided(request, obligations=obligations)
    assert send("ann", "x") == "sent x to "
    assert decider.outcomes == [Outcome("event-1", "succeeded", principal="deploy-agent")]


@pytest.mark.parametrize("result", [object(), {1, 2}])
def test_result_that_does_not_fit_an_obligation_is_withheld(
    decider: ScriptedDecider, point: EnforcementPoint, result: Any
) -> None:
    decider.answer = lambda request: decided(request, obligations=(Obligation("mask_output", True),))

    @point.guarded("a", resource="b/c")
    def function() -> Any:
        return result

    with pytest.raises(ExecutionError):
        function()
    assert decider.outcomes == [Outcome("event-1", "failed", "obligation_failed", "deploy-agent")]


def test_unknown_obligation_stops_the_function(decider: ScriptedDecider, mail: Mail) -> None:
    send, sent = mail
    decider.answer = lambda request: decided(request, obligations=(Obligation("sing"),))
    with pytest.raises(ActionDenied, match="sing"):
        send("ann")
    assert sent == []


@pytest.mark.parametrize(
    ("args", "kwargs", "reason"),
    [
        (("a/b",), {}, "would change what the resource is"),
        (("..",), {}, "would change what the resource is"),
        ((b"ann",), {}, "JSON cannot carry: bytes"),
        (("ann",), {"body": object()}, "JSON cannot carry: object"),
        ((None,), {}, "names the resource"),
    ],
)
def test_arguments_that_cannot_be_decided_on_are_denied(
    decider: ScriptedDecider, mail: Mail, args: tuple[Any, ...], kwargs: dict[str, Any], reason: str
) -> None:
    send, sent = mail
    with pytest.raises(ActionDenied) as caught:
        send(*args, **kwargs)
    assert reason in caught.value.decision.reason
    assert (caught.value.decision.action, caught.value.decision.resource) == ("send-email", "mail/{to}")
    assert (sent, decider.requests) == ([], [])


def test_arguments_that_do_not_fit_raise_as_python_does(decider: ScriptedDecider, mail: Mail) -> None:
    send, _ = mail
    with pytest.raises(TypeError, match="missing a required argument: 'to'"):
        send()
    assert decider.requests == []


def test_failing_decider_stops_the_function(decider: ScriptedDecider, mail: Mail) -> None:
    send, sent = mail
    decider.answer = lambda _: None
    with pytest.raises(ActionDenied):
        send("ann")
    assert sent == []


def test_outcome_that_cannot_be_recorded_does_not_hide_the_result(
    decider: ScriptedDecider, mail: Mail
) -> None:
    def fail(_: Outcome) -> None:
        raise OSError

    decider.on_outcome = fail
    send, _ = mail
    assert send("ann") == "sent hi to ann"


def test_decision_without_a_record_has_no_outcome(decider: ScriptedDecider, mail: Mail) -> None:
    decider.answer = lambda request: decided(request, audit_id="")
    mail[0]("ann")
    assert decider.outcomes == []


def test_function_never_gets_the_callers_objects(decider: ScriptedDecider, point: EnforcementPoint) -> None:
    got: list[Any] = []

    @point.guarded("a", resource="b/c")
    def function(items: list[int]) -> None:
        got.append(items)
        items.append(4)

    mine = [1]

    def change_mine(request: Any) -> Any:
        decision = decided(request)
        mine.append(666)
        return decision

    decider.answer = change_mine
    function(mine)
    assert got == [[1, 4]]
    assert mine == [1, 666]
    assert decider.requests[0].params == {"items": [1]}


def test_keywords_positional_only_and_rest_are_bound_by_name(
    decider: ScriptedDecider, point: EnforcementPoint
) -> None:
    @point.guarded("a", resource="b/{first}")
    def function(first: str, /, second: int = 2, **rest: Any) -> Any:
        return first, second, rest

    assert function("x", second=3, extra=[1]) == ("x", 3, {"extra": [1]})
    assert decider.requests[0].params == {"first": "x", "second": 3, "extra": [1]}
    decider.answer = lambda request: decided(
        request, effect=Effect.TRANSFORM, params={"first": "x", "second": 2, "added": 1}
    )
    assert function("x", extra=[1]) == ("x", 2, {"added": 1})


def test_two_arguments_of_one_name_are_denied(decider: ScriptedDecider, point: EnforcementPoint) -> None:
    @point.guarded("a", resource="b/{first}", params={"fixed": 1})
    def function(first: str, /, **rest: Any) -> None:
        raise AssertionError(first, rest)

    for kwargs in ({"first": "y"}, {"fixed": 2}):
        with pytest.raises(ActionDenied, match="two arguments have the same name"):
            function("x", **kwargs)
    assert decider.requests == []


def test_method_gets_its_own_object(decider: ScriptedDecider, point: EnforcementPoint) -> None:
    class Box:
        @point.guarded("a", resource="b/{name}")
        def method(self, name: str) -> Any:
            return self, name

        @classmethod
        @point.guarded("a", resource="b/{name}")
        def of_class(cls, name: str) -> Any:
            return cls, name

    box = Box()
    assert box.method("x") == (box, "x")
    assert Box.of_class(name="x") == (Box, "x")
    assert [request.params for request in decider.requests] == [{"name": "x"}] * 2


def test_fixed_params_are_decided_on_and_not_passed(
    decider: ScriptedDecider, point: EnforcementPoint
) -> None:
    @point.guarded(
        "restart-deployment@2",
        resource="{namespace}/{deployment}",
        params={"namespace": "prod"},
        principal="other",
        context=Context(task="t"),
    )
    def restart(deployment: str) -> str:
        return deployment

    decider.answer = lambda request: decided(request, action="restart-deployment@2")
    assert restart("api") == "api"
    (request,) = decider.requests
    assert request.params == {"namespace": "prod", "deployment": "api"}
    assert (request.resource, request.principal.id, request.context.task) == ("prod/api", "other", "t")
    for params in ({"deployment": "api"}, {"deployment": "api", "namespace": "dev"}):
        decider.answer = partial(decided, action="restart-deployment@2", params=params)
        with pytest.raises(ActionDenied, match="changes `namespace`"):
            restart("api")


@pytest.mark.parametrize("action", ["restart-deployment@1", "restart-deployment-all@2"])
def test_another_version_of_a_versioned_action_is_refused(
    decider: ScriptedDecider, point: EnforcementPoint, action: str
) -> None:
    decider.answer = lambda request: decided(request, action=action)

    @point.guarded("restart-deployment@2", resource="b/c")
    def function() -> None:
        raise AssertionError("must not run")

    with pytest.raises(ActionDenied, match="this function does not do"):
        function()


def test_guarded_function_looks_like_the_one_it_guards(point: EnforcementPoint) -> None:
    @point.guarded("a", resource="b/c")
    def function(x: int = 1) -> int:
        """Docs."""
        return x

    assert (function.__name__, function.__doc__) == ("function", "Docs.")
    assert str(inspect.signature(function)) == "(x: 'int' = 1) -> 'int'"


def test_callable_object_can_be_guarded(point: EnforcementPoint) -> None:
    class Tool:
        async def __call__(self, x: int) -> int:
            return x + 1

    assert asyncio.run(point.guarded("a", resource="b/c")(Tool())(1)) == 2


def generator() -> Generator[int]:
    yield 1


async def async_generator() -> AsyncGenerator[int]:
    yield 1


def with_args(*args: int) -> None:
    raise AssertionError(args)


def plain(x: int) -> int:
    return x


@pytest.mark.parametrize(
    ("function", "change", "reason"),
    [
        (with_args, {}, r"`\*args` cannot be guarded"),
        (generator, {}, "no generator"),
        (async_generator, {}, "no generator"),
        (7, {}, "function with a signature"),
        (plain, {"action": "Restart"}, "action 'Restart'"),
        (plain, {"resource": "b/{y}"}, "`y`, which is no parameter"),
        (plain, {"resource": "b/../c"}, "segment"),
        (plain, {"params": {"x": 1}}, "also a parameter"),
        (plain, {"params": {"y": object()}}, "JSON cannot carry"),
    ],
)
def test_what_cannot_be_guarded_is_refused_when_decorating(
    point: EnforcementPoint, function: Any, change: dict[str, Any], reason: str
) -> None:
    declared: dict[str, Any] = {"action": "a", "resource": "b/c"} | change
    with pytest.raises(ConfigError, match=reason):
        point.guarded(declared.pop("action"), **declared)(function)


def test_interrupt_in_the_function_is_recorded_and_comes_through(
    decider: ScriptedDecider, point: EnforcementPoint
) -> None:
    @point.guarded("a", resource="b/c")
    def function() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        function()
    assert decider.outcomes == [Outcome("event-1", "failed", "KeyboardInterrupt", "deploy-agent")]


def test_cancelled_coroutine_is_recorded_as_failed(decider: ScriptedDecider, point: EnforcementPoint) -> None:
    started = asyncio.Event()

    @point.guarded("a", resource="b/c")
    async def function() -> None:
        started.set()
        await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(function())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert decider.outcomes == [Outcome("event-1", "failed", "CancelledError", "deploy-agent")]


def test_closed_coroutine_is_recorded_as_failed(decider: ScriptedDecider, point: EnforcementPoint) -> None:
    class Direct(ScriptedDecider):
        async def adecide(self, request: Any, *, trace: bool = False) -> Any:
            return decided(request, reason=f"trace {trace}")

    direct = Direct()

    @EnforcementPoint(direct, principal=None).guarded("a", resource="b/c")
    async def function() -> None:
        await asyncio.sleep(0)

    coroutine = function()
    coroutine.send(None)
    coroutine.close()
    assert direct.outcomes == [Outcome("event-1", "failed", "GeneratorExit")]


def test_result_and_error_are_reported_as_the_agent_sees_them(
    decider: ScriptedDecider, point: EnforcementPoint
) -> None:
    decider.answer = lambda request: decided(request, obligations=(Obligation("max_bytes", 4),))
    function = point.guarded("a", resource="b/c", context=Context(session="s"))(lambda: "long text")
    seen = function()
    failing = point.guarded("a", resource="b/c")(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        failing()
    first, second = decider.observations
    assert (first.result, first.session, first.action) == (seen, "s", "a@1")
    assert (second.error, second.session) == ("division by zero", "")


@pytest.mark.parametrize("fails", [False, True])
def test_what_cannot_be_reported_is_not_passed_on(
    decider: ScriptedDecider, point: EnforcementPoint, *, fails: bool
) -> None:
    def lose(_seen: Observation) -> None:
        raise RequestError("the sidecar is gone")

    decider.on_observe = lose

    @point.guarded("a", resource="b/c")
    def function() -> str:
        if fails:
            raise ValueError("hostile text")
        return "hostile text"

    with pytest.raises(ExecutionError, match="could not be reported") as caught:
        function()
    assert caught.value.code == "observation_lost"
    assert "hostile" not in str(caught.value)
    assert [each.status for each in decider.outcomes] == ["failed" if fails else "succeeded"]


def test_interrupt_is_not_held_up_by_a_report(decider: ScriptedDecider, point: EnforcementPoint) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        point.guarded("a", resource="b/c")(interrupt)()
    assert decider.observations == []

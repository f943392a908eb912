"""What a guarded client asks before it sends, and what the caller gets when the answer is no."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest

from agentguard.core import Effect, Obligation, Outcome, Request
from llm_clients import ASK, CUT, SDK, TOOLS, WAYS, Way, World, deny
from llm_upstream import KEY, Reply, ToolUse
from scripted_decider import decided

if TYPE_CHECKING:
    from agentguard.clients.llm import LlmGuard
    from agentguard.core import Decision

every_way = pytest.mark.parametrize("way", list(WAYS.values()), ids=list(WAYS))
HELLO = "Hello there, how can I help?"


def tools_denied(world: World, **options: Any) -> LlmGuard:
    world.decider.answer = deny("bad")
    world.upstream.script(TOOLS)
    return world.guard(**options)


@every_way
def test_a_call_is_decided_sent_and_reported(world: World, way: Way) -> None:
    assert way.call(world, world.guard()) == (HELLO, [])
    assert world.asked() == [("llm.chat", "llm/127.0.0.1/m")]
    request = world.decider.requests[0]
    assert request.context.session == "s-1"
    assert request.principal.id == "helper"
    assert request.params["input"] == [{"role": "user", "text": "Hello"}]
    assert len(world.upstream.calls) == 1
    assert world.upstream.calls[0].key == KEY
    assert [each.status for each in world.decider.outcomes] == ["succeeded"]


@every_way
@pytest.mark.parametrize(
    ("effect", "code"), [(Effect.DENY, "action_denied"), (Effect.REQUIRE_APPROVAL, "approval_required")]
)
def test_a_denied_call_is_the_sdks_own_error_and_never_sent(
    world: World, way: Way, effect: Effect, code: str
) -> None:
    world.decider.answer = deny("llm.chat", effect=effect)
    with pytest.raises(SDK[way.sdk].PermissionDeniedError) as caught:
        way.call(world, world.guard())
    error: Any = caught.value
    assert error.status_code == 403
    assert error.response.headers["x-should-retry"] == "false"
    detail = error.response.json()["error"]
    assert (detail["code"], detail["reason"], detail["decision_id"]) == (code, "no such thing", "event-1")
    assert "no such thing (rule `never`, decision event-1)" in str(error)
    assert world.upstream.calls == []


@pytest.mark.parametrize("stage", ["budget", "breaker"])
def test_a_limit_is_a_rate_limit_error_and_not_retried(world: World, stage: str) -> None:
    world.decider.answer = deny("llm.chat", stage=stage)
    with pytest.raises(openai.RateLimitError):
        world.openai(max_retries=3).chat.completions.create(model="m", messages=ASK)
    with pytest.raises(SDK["anthropic"].RateLimitError):
        world.anthropic(max_retries=3).messages.create(model="m", max_tokens=9, messages=ASK)
    assert len(world.decider.requests) == 2


@every_way
@pytest.mark.parametrize("mode", ["tap", "window", "buffer"])
def test_a_proposed_tool_call_is_decided_before_the_caller_sees_it(world: World, way: Way, mode: str) -> None:
    guard = tools_denied(world, stream=mode)
    with pytest.raises(SDK[way.sdk].PermissionDeniedError) as caught:
        way.call(world, guard)
    assert "no such thing" in str(caught.value)
    assert world.asked()[1:] == [("good", "tool/good"), ("bad", "tool/bad")]
    assert world.decider.requests[-1].params == {"y": 2}


@every_way
@pytest.mark.parametrize("mode", ["tap", "window", "buffer"])
def test_a_redacted_answer_has_a_refusal_in_place_of_the_call(world: World, way: Way, mode: str) -> None:
    text, names = way.call(world, tools_denied(world, stream=mode, on_denied="redact"))
    assert names == ["good"]
    assert text.startswith(HELLO)
    assert "[The call of `bad` was denied: no such thing (rule `never`, decision event-1)]" in text


@every_way
def test_a_transformed_tool_call_has_the_decided_arguments(world: World, way: Way) -> None:
    def answer(request: Request) -> Decision:
        if request.action != "bad":
            return decided(request)
        return decided(request, effect=Effect.TRANSFORM, params={"y": 1})

    world.decider.answer = answer
    world.upstream.script(TOOLS)
    assert way.call(world, world.guard())[1] == ["good", "bad"]


def test_arguments_are_those_that_were_decided(world: World) -> None:
    world.decider.answer = lambda request: (
        decided(request, effect=Effect.TRANSFORM, params={"y": 1})
        if request.action == "bad"
        else decided(request)
    )
    world.upstream.script(TOOLS, TOOLS)
    calls = world.openai().chat.completions.create(model="m", messages=ASK).choices[0].message.tool_calls
    assert [call.function.arguments for call in calls] == ['{"x": 1}', '{"y":1}']
    with world.anthropic().messages.stream(model="m", max_tokens=9, messages=ASK) as stream:
        blocks = stream.get_final_message().content
    assert [block.input for block in blocks[1:]] == [{"x": 1}, {"y": 1}]


@pytest.mark.parametrize("arguments", ["{", "[1]", '{"a": 1, "a": 2}', '{"a": 1e999}'])
def test_arguments_that_nobody_can_read_are_denied(world: World, arguments: str) -> None:
    world.upstream.script(Reply(tools=(ToolUse("good", arguments),)))
    with pytest.raises(openai.PermissionDeniedError):
        world.openai().chat.completions.create(model="m", messages=ASK)


def test_a_transform_is_written_into_the_request(world: World) -> None:
    def answer(request: Request) -> Decision:
        params = request.params | {"max_output_tokens": 5, "model": "small"}
        return decided(request, effect=Effect.TRANSFORM, params=params)

    world.decider.answer = answer
    world.openai().chat.completions.create(model="big", messages=ASK)
    world.anthropic().messages.create(model="big", max_tokens=9, messages=ASK)
    assert world.upstream.calls[0].json == {"model": "small", "messages": ASK, "max_completion_tokens": 5}
    assert world.upstream.calls[1].json == {"model": "small", "messages": ASK, "max_tokens": 5}
    # The other model is asked for as well.
    assert [resource for _, resource in world.asked()][:2] == ["llm/127.0.0.1/big", "llm/127.0.0.1/small"]


def test_another_model_must_be_allowed_itself(world: World) -> None:
    def answer(request: Request) -> Decision:
        if request.resource.endswith("small"):
            return decided(request, effect=Effect.DENY, reason="not this one")
        return decided(request, effect=Effect.TRANSFORM, params=request.params | {"model": "small"})

    world.decider.answer = answer
    with pytest.raises(openai.PermissionDeniedError, match="not this one"):
        world.openai().chat.completions.create(model="big", messages=ASK)
    assert world.upstream.calls == []


@pytest.mark.parametrize(
    "change",
    [
        {"effect": Effect.TRANSFORM, "params": {"model": "m"}},
        {"action": "llm.embed@1"},
        {"resource": "llm/openai/other"},
    ],
)
def test_a_decision_that_cannot_be_carried_out_stops_the_call(world: World, change: dict[str, Any]) -> None:
    world.decider.answer = lambda request: decided(request, **change)
    with pytest.raises(openai.PermissionDeniedError, match="the decision changes"):
        world.openai().chat.completions.create(model="m", messages=ASK)
    assert world.upstream.calls == []
    assert [each.status for each in world.decider.outcomes] == ["refused"]


@every_way
def test_texts_are_masked_as_the_decision_says(world: World, way: Way) -> None:
    mask = (Obligation("mask_output", ["how can I [a-z]+"]),)
    world.decider.answer = lambda request: decided(request, obligations=mask)
    assert way.call(world, world.guard()) == ("Hello there, [masked]?", [])


def test_hosted_tools_are_decided_before_the_call(world: World) -> None:
    world.decider.answer = deny("llm.hosted-tool")
    with pytest.raises(openai.PermissionDeniedError):
        world.openai().responses.create(model="m", input="x", tools=[{"type": "web_search"}])
    assert world.asked()[-1] == ("llm.hosted-tool", "llm/127.0.0.1/hosted-tools/web_search")
    assert world.decider.requests[-1].params == {"tool": "web_search", "model": "m"}
    assert world.upstream.calls == []


def test_other_apis_are_decided_too(world: World) -> None:
    client = world.openai()
    client.models.list()
    client.models.retrieve("gpt-5.4")
    client.embeddings.create(model="e", input=["a", "b"], encoding_format="float")
    client.moderations.create(input="x")
    client.files.create(file=b"x", purpose="batch")
    assert world.asked() == [
        ("llm.models", "llm/127.0.0.1/any"),
        ("llm.models", "llm/127.0.0.1/gpt-5.4"),
        ("llm.embed", "llm/127.0.0.1/e"),
        ("llm.moderate", "llm/127.0.0.1/unknown"),
        ("llm.api", "llm/127.0.0.1/api"),
    ]
    assert world.decider.requests[-1].params["path"] == "/v1/files"


def test_a_host_has_the_provider_that_is_said(world: World) -> None:
    world.openai(world.guard(hosts={"127.0.0.1": "openai"})).chat.completions.create(model="m", messages=ASK)
    assert world.asked() == [("llm.chat", "llm/openai/m")]


@pytest.mark.parametrize(
    ("reply", "error", "outcome"),
    [
        (Reply(status=429, error="rate_limit_exceeded"), openai.RateLimitError, "failed"),
        (Reply(status=500), openai.InternalServerError, "failed"),
        (Reply(cut_after=10), openai.APIConnectionError, "failed"),
        (Reply(raw=b"{"), openai.InternalServerError, "succeeded"),
    ],
)
def test_the_providers_errors_stay_the_sdks_errors(
    world: World, reply: Reply, error: type[Exception], outcome: str
) -> None:
    world.upstream.script(reply)
    with pytest.raises(error):
        world.openai().chat.completions.create(model="m", messages=ASK)
    assert [each.status for each in world.decider.outcomes] == [outcome]


def test_each_attempt_is_decided(world: World) -> None:
    world.upstream.script(Reply(status=500, headers={"retry-after-ms": "1"}))
    world.openai(max_retries=1).chat.completions.create(model="m", messages=ASK)
    assert len(world.decider.requests) == len(world.upstream.calls) == 2
    assert [each.status for each in world.decider.outcomes] == ["failed", "succeeded"]


def test_a_stream_that_breaks_off_is_reported(world: World) -> None:
    world.upstream.script(Reply(cut_after=3))
    with pytest.raises(CUT):
        list(world.openai().chat.completions.create(model="m", messages=ASK, stream=True))
    assert world.decider.outcomes[-1].status == "failed"
    assert world.decider.observations[-1].result[0] == "Hello"


def test_a_stream_that_the_caller_closes_is_hung_up_on(world: World) -> None:
    world.upstream.script(Reply(endless=True))
    stream = world.openai().chat.completions.create(model="m", messages=ASK, stream=True)
    next(iter(stream))
    stream.close()
    assert world.upstream.calls[-1].gone.wait(10)
    assert world.decider.outcomes == [Outcome("event-1", "failed", "the caller closed the stream", "helper")]


@pytest.mark.parametrize("raw", [b"data: {\n\n", b"data: [1]\n\n"])
def test_a_broken_stream_ends_in_an_error(world: World, raw: bytes) -> None:
    world.upstream.script(Reply(raw=raw))
    with pytest.raises(openai.InternalServerError, match="answer_unreadable"):
        list(world.openai().chat.completions.create(model="m", messages=ASK, stream=True))


@every_way
def test_compressed_answers_are_looked_into(world: World, way: Way) -> None:
    world.decider.answer = deny("bad")
    world.upstream.script(Reply(tools=(ToolUse("bad"),), gzip=True))
    text, names = way.call(world, world.guard(on_denied="redact"))
    assert names == []
    assert "was denied" in text

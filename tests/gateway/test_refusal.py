from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

import gateway_world
import sidecar
from agentguard.core import AttemptState, Effect, EventError, Obligation
from llm_upstream import Reply, Upstream
from scripted_decider import decided

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agentguard.core import Decision, Request
    from gateway_world import GatewayWorld

HELLO: Any = [{"role": "user", "content": "Hello"}]
BODY = {"model": "gpt-5.4", "messages": HELLO}
CHAT = "/openai/v1/chat/completions"


def test_denial_is_the_sdks_own_permission_error_and_is_not_retried(
    world: GatewayWorld, upstream: Upstream
) -> None:
    import anthropic
    import openai

    world.decider.answer = lambda request: decided(
        request, effect=Effect.DENY, reason="no models today", rule="no-models", audit_id="event-9"
    )
    with pytest.raises(openai.PermissionDeniedError, match="no models today") as denied:
        world.openai(max_retries=3).chat.completions.create(model="gpt-5.4", messages=HELLO)
    body: Any = denied.value.body
    assert (body["code"], body["decision_id"], body["rule"]) == ("action_denied", "event-9", "no-models")
    with pytest.raises(anthropic.PermissionDeniedError, match=r"rule `no-models`, decision event-9"):
        world.anthropic(max_retries=3).messages.create(model="claude-test", max_tokens=9, messages=HELLO)
    assert len(world.decider.requests) == 2
    assert (upstream.calls, world.entries()) == ([], [])


def test_exhausted_budget_is_the_sdks_rate_limit_error_and_is_not_retried(
    tmp_path: Path, upstream: Upstream
) -> None:
    import openai

    upstream.calls.clear()
    text = "budgets:\n  - {id: few, scope: agent, window: total, unit: calls, limit: 1}\n"
    with gateway_world.running(tmp_path, upstream, budgets=text) as world:
        client = world.openai(max_retries=3)
        client.chat.completions.create(model="gpt-4o", messages=HELLO, max_tokens=10)
        with pytest.raises(openai.RateLimitError) as denied:
            client.chat.completions.create(model="gpt-4o", messages=HELLO, max_tokens=10)
        body: Any = denied.value.body
        assert (body["code"], body["rule"]) == ("budget_exceeded", "few")
        assert denied.value.response.headers["x-should-retry"] == "false"
        assert len(upstream.calls) == 1
        assert [each.status for each in world.decider.outcomes] == ["succeeded", "failed"]
        assert world.decider.outcomes[1].detail == "not sent: budget_exceeded"


def test_a_budget_of_each_task_that_is_full_says_when_its_window_ends(
    tmp_path: Path, upstream: Upstream
) -> None:
    text = "budgets:\n  - {id: few, scope: task, window: daily, unit: calls, limit: 1}\n"
    with gateway_world.running(tmp_path, upstream, budgets=text) as world:
        asked = [world.ask(CHAT, BODY, x_agentguard_task=task) for task in ("t-1", "t-1", "t-2")]
        assert [each.status for each in asked] == [200, 429, 200]
        assert int(asked[1].headers["retry-after"]) > 0
        assert asked[1].headers["x-should-retry"] == "false"
        reason = asked[1].json()["error"]["reason"]
        assert "1 call of 1 call used, 1 call needed; its window ends" in reason
        assert [entry.spender.task for entry in world.entries()] == ["t-1", "t-2"]
        assert [each.context.task for each in world.decider.requests] == ["t-1", "t-1", "t-2"]


def test_output_limit_of_the_budget_is_written_and_shown(tmp_path: Path, upstream: Upstream) -> None:
    upstream.calls.clear()
    text = "budgets:\n  - {id: usd, scope: agent, window: daily, unit: usd, limit: 100}\n"
    with gateway_world.running(tmp_path, upstream, budgets=text) as world:
        reply = world.ask(CHAT, {**BODY, "model": "gpt-4o"})
    assert reply.headers["x-agentguard-changed"] == "max_output_tokens"
    assert upstream.calls[0].json["max_completion_tokens"] == 16_384
    assert "no output limit was set" in world.decider.outcomes[0].detail


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "token_missing"),
        ({"Authorization": "Bearer wrong"}, 401, "token_signature"),
        ({"Authorization": "Bearer expired"}, 401, "token_expired"),
        ({"Authorization": "Basic YTpi"}, 401, "token_missing"),
        ({"api-key": "agent-token", "x-api-key": "other"}, 401, "token_invalid"),
        ({"api-key": "agent-token", "x-agentguard-session": "a b"}, 400, "session_id_invalid"),
        ({"api-key": "agent-token", "x-agentguard-session": "s" * 129}, 400, "session_id_invalid"),
        ({"api-key": "agent-token", "x-agentguard-task": "a b"}, 400, "task_id_invalid"),
    ],
)
def test_caller_that_proves_nobody_is_refused(
    world: GatewayWorld, upstream: Upstream, headers: dict[str, str], status: int, code: str
) -> None:
    reply = world.world.ask("POST", CHAT, BODY, None, headers)
    assert (reply.status, reply.code) == (status, code)
    assert (upstream.calls, world.decider.requests) == ([], [])
    assert world.world.rejected.seen[-1][1] == code


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/openai/v1/fine_tuning/jobs"),
        ("POST", "/openai/v1/../v1/chat/completions"),
        ("POST", "/openai/v1//chat/completions"),
        ("POST", "/openai/v1/chat%2Fcompletions/../x"),
        ("POST", "/openai/v1/chat/completions/"),
        ("GET", "/openai/v1/chat/completions"),
        ("POST", "/openai/deployments/../chat/completions"),
        ("POST", "/anthropic/v1/complete"),
        ("POST", "/anthropic/v2/messages"),
        ("GET", "/openai/v1/models/a/../../files"),
    ],
)
def test_what_is_not_served_is_not_found(
    world: GatewayWorld, upstream: Upstream, method: str, path: str
) -> None:
    reply = world.ask(path, BODY, method=method)
    assert (reply.status, reply.code) == (404, "route_unknown")
    assert upstream.calls == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'"x"',
        b"\xff",
        b'{"model": "a", "Model": "b"}',
        b'{"model": "a", "TOOLS": []}',
        b"[" * 9999,
    ],
)
def test_body_that_readers_could_read_differently_is_refused(world: GatewayWorld, body: bytes) -> None:
    reply = world.ask(CHAT, body)
    assert (reply.status, reply.code) == (400, "json_invalid")


def test_of_two_equal_keys_the_provider_gets_the_one_that_was_decided(
    world: GatewayWorld, upstream: Upstream
) -> None:
    body = b'{"model": "dear", "messages": [], "model": "gpt-5.4"}'
    assert world.ask(CHAT, body).status == 200
    assert upstream.calls[0].body.count(b"model") == 1
    assert world.decider.requests[0].params["model"] == upstream.calls[0].json["model"] == "gpt-5.4"


def test_query_with_odd_characters_is_refused(world: GatewayWorld) -> None:
    assert world.ask(CHAT + "?api-version=" + "1" * 3000, BODY).code == "http_invalid"


def test_body_beyond_the_limit_is_refused_before_it_is_read(tmp_path: Path, upstream: Upstream) -> None:
    with gateway_world.running(tmp_path, upstream, settings={"max_body_bytes": 2000}) as world:
        assert world.ask(CHAT, {**BODY, "user": "x" * 1000}).status == 200
        reply = world.ask(CHAT, {**BODY, "user": "x" * 3000})
        assert (reply.status, reply.code) == (413, "body_too_large")
        head = b"POST /openai/v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % world.world.port
        claimed = sidecar.raw(world.world.port, head + b"Content-Length: 104857600\r\n\r\n")
        assert claimed.startswith(b"HTTP/1.1 413")
        assert b'"type":"agentguard_error"' in claimed


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"X-Folded: a\r\n b\r\nContent-Length: 5\r\n",
        b"Content-Length : 5\r\n",
        b"Content-Length: +5\r\n",
    ],
)
def test_shapes_that_smuggle_requests_never_reach_the_provider(
    world: GatewayWorld, upstream: Upstream, headers: bytes
) -> None:
    inner = b"0\r\n\r\nPOST /openai/v1/embeddings HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n"
    host = b"Host: 127.0.0.1:%d\r\nAuthorization: Bearer agent-token\r\n" % world.world.port
    request = b"POST /openai/v1/chat/completions HTTP/1.1\r\n" + host + headers + b"\r\n" + inner
    answer = sidecar.raw(world.world.port, request, until=lambda got: b"\r\n\r\n" in got)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 413"))
    assert upstream.calls == []


def test_model_that_nobody_serves_is_not_found(tmp_path: Path, upstream: Upstream) -> None:
    import openai

    only = {"main": {"kind": "openai", "models": ("gpt-*",)}}
    with gateway_world.running(tmp_path, upstream, upstream_settings=only) as world:
        with pytest.raises(openai.NotFoundError, match="no upstream of the gateway serves `o9`"):
            world.openai().chat.completions.create(model="o9", messages=HELLO)
        assert world.decider.requests == []


def _on_model(model: str, request: Request) -> Decision:
    return decided(request, effect=Effect.TRANSFORM, params={**request.params, "model": model})


def test_decision_on_another_model_is_sent_or_refused_by_who_serves_it(
    tmp_path: Path, upstream: Upstream
) -> None:
    upstream.calls.clear()
    only = {"main": {"kind": "openai", "models": ("gpt-*",)}}
    with gateway_world.running(tmp_path, upstream, upstream_settings=only) as world:
        for model, status in (("gpt-5.4-mini", 200), ("o9", 403)):
            world.decider.answer = partial(_on_model, model)
            assert world.ask(CHAT, BODY).status == status
        assert [call.json["model"] for call in upstream.calls] == ["gpt-5.4-mini"]


def test_transform_that_cannot_be_carried_out_is_a_denial(world: GatewayWorld, upstream: Upstream) -> None:
    world.decider.answer = lambda request: decided(
        request, effect=Effect.TRANSFORM, params={**request.params, "input": []}
    )
    reply = world.ask(CHAT, BODY)
    assert (reply.status, reply.code) == (403, "action_denied")
    assert [each.status for each in world.decider.outcomes] == ["failed"]
    assert upstream.calls == []


@pytest.mark.parametrize("stream", [False, True])
def test_obligation_on_the_answer_is_carried_out(
    world: GatewayWorld,
    upstream: Upstream,
    stream: bool,  # noqa: FBT001 - parametrised
) -> None:
    upstream.script(Reply(text="Call 555-1234 now"))
    world.decider.answer = lambda request: decided(
        request, obligations=(Obligation("mask_output", (r"\d{3}-\d{4}",)),)
    )
    reply = world.ask(CHAT, {**BODY, "stream": stream})
    assert b"1234" not in reply.body
    assert b"[masked]" in reply.body


@pytest.mark.parametrize("where", ["prompt", "answer"])
def test_what_cannot_be_reported_is_not_passed_on(world: GatewayWorld, where: str) -> None:
    def fail(_: object) -> None:
        raise EventError("the store is full")

    fails: Callable[[Any], Any] = fail
    world.decider.on_observe = fails
    extra = [{"role": "tool", "tool_call_id": "c", "content": "x"}] if where == "prompt" else []
    reply = world.ask(CHAT, {**BODY, "messages": [*HELLO, *extra]})
    assert (reply.status, reply.code) == (503, "observation_lost")
    assert world.states() == ([] if where == "prompt" else [AttemptState.SETTLED])


def test_decider_that_breaks_its_contract_is_a_clean_error(
    world: GatewayWorld, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: object) -> Any:
        raise KeyError("a secret prompt")

    world.decider.answer = broken
    reply = world.ask(CHAT, BODY)
    assert (reply.status, reply.code) == (500, "internal_error")
    assert "a secret prompt" not in caplog.text + reply.body.decode()


def test_answers_of_the_gateway_wait_for_the_disk_in_threads(tmp_path: Path, upstream: Upstream) -> None:
    with gateway_world.running(tmp_path, upstream, blocking=True) as world:
        assert world.ask(CHAT, BODY).status == 200
        assert world.states() == [AttemptState.SETTLED]

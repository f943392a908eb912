from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gateway_world
import sidecar
from agentguard.core import AttemptState, Unit
from llm_upstream import KEY

if TYPE_CHECKING:
    from gateway_world import GatewayWorld
    from llm_upstream import Upstream

HELLO: Any = [{"role": "user", "content": "Hello"}]


def test_openai_chat_is_decided_sent_with_the_providers_key_and_booked(
    world: GatewayWorld, upstream: Upstream
) -> None:
    answer = world.openai().chat.completions.create(model="gpt-5.4", messages=HELLO)
    assert answer.choices[0].message.content == "Hello there, how can I help?"
    (request,) = world.decider.requests
    assert (request.principal.id, request.action, request.resource) == (
        "deploy-agent",
        "llm.chat",
        "llm/openai/gpt-5.4",
    )
    (call,) = upstream.calls
    assert (call.key, call.path) == (KEY, "/v1/chat/completions")
    assert gateway_world.TOKEN not in str(call.headers)
    assert call.json["messages"] == HELLO
    (entry,) = world.entries()
    assert (entry.state, entry.usage.input_tokens, entry.usage.output_tokens) == (AttemptState.SETTLED, 9, 12)
    assert entry.spender.agent == "deploy-agent"
    assert entry.spender.key == "jti-1"
    assert [outcome.status for outcome in world.decider.outcomes] == ["succeeded"]
    (seen,) = world.decider.observations
    assert (seen.action, seen.result) == ("llm.chat@1", ["Hello there, how can I help?"])


def test_openai_stream_is_relayed_byte_by_byte_without_the_usage_that_nobody_asked_for(
    world: GatewayWorld, upstream: Upstream
) -> None:
    with world.openai().chat.completions.create(model="gpt-5.4", messages=HELLO, stream=True) as stream:
        chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello there, how can I help?"
    assert all(chunk.usage is None for chunk in chunks)
    assert upstream.calls[0].json["stream_options"] == {"include_usage": True}
    (entry,) = world.entries()
    assert (entry.state, entry.usage.output_tokens, entry.estimated) == (AttemptState.SETTLED, 12, False)


def test_stream_bytes_are_the_providers_own(world: GatewayWorld, upstream: Upstream) -> None:
    body = {"model": "gpt-5.4", "messages": HELLO, "stream": True, "stream_options": {"include_usage": True}}
    direct = _post(upstream.port, "/v1/chat/completions", body, KEY)
    reply = world.ask("/openai/v1/chat/completions", body)
    assert reply.body == direct
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"


def _post(port: int, path: str, body: object, key: str) -> bytes:
    return sidecar.World(port=port).ask("POST", path, body, key).body


def test_responses_embeddings_moderations_and_models_pass(world: GatewayWorld) -> None:
    client = world.openai()
    assert (
        client.responses.create(model="gpt-5.4", input="Hello").output_text == "Hello there, how can I help?"
    )
    events = list(client.responses.create(model="gpt-5.4", input="Hello", stream=True))
    assert events[-1].type == "response.completed"
    vectors = client.embeddings.create(model="text-embedding-3-small", input="Hello", encoding_format="float")
    assert vectors.data[0].embedding == [0.5, -0.25, 1.0]
    assert client.moderations.create(input="Hello").results[0].flagged is False
    assert "gpt-5.4" in [model.id for model in client.models.list()]
    assert client.models.retrieve("gpt-5.4").id == "gpt-5.4"
    assert [request.action for request in world.decider.requests] == [
        "llm.chat", "llm.chat", "llm.embed", "llm.moderate", "llm.models", "llm.models",
    ]  # fmt: skip
    assert [entry.amounts[Unit.TOKENS] for entry in world.entries()] == [21, 21, 9]


def test_azure_deployments_pass_with_their_api_version(world: GatewayWorld, upstream: Upstream) -> None:
    answer = world.azure().chat.completions.create(model="gpt-5.4-mini", messages=HELLO)
    assert answer.choices[0].message.content == "Hello there, how can I help?"
    (call,) = upstream.calls
    assert call.path == "/openai/deployments/gpt-5.4-mini/chat/completions"
    assert call.query == {"api-version": "2026-01-01"}
    assert call.headers["api-key"] == KEY
    assert world.decider.requests[0].resource == "llm/azure/gpt-5.4-mini"


def test_anthropic_messages_pass_whole_and_as_a_stream(world: GatewayWorld, upstream: Upstream) -> None:
    client = world.anthropic()
    given: Any = {"model": "claude-test", "max_tokens": 100, "messages": HELLO}
    answer = client.messages.create(**given)
    assert answer.content[0].text == "Hello there, how can I help?"
    with client.messages.stream(**given) as stream:
        assert stream.get_final_text() == "Hello there, how can I help?"
    assert client.messages.count_tokens(model="claude-test", messages=HELLO).input_tokens == 9
    assert client.models.list().data
    assert {call.headers["x-api-key"] for call in upstream.calls} == {KEY}
    assert [entry.usage.output_tokens for entry in world.entries()] == [12, 12]
    assert {request.resource for request in world.decider.requests} == {
        "llm/anthropic/claude-test",
        "llm/anthropic/any",
    }

"""Guarded clients are the SDK's own: everything public is there with the same signature, and works."""

from __future__ import annotations

import asyncio
import inspect
import sys
import types
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest

from agentguard.clients.llm import (
    GuardedAnthropic,
    GuardedAsyncAnthropic,
    GuardedAsyncAzureOpenAI,
    GuardedAsyncOpenAI,
    GuardedAzureOpenAI,
    GuardedOpenAI,
)
from agentguard.clients.llm._http import inner_of
from llm_clients import ASK, World, deny
from llm_upstream import KEY, Reply, ToolUse

if TYPE_CHECKING:
    from collections.abc import Iterator

PAIRS: list[tuple[Any, Any]] = [
    (GuardedOpenAI, openai.OpenAI),
    (GuardedAsyncOpenAI, openai.AsyncOpenAI),
    (GuardedAzureOpenAI, openai.AzureOpenAI),
    (GuardedAsyncAzureOpenAI, openai.AsyncAzureOpenAI),
    (GuardedAnthropic, anthropic.Anthropic),
    (GuardedAsyncAnthropic, anthropic.AsyncAnthropic),
]
AZURE = {"azure_endpoint": "http://127.0.0.1:9", "api_version": "2026-01-01"}
DEEPEST = 5
# Every resource of the SDKs is found; how many there are at least, so that the walk cannot come back empty.
LEAST = 60


def public(kind: type) -> dict[str, Any]:
    return {name: value for name, value in inspect.getmembers_static(kind) if not name.startswith("_")}


def resources(value: object, path: str, depth: int = 0) -> Iterator[tuple[str, object]]:
    """Yield an object of the SDK and all that hang below it, by the path that leads there."""
    yield path, value
    if depth == DEEPEST:
        return
    for name, member in public(type(value)).items():
        is_resource = isinstance(member, cached_property | property) and name not in ("custom_auth", "qs")
        below = getattr(value, name, None) if is_resource else None
        library = type(below).__module__.partition(".")[0]
        if library in ("openai", "anthropic") and ".resources." in type(below).__module__:
            yield from resources(below, f"{path}.{name}", depth + 1)


@pytest.mark.parametrize(("guarded", "plain"), PAIRS, ids=lambda kind: kind.__name__)
def test_every_public_member_of_every_resource_is_there_with_the_same_signature(
    world: World, guarded: Any, plain: Any
) -> None:
    settings = {"api_key": KEY, **(AZURE if "Azure" in plain.__name__ else {})}
    ours = dict(resources(guarded(guard=world.guard(), **settings), "client"))
    theirs = dict(resources(plain(**settings), "client"))
    assert ours.keys() == theirs.keys()
    assert len(theirs) >= LEAST
    members = 0
    for path, expected in theirs.items():
        wanted, found = public(type(expected)), public(type(ours[path]))
        assert wanted.keys() <= found.keys(), path
        for name, member in wanted.items():
            members += 1
            if inspect.isfunction(member):
                assert inspect.signature(found[name]) == inspect.signature(member), f"{path}.{name}"
                assert inspect.iscoroutinefunction(found[name]) is inspect.iscoroutinefunction(member)
            elif name != "websocket_base_url":
                assert type(found[name]) is type(member), f"{path}.{name}"
    assert members > 500


@pytest.mark.parametrize(("guarded", "plain"), PAIRS, ids=lambda kind: kind.__name__)
def test_a_guarded_class_takes_what_its_base_takes_and_a_guard(guarded: Any, plain: Any) -> None:
    ours, theirs = inspect.signature(guarded.__init__), inspect.signature(plain.__init__)
    assert [*theirs.parameters, "guard"] == list(ours.parameters)
    assert issubclass(guarded, plain)


def test_raw_and_streaming_responses_keep_working(world: World) -> None:
    client = world.openai()
    raw = client.chat.completions.with_raw_response.create(model="m", messages=ASK)
    assert raw.headers["x-request-id"] == "req_C0ffee"
    assert raw.http_response.status_code == 200
    assert raw.elapsed.total_seconds() >= 0
    assert raw.parse().choices[0].message.content == "Hello there, how can I help?"
    with client.chat.completions.with_streaming_response.create(model="m", messages=ASK) as response:
        assert b"Hello there" in b"".join(response.iter_bytes())
    asked = {"model": "m", "messages": ASK, "stream": True}
    with client.chat.completions.with_streaming_response.create(**asked) as response:
        lines = list(response.iter_lines())
    assert lines[-2:] == ["data: [DONE]", ""] or lines[-1] == "data: [DONE]"
    assert len(world.decider.requests) == 3
    message = world.anthropic().messages.with_raw_response.create(model="m", max_tokens=9, messages=ASK)
    assert message.parse().content[0].text == "Hello there, how can I help?"


def test_a_raw_response_is_looked_into_as_well(world: World) -> None:
    world.decider.answer = deny("bad")
    world.upstream.script(*[Reply(tools=(ToolUse("bad"),))] * 3)
    create = world.openai().chat.completions
    with pytest.raises(openai.PermissionDeniedError):
        create.with_raw_response.create(model="m", messages=ASK)
    with (
        pytest.raises(openai.PermissionDeniedError),
        create.with_streaming_response.create(model="m", messages=ASK) as response,
    ):
        pytest.fail(str(response))
    with (
        pytest.raises(openai.PermissionDeniedError),
        create.with_streaming_response.create(model="m", messages=ASK, stream=True) as response,
    ):
        response.read()


def test_answers_are_parsed_into_the_callers_types(world: World) -> None:
    from pydantic import BaseModel

    class Pen(BaseModel):
        colour: str

    world.upstream.script(Reply(text='{"colour": "red"}'), Reply(text='{"colour": "blue"}'))
    client = world.openai()
    completion = client.chat.completions.parse(model="m", messages=ASK, response_format=Pen)
    assert completion.choices[0].message.parsed == Pen(colour="red")
    assert client.responses.parse(model="m", input="x", text_format=Pen).output_parsed == Pen(colour="blue")


@pytest.mark.parametrize("method", ["with_options", "copy"])
def test_copies_are_guarded_and_keep_what_they_were_given(world: World, method: str) -> None:
    guard = world.guard()
    for client in (world.openai(guard), world.anthropic(guard), world.azure(guard, api_key=KEY)):
        copy = getattr(client, method)(timeout=7)
        assert type(copy) is type(client)
        assert copy.timeout == 7
        assert inner_of(copy._client) is inner_of(client._client)
        copy.models.list()
    assert len(world.decider.requests) == len(world.upstream.calls) == 3


def test_a_copy_with_another_http_client_is_guarded_too(world: World) -> None:
    world.decider.answer = deny("llm.models")
    # An HTTP client of the library that the SDK is on.
    own = type(inner_of(world.openai()._client)).__mro__[2]()
    copy = world.openai().with_options(http_client=own)
    with pytest.raises(openai.PermissionDeniedError):
        copy.models.list()
    assert world.upstream.calls == []
    # The caller's own client is the caller's.
    assert own.get(f"{world.upstream.url}/models", headers={"api-key": KEY}).status_code == 200
    assert "send" not in vars(own)
    own.close()


def test_closing_a_client_closes_its_connections(world: World) -> None:
    client = world.openai()
    client.models.list()
    assert not client.is_closed()
    client.close()
    assert client.is_closed()
    assert inner_of(client._client).is_closed


def test_azure_endpoints_keys_and_tokens_keep_working(world: World) -> None:
    asked = {"model": "mine", "messages": ASK}
    world.azure(api_key=KEY).chat.completions.create(**asked)
    world.azure(azure_ad_token_provider=lambda: "fresh").chat.completions.create(**asked)
    world.azure(api_key=KEY, azure_deployment="fixed").chat.completions.create(**asked)
    first, second, third = world.upstream.calls
    assert first.path == "/openai/deployments/mine/chat/completions"
    assert first.query == {"api-version": "2026-01-01"}
    assert first.headers["api-key"] == KEY
    assert second.headers["authorization"] == "Bearer fresh"
    assert third.path == "/openai/deployments/fixed/chat/completions"
    assert [resource for _, resource in world.asked()] == ["llm/127.0.0.1/mine"] * 3


def test_azures_address_names_the_model_that_was_decided(world: World) -> None:
    from agentguard.core import Effect
    from scripted_decider import decided

    world.decider.answer = lambda request: decided(
        request, effect=Effect.TRANSFORM, params=request.params | {"model": "small"}
    )
    world.azure(api_key=KEY).chat.completions.create(model="big", messages=ASK)
    assert world.upstream.calls[0].path == "/openai/deployments/small/chat/completions"
    assert world.upstream.calls[0].query == {"api-version": "2026-01-01"}
    world.decider.requests.clear()
    with pytest.raises(openai.PermissionDeniedError, match="address"):
        world.azure(api_key=KEY, azure_deployment="fixed").chat.completions.create(model="big", messages=ASK)


def test_async_clients_do_the_same(world: World) -> None:
    async def main() -> None:
        world.upstream.script(
            Reply(), Reply(tools=(ToolUse("bad"),)), Reply(tools=(ToolUse("bad"),)), Reply()
        )
        world.decider.answer = deny("bad")
        async with world.async_openai(world.guard(on_denied="redact")) as client:
            answer = await client.chat.completions.create(model="m", messages=ASK)
            assert answer.choices[0].message.content == "Hello there, how can I help?"
            stream = await client.chat.completions.create(model="m", messages=ASK, stream=True)
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
            assert "was denied" in text
        async with world.async_anthropic() as other:
            with pytest.raises(anthropic.PermissionDeniedError):
                async with other.messages.stream(model="m", max_tokens=9, messages=ASK) as events:
                    await events.get_final_message()
            models = [model.id async for model in other.models.list()]
            assert "claude-sonnet-4-5" in models
        async with world.async_azure(api_key=KEY) as azure:
            copy = azure.with_options(timeout=3)
            assert (await copy.chat.completions.create(model="m", messages=ASK)).choices

    asyncio.run(main())
    assert [each.status for each in world.decider.outcomes] == [
        "succeeded",
        "succeeded",
        "failed",
        *["succeeded"] * 2,
    ]


@pytest.mark.parametrize("mode", ["tap", "buffer"])
def test_async_streams_in_all_modes(world: World, mode: str) -> None:
    async def main() -> None:
        world.decider.answer = deny("bad")
        world.upstream.script(Reply(tools=(ToolUse("bad"),)))
        async with world.async_openai(world.guard(stream=mode)) as client:
            with pytest.raises(openai.PermissionDeniedError):
                async for _ in await client.chat.completions.create(model="m", messages=ASK, stream=True):
                    pass
            events = [e async for e in await client.responses.create(model="m", input="x", stream=True)]
            assert events[-1].response.output_text == "Hello there, how can I help?"

    asyncio.run(main())


def test_a_websocket_is_a_request_of_its_own(world: World) -> None:
    world.decider.answer = deny("llm.api")
    client = world.openai()
    with pytest.raises(openai.PermissionDeniedError):
        _ = client.websocket_base_url
    assert world.decider.requests[-1].params["path"] == "/v1/websocket"
    world.decider.answer = deny()
    assert client.websocket_base_url is None
    assert client.with_options(websocket_base_url="ws://127.0.0.1:9").websocket_base_url == "ws://127.0.0.1:9"


def test_opening_a_websocket_looks_at_its_address(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    # In place of a library that the SDK does not always bring with it.
    library = types.ModuleType("websockets.sync.client")
    opened: list[object] = []
    library.connect = lambda *args, **_: opened.append(args)  # type: ignore[attr-defined]  # a module made here
    for name in ("websockets", "websockets.sync", "websockets.sync.client"):
        monkeypatch.setitem(sys.modules, name, library)
    world.decider.answer = deny("llm.api")
    for client in (world.openai(), world.azure(api_key=KEY)):
        with (
            pytest.raises(openai.PermissionDeniedError),
            client.realtime.connect(model="gpt-realtime") as connection,
        ):
            pytest.fail(str(connection))
    assert opened == []


def test_whatever_opens_websockets_looks_at_that_address() -> None:
    folder = Path(openai.__file__).parent / "resources"
    opening = [path for path in folder.rglob("*.py") if "from websockets" in path.read_text(encoding="utf-8")]
    assert opening
    assert [path for path in opening if "websocket_base_url" not in path.read_text(encoding="utf-8")] == []
    others = Path(anthropic.__file__).parent.rglob("*.py")
    assert [path for path in others if "websockets" in path.read_text(encoding="utf-8")] == []

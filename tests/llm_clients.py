"""Guarded clients of both SDKs, whichever versions are installed, in front of the provider on loopback."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anthropic
import openai

from agentguard.clients.llm import (
    GuardedAnthropic,
    GuardedAsyncAnthropic,
    GuardedAsyncAzureOpenAI,
    GuardedAsyncOpenAI,
    GuardedAzureOpenAI,
    GuardedOpenAI,
    LlmGuard,
)
from agentguard.core import Decision, Effect, Request
from llm_upstream import KEY, Reply, ToolUse, Upstream
from scripted_decider import ScriptedDecider, decided

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.clients import EnforcementPoint

ASK = [{"role": "user", "content": "Hello"}]
TOOLS = Reply(tools=(ToolUse("good", {"x": 1}), ToolUse("bad", {"y": 2})))
# What a stream that breaks off raises: openai 2 lets its HTTP library's own error through.
CUT: type[Exception] = (
    importlib.import_module("httpx").ReadError
    if openai.__version__.startswith("2.")
    else openai.APIConnectionError
)
SDK = {"openai": openai, "anthropic": anthropic}


def deny(*actions: str, effect: Effect = Effect.DENY, **changes: Any) -> Callable[[Request], Decision]:
    """Return a decider's answer that lets all but these actions pass."""

    def answer(request: Request) -> Decision:
        if request.action not in actions:
            return decided(request)
        return decided(request, effect=effect, reason="no such thing", rule="never", **changes)

    return answer


@dataclass
class World:
    """A provider, and a decider to ask. Sync clients are closed with it."""

    upstream: Upstream
    decider: ScriptedDecider
    point: EnforcementPoint
    clients: list[Any] = field(default_factory=list)

    def keep(self, client: Any) -> Any:
        """Close this client in the end."""
        self.clients.append(client)
        return client

    def close(self) -> None:
        for client in self.clients:
            client.close()

    def guard(self, **options: Any) -> LlmGuard:
        return LlmGuard(self.point.session("s-1"), **options)

    def settings(self, sdk: str = "openai") -> dict[str, Any]:
        base = self.upstream.url + ("/v1" if sdk == "openai" else "")
        return {"base_url": base, "api_key": KEY, "max_retries": 0}

    def openai(self, guard: LlmGuard | None = None, **options: Any) -> Any:
        return self.keep(GuardedOpenAI(guard=guard or self.guard(), **(self.settings() | options)))

    def async_openai(self, guard: LlmGuard | None = None, **options: Any) -> Any:
        return GuardedAsyncOpenAI(guard=guard or self.guard(), **(self.settings() | options))

    def azure(self, guard: LlmGuard | None = None, **options: Any) -> Any:
        own = {"azure_endpoint": self.upstream.url, "api_version": "2026-01-01", "max_retries": 0}
        return self.keep(GuardedAzureOpenAI(guard=guard or self.guard(), **(own | options)))

    def async_azure(self, guard: LlmGuard | None = None, **options: Any) -> Any:
        own = {"azure_endpoint": self.upstream.url, "api_version": "2026-01-01", "max_retries": 0}
        return GuardedAsyncAzureOpenAI(guard=guard or self.guard(), **(own | options))

    def anthropic(self, guard: LlmGuard | None = None, **options: Any) -> Any:
        return self.keep(
            GuardedAnthropic(guard=guard or self.guard(), **(self.settings("anthropic") | options))
        )

    def async_anthropic(self, guard: LlmGuard | None = None, **options: Any) -> Any:
        return GuardedAsyncAnthropic(guard=guard or self.guard(), **(self.settings("anthropic") | options))

    def asked(self) -> list[tuple[str, str]]:
        """Return what was decided on: actions and resources."""
        return [(request.action, request.resource) for request in self.decider.requests]


@dataclass(frozen=True)
class Way:
    """One way to ask a model: sync, through one API, whole or as a stream; what comes back is text and tool names."""

    sdk: str
    call: Callable[[World, LlmGuard], tuple[str, list[str]]]


def chat(world: World, guard: LlmGuard) -> tuple[str, list[str]]:
    message = world.openai(guard).chat.completions.create(model="m", messages=ASK).choices[0].message
    return message.content, [call.function.name for call in message.tool_calls or []]


def chat_stream(world: World, guard: LlmGuard) -> tuple[str, list[str]]:
    text, names = "", []
    for chunk in world.openai(guard).chat.completions.create(model="m", messages=ASK, stream=True):
        for choice in chunk.choices:
            text += choice.delta.content or ""
            names += [call.function.name for call in choice.delta.tool_calls or [] if call.function.name]
    return text, names


def chat_helper(world: World, guard: LlmGuard) -> tuple[str, list[str]]:
    with world.openai(guard).chat.completions.stream(model="m", messages=ASK) as stream:
        message = stream.get_final_completion().choices[0].message
    return message.content, [call.function.name for call in message.tool_calls or []]


def _items(response: Any) -> tuple[str, list[str]]:
    return response.output_text, [item.name for item in response.output if item.type == "function_call"]


def responses(world: World, guard: LlmGuard) -> tuple[str, list[str]]:
    return _items(world.openai(guard).responses.create(model="m", input="Hello"))


def responses_stream(world: World, guard: LlmGuard) -> tuple[str, list[str]]:
    events = list(world.openai(guard).responses.create(model="m", input="Hello", stream=True))
    return _items(events[-1].response)


def responses_helper(world: World, guard: LlmGuard) -> tuple[str, list[str]]:
    with world.openai(guard).responses.stream(model="m", input="Hello") as stream:
        return _items(stream.get_final_response())


def _blocks(message: Any) -> tuple[str, list[str]]:
    text = "".join(block.text for block in message.content if block.type == "text")
    return text, [block.name for block in message.content if block.type == "tool_use"]


def messages(world: World, guard: LlmGuard) -> tuple[str, list[str]]:
    return _blocks(world.anthropic(guard).messages.create(model="m", max_tokens=9, messages=ASK))


def messages_helper(world: World, guard: LlmGuard) -> tuple[str, list[str]]:
    with world.anthropic(guard).messages.stream(model="m", max_tokens=9, messages=ASK) as stream:
        return _blocks(stream.get_final_message())


def messages_stream(world: World, guard: LlmGuard) -> tuple[str, list[str]]:
    text, names = "", []
    stream = world.anthropic(guard).messages.create(model="m", max_tokens=9, messages=ASK, stream=True)
    for event in stream:
        if event.type == "content_block_start" and event.content_block.type == "tool_use":
            names.append(event.content_block.name)
        if event.type == "content_block_delta" and event.delta.type == "text_delta":
            text += event.delta.text
    return text, names


WAYS = {
    way.__name__: Way(sdk, way)
    for sdk, ways in (
        ("openai", (chat, chat_stream, chat_helper, responses, responses_stream, responses_helper)),
        ("anthropic", (messages, messages_stream, messages_helper)),
    )
    for way in ways
}

"""Clients that exist already, one of them or all of a process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest

from agentguard.clients.llm import LlmGuard, ToolAction, install, uninstall, wrap
from agentguard.core import ConfigError
from llm_clients import ASK, World, deny
from llm_upstream import KEY

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def installed(world: World) -> Iterator[LlmGuard]:
    guard = world.guard()
    install(guard)
    yield guard
    uninstall()


def test_a_wrapped_client_keeps_its_type_and_settings(world: World) -> None:
    plain = openai.OpenAI(**world.settings(), timeout=7)
    chat: Any = plain.chat.completions
    raw = plain.models.with_raw_response
    client = world.keep(wrap(plain, world.guard()))
    assert client is plain
    assert isinstance(client, openai.OpenAI)
    assert type(client).__name__ == "OpenAI"
    assert (client.timeout, client.api_key) == (7, KEY)
    # What was made of it before is guarded too.
    chat.create(model="m", messages=ASK)
    raw.list()
    client.with_options(max_retries=1).models.list()
    assert len(world.decider.requests) == len(world.upstream.calls) == 3


def test_a_client_of_the_callers_own_class_is_wrapped(world: World) -> None:
    class Mine(anthropic.Anthropic):
        def __init__(self, base_url: str) -> None:
            super().__init__(base_url=base_url, api_key=KEY, max_retries=0)

    client = world.keep(wrap(Mine(world.upstream.url), world.guard()))
    assert isinstance(client, Mine)
    client.models.list()
    assert world.asked() == [("llm.models", "llm/127.0.0.1/any")]


def test_wrapped_again_the_new_guard_holds(world: World) -> None:
    client = world.keep(wrap(openai.OpenAI(**world.settings()), world.guard()))
    wrap(client, LlmGuard(world.point.session("s-2")))
    client.models.list()
    assert [request.context.session for request in world.decider.requests] == ["s-2"]
    ours = world.openai()
    wrap(ours, LlmGuard(world.point.session("s-3"))).models.list()
    assert world.decider.requests[-1].context.session == "s-3"
    assert len(world.decider.requests) == 2


def test_an_async_client_is_wrapped(world: World) -> None:
    async def main() -> None:
        plain: Any = anthropic.AsyncAnthropic(**world.settings("anthropic"))
        async with wrap(plain, world.guard()) as client:
            await client.messages.create(model="m", max_tokens=9, messages=ASK)

    asyncio.run(main())
    assert world.asked() == [("llm.chat", "llm/127.0.0.1/m")]


@pytest.mark.parametrize("value", [openai.OpenAI, None, "client", object()])
def test_only_clients_are_wrapped(world: World, value: Any) -> None:
    with pytest.raises(ConfigError, match="is no client of OpenAI's or Anthropic's"):
        wrap(value, world.guard())


def test_installed_every_client_is_guarded_before_and_after(world: World) -> None:
    before = world.keep(openai.OpenAI(**world.settings()))
    before.models.list()
    install(world.point)
    try:
        before.models.list()
        after = world.keep(anthropic.Anthropic(**world.settings("anthropic")))
        after.models.list()
        after.with_options(timeout=1).models.list()
        assert len(world.decider.requests) == 3
    finally:
        uninstall()
    uninstall()
    before.models.list()
    after.models.list()
    assert len(world.decider.requests) == 3
    assert len(world.upstream.calls) == 6


def test_installed_denials_are_the_sdks_errors(world: World, installed: LlmGuard) -> None:
    world.decider.answer = deny("llm.chat")
    client = world.keep(openai.OpenAI(**world.settings()))
    with pytest.raises(openai.PermissionDeniedError):
        client.chat.completions.create(model="m", messages=ASK)


def test_installed_the_modules_own_client_is_guarded(
    world: World, installed: LlmGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai, "base_url", world.upstream.url + "/v1/")
    monkeypatch.setattr(openai, "api_key", KEY)
    openai.models.list()
    assert world.asked() == [("llm.models", "llm/127.0.0.1/any")]
    world.keep(openai._load_client())


def test_installed_again_the_new_guard_holds_and_a_clients_own_one_stays(world: World) -> None:
    own = world.openai(LlmGuard(world.point.session("own")))
    client = world.keep(openai.OpenAI(**world.settings()))
    install(LlmGuard(world.point.session("first")))
    install(LlmGuard(world.point.session("second")))
    try:
        client.models.list()
        own.models.list()
    finally:
        uninstall()
    assert [request.context.session for request in world.decider.requests] == ["second", "own"]


@pytest.mark.parametrize("guard", [None, "guard", object()])
def test_without_a_guard_there_is_no_guarded_client(world: World, guard: Any) -> None:
    from agentguard.clients.llm import GuardedOpenAI

    with pytest.raises(ConfigError, match="needs a guard"):
        GuardedOpenAI(guard=guard, **world.settings())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"on_denied": "ignore"}, "`on_denied` is"),
        ({"stream": "loud"}, "`stream` is"),
        ({"window": 0}, "`window` is"),
    ],
)
def test_a_guard_of_nonsense_is_refused(world: World, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        world.guard(**options)


@pytest.mark.parametrize(
    ("action", "resource"),
    [("Send Mail", ""), ("mail.send", "mail/{"), ("mail.send", "{}"), ("mail.send", "//")],
)
def test_a_tool_of_nonsense_is_refused(action: str, resource: str) -> None:
    with pytest.raises(ConfigError):
        ToolAction(action, resource)

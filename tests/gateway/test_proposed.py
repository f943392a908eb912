from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import gateway_world
from agentguard.config import ToolSettings
from agentguard.core import Decision, Effect, Obligation, Request
from llm_upstream import Reply, ToolUse, Upstream
from scripted_decider import ScriptedDecider, decided

if TYPE_CHECKING:
    from pathlib import Path

    from gateway_world import GatewayWorld

HELLO: Any = [{"role": "user", "content": "Hello"}]
MAIL = ToolUse("send_mail", {"to": "x@example.com"})
FILE = ToolUse("read_file", {"path": "a"})
PROPOSED = Reply(text="On it.", tools=(MAIL, FILE))


def no_mail(request: Request) -> Decision:
    if request.action == "send_mail":
        return decided(
            request, effect=Effect.DENY, reason="no mail today", rule="no-mail", audit_id="event-7"
        )
    return decided(request)


REFUSED = "[The call of `send_mail` was denied: no mail today (rule `no-mail`, decision event-7)]"


def chat(world: GatewayWorld, *, stream: bool) -> tuple[str, list[str], str | None]:
    """Return the text, the tools and the finish reason that an agent sees."""
    client = world.openai()
    if not stream:
        choice = client.chat.completions.create(model="gpt-5.4", messages=HELLO).choices[0]
        calls: Any = choice.message.tool_calls or []
        return choice.message.content or "", [call.function.name for call in calls], choice.finish_reason
    with client.chat.completions.stream(model="gpt-5.4", messages=HELLO) as events:
        final = events.get_final_completion().choices[0]
    calls = final.message.tool_calls or []
    return final.message.content or "", [call.function.name for call in calls], final.finish_reason


@pytest.mark.parametrize("stream", [False, True])
def test_allowed_tool_calls_reach_the_agent_as_they_are(
    world: GatewayWorld,
    upstream: Upstream,
    stream: bool,  # noqa: FBT001 - parametrised
) -> None:
    upstream.script(PROPOSED)
    assert chat(world, stream=stream) == ("On it.", ["send_mail", "read_file"], "tool_calls")
    assert [(each.action, each.resource, each.params) for each in world.decider.requests[1:]] == [
        ("send_mail", "tool/send_mail", {"to": "x@example.com"}),
        ("read_file", "tool/read_file", {"path": "a"}),
    ]


@pytest.mark.parametrize("stream", [False, True])
def test_denied_tool_call_never_reaches_the_agent_and_the_others_do(
    world: GatewayWorld,
    upstream: Upstream,
    stream: bool,  # noqa: FBT001 - parametrised
) -> None:
    upstream.script(PROPOSED)
    world.decider.answer = no_mail
    text, tools, finish = chat(world, stream=stream)
    assert tools == ["read_file"]
    assert REFUSED in text
    assert finish == "tool_calls"


@pytest.mark.parametrize("stream", [False, True])
def test_denied_tool_call_is_left_out_of_responses_and_messages_too(
    world: GatewayWorld,
    upstream: Upstream,
    stream: bool,  # noqa: FBT001 - parametrised
) -> None:
    upstream.script(Reply(text="", tools=(MAIL,)), Reply(text="", tools=(MAIL,)))
    world.decider.answer = no_mail
    for path, body in (
        ("/openai/v1/responses", {"model": "gpt-5.4", "input": "Hello"}),
        ("/anthropic/v1/messages", {"model": "claude-test", "max_tokens": 100, "messages": HELLO}),
    ):
        reply = world.ask(path, {**body, "stream": stream}, anthropic_version="2023-06-01")
        assert reply.status == 200
        assert b"x@example.com" not in reply.body
        assert b"no mail today" in reply.body


def test_streamed_text_passes_while_a_tool_call_is_incomplete(
    world: GatewayWorld, upstream: Upstream
) -> None:
    import threading

    gate = threading.Event()
    # The ninth event is in the middle of the arguments of the first call.
    upstream.script(Reply(text="On it.", tools=(MAIL,), hold_after=(gate, 6)))
    with world.openai().chat.completions.create(model="gpt-5.4", messages=HELLO, stream=True) as stream:
        first = [next(iter(stream)) for _ in range(3)]
        assert "".join(each.choices[0].delta.content or "" for each in first) == "On it."
        assert len(world.decider.requests) == 1
        gate.set()
        rest = list(stream)
    assert len(world.decider.requests) == 2
    assert any(each.choices and each.choices[0].delta.tool_calls for each in rest)


def test_rewritten_tool_call_reaches_the_agent_rewritten(world: GatewayWorld, upstream: Upstream) -> None:
    def instead(request: Request) -> Decision:
        if request.action != "send_mail":
            return decided(request)
        return decided(request, effect=Effect.TRANSFORM, params={"to": "team@example.com"})

    upstream.script(Reply(tools=(MAIL,)))
    world.decider.answer = instead
    answer = world.openai().chat.completions.create(model="gpt-5.4", messages=HELLO)
    calls: Any = answer.choices[0].message.tool_calls
    assert calls[0].function.arguments == '{"to":"team@example.com"}'


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"effect": Effect.REQUIRE_APPROVAL, "reason": "prod"}, "a person has to approve: prod"),
        ({"resource": "tool/other"}, "changes what the tool is used on"),
        ({"action": "other@1"}, "which this tool does not do"),
        ({"obligations": (Obligation("max_bytes", 10),)}, "obligation `max_bytes` is on the tool's result"),
    ],
)
def test_tool_call_that_cannot_pass_as_decided_is_refused(
    world: GatewayWorld, upstream: Upstream, changes: dict[str, Any], said: str
) -> None:
    upstream.script(Reply(text="", tools=(MAIL,)))
    world.decider.answer = lambda request: decided(
        request, **(changes if request.action == "send_mail" else {})
    )
    text, tools, finish = chat(world, stream=False)
    assert (tools, finish) == ([], "stop")
    assert said in text


def test_tool_call_whose_arguments_are_no_json_is_refused(world: GatewayWorld, upstream: Upstream) -> None:
    upstream.script(Reply(text="", tools=(ToolUse("send_mail", '{"to": '),)))
    text, tools, _ = chat(world, stream=False)
    assert (tools, "no JSON object" in text) == ([], True)


def test_settings_say_which_action_a_tool_is(tmp_path: Path, upstream: Upstream) -> None:
    tools = {
        "send_mail": ToolSettings("mail.send", "mail/outbound"),
        "read_file": ToolSettings("file.read", is_guarded=True),
    }
    plans: list[Request] = []

    def plan(requests: Any) -> list[Decision]:
        plans.extend(requests)
        return [decided(request) for request in requests]

    upstream.script(PROPOSED)
    decider = ScriptedDecider(plan_answer=plan)
    with gateway_world.running(tmp_path, upstream, settings={"tools": tools}, scripted=decider) as world:
        assert chat(world, stream=False)[1] == ["send_mail", "read_file"]
    assert [(each.action, each.resource) for each in decider.requests[1:]] == [("mail.send", "mail/outbound")]
    assert [(each.action, each.resource) for each in plans] == [("file.read", "tool/read_file")]


def test_hosted_tools_are_decided_each(world: GatewayWorld, upstream: Upstream) -> None:
    upstream.calls.clear()
    world.decider.answer = lambda request: decided(
        request, effect=Effect.DENY if request.action == "llm.hosted-tool" else Effect.ALLOW
    )
    body = {"model": "gpt-5.4", "input": "Hello", "tools": [{"type": "web_search"}]}
    reply = world.ask("/openai/v1/responses", body)
    assert (reply.status, reply.code) == (403, "action_denied")
    assert world.decider.requests[-1].params == {"tool": "web_search", "model": "gpt-5.4"}
    assert upstream.calls == []


def test_tool_results_are_observed_once_in_the_session(world: GatewayWorld) -> None:
    messages = [
        *HELLO,
        {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function",
         "function": {"name": "read_file", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "a secret plan"},
    ]  # fmt: skip
    for _ in range(2):
        reply = world.ask(
            "/openai/v1/chat/completions",
            {"model": "gpt-5.4", "messages": messages},
            x_agentguard_session="s-1",
        )
        assert reply.status == 200
    seen = [each for each in world.decider.observations if each.action == "read_file"]
    assert [(each.session, each.result, each.principal.id) for each in seen] == [
        ("s-1", "a secret plan", "deploy-agent")
    ]
    assert {request.context.session for request in world.decider.requests} == {"s-1"}
    assert {entry.spender.session for entry in world.entries()} == {"s-1"}

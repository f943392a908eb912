"""What a guarded client tells the session: prompts, tool results and answers, each once; and what it spends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest

from agentguard._front import Guard
from agentguard.clients.llm import GuardedOpenAI, LlmGuard, ToolAction
from agentguard.core import AuditError, Obligation, Request, SpendFilter
from llm_clients import ASK, CUT, TOOLS, World, deny
from llm_upstream import KEY, Reply, ToolUse, Usage
from scripted_decider import decided
from spending import desk

if TYPE_CHECKING:
    from pathlib import Path

    from agentguard.core import Decision
    from command_line import Command

CALLED = {
    "role": "assistant",
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "found it"}


def seen(world: World) -> list[tuple[str, Any]]:
    return [(each.action, each.result) for each in world.decider.observations]


def test_prompt_and_answer_are_observed_once(world: World) -> None:
    client = world.openai()
    client.chat.completions.create(model="m", messages=ASK)
    client.chat.completions.create(model="m", messages=[*ASK, {"role": "user", "content": "More"}])
    answer = "Hello there, how can I help?"
    assert seen(world) == [("llm.chat@1", ["Hello", answer]), ("llm.chat@1", ["More", answer])]
    assert {each.session for each in world.decider.observations} == {"s-1"}


def test_a_tools_result_is_observed_before_the_call_as_its_actions_own(world: World) -> None:
    client = world.openai(world.guard(tools={"look": ToolAction("web.look")}))
    client.chat.completions.create(model="m", messages=[*ASK, CALLED, RESULT])
    client.chat.completions.create(model="m", messages=[*ASK, CALLED, RESULT])
    assert seen(world)[0] == ("web.look", "found it")
    assert [action for action, _ in seen(world)] == ["web.look", "llm.chat@1", "llm.chat@1"]


def test_the_result_of_a_call_that_was_decided_has_that_decisions_resource(world: World) -> None:
    tools = {"look": ToolAction("web.look", "page/{name}")}
    client = world.openai(world.guard(tools=tools))
    world.upstream.script(Reply(tools=(ToolUse("look", {"name": "home"}, "c1"),)))
    client.chat.completions.create(model="m", messages=ASK)
    client.chat.completions.create(model="m", messages=[*ASK, CALLED, RESULT])
    found = [each for each in world.decider.observations if each.action == "web.look@1"]
    assert [(each.resource, each.result) for each in found] == [("page/home", "found it")]


def test_a_result_of_nobodys_tool_counts_as_an_undeclared_actions(world: World) -> None:
    messages = [*ASK, {**RESULT, "tool_call_id": "c9"}]
    world.openai().chat.completions.create(model="m", messages=messages)
    assert seen(world)[0] == ("unknown-tool", "found it")


@pytest.mark.parametrize(("vouches", "words"), [(True, ["Hello"]), (False, [])])
def test_the_users_words_are_vouched_for_only_if_the_host_says_so(
    world: World,
    vouches: bool,  # noqa: FBT001 - a table
    words: list[str],
) -> None:
    client = world.openai(world.guard(vouch_user=vouches))
    client.chat.completions.create(model="m", messages=[{"role": "system", "content": "Be brief"}, *ASK])
    client.chat.completions.create(model="m", messages=ASK)
    assert [each.text for each in world.decider.vouched] == words


def test_after_a_lost_observation_nothing_is_sent(world: World) -> None:
    def lose(_: object) -> None:
        raise AuditError("the disk is full")

    world.decider.on_observe = lose
    client = world.openai()
    client.chat.completions.create(model="m", messages=ASK)
    with pytest.raises(openai.PermissionDeniedError, match="could not be reported"):
        client.chat.completions.create(model="m", messages=ASK)
    assert len(world.upstream.calls) == 1


def test_a_tool_is_its_action_on_its_resource_with_its_fixed_parameters(world: World) -> None:
    tools = {"send_email": ToolAction("mail.send", "mail/{to}", {"folder": "sent"})}
    world.upstream.script(Reply(tools=(ToolUse("send_email", {"to": "anna", "body": "x"}),)))
    world.openai(world.guard(tools=tools)).chat.completions.create(model="m", messages=ASK)
    asked = world.decider.requests[-1]
    assert (asked.action, asked.resource) == ("mail.send", "mail/anna")
    assert asked.params == {"to": "anna", "body": "x", "folder": "sent"}


@pytest.mark.parametrize(
    "arguments", [{"to": "../../etc"}, {"to": ["a"]}, {}, {"to": "anna", "folder": "mine"}]
)
def test_arguments_that_would_change_what_the_resource_is_are_denied(
    world: World, arguments: dict[str, Any]
) -> None:
    tools = {"send_email": ToolAction("mail.send", "mail/{to}", {"folder": "sent"})}
    world.upstream.script(Reply(tools=(ToolUse("send_email", arguments),)))
    with pytest.raises(openai.PermissionDeniedError):
        world.openai(world.guard(tools=tools)).chat.completions.create(model="m", messages=ASK)
    assert world.asked() == [("llm.chat", "llm/127.0.0.1/m")]


def test_a_tool_that_is_guarded_itself_is_asked_for_as_a_plan(world: World) -> None:
    plans: list[list[str]] = []

    def plan(requests: Any) -> list[Decision]:
        plans.append([each.action for each in requests])
        return [decided(each) for each in requests]

    world.decider.plan_answer = plan
    world.upstream.script(Reply(tools=(ToolUse("look", {}),)))
    guard = world.guard(tools={"look": ToolAction("web.look", is_guarded=True)})
    world.openai(guard).chat.completions.create(model="m", messages=ASK)
    assert plans == [["web.look"]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"action": "other@1"}, "which this tool does not do"),
        ({"resource": "tool/other"}, "what the tool is used on"),
        ({"obligations": (Obligation("mask_output", value=True),)}, "guard the function itself"),
    ],
)
def test_a_decision_on_a_tool_that_cannot_be_carried_out_is_a_denial(
    world: World, change: dict[str, Any], words: str
) -> None:
    def answer(request: Request) -> Decision:
        return decided(request, **(change if request.action == "good" else {}))

    world.decider.answer = answer
    world.upstream.script(TOOLS)
    with pytest.raises(openai.PermissionDeniedError, match=words):
        world.openai().chat.completions.create(model="m", messages=ASK)
    assert "refused" in [each.status for each in world.decider.outcomes]


BUDGET = "budgets:\n  - {id: day, scope: agent, window: daily, unit: usd, limit: 0.01}\n"
PROVIDER = {"127.0.0.1": "openai"}


def spending(world: World, folder: Path, text: str = BUDGET) -> tuple[Any, LlmGuard]:
    place = desk(folder, text)
    return place, world.guard(budgets=place.keeper, hosts=PROVIDER)


def booked(place: Any) -> list[tuple[str, int, int]]:
    return [
        (each.state.value, each.usage.input_tokens, each.usage.output_tokens)
        for each in place.ledger.entries(SpendFilter())
    ]


def test_a_call_is_booked_by_the_providers_report(world: World, tmp_path: Path) -> None:
    place, guard = spending(world, tmp_path)
    client = world.openai(guard)
    client.chat.completions.create(model="gpt-4o", max_tokens=10, messages=ASK)
    for chunk in client.chat.completions.create(model="gpt-4o", max_tokens=10, messages=ASK, stream=True):
        # Nobody asked for the usage, so nobody gets it.
        assert chunk.choices
    client.responses.create(model="gpt-4o", max_output_tokens=16, input="x")
    client.embeddings.create(model="text-embedding-3-small", input="x", encoding_format="float")
    assert booked(place) == [("settled", 9, 12), ("settled", 9, 12), ("settled", 9, 12), ("settled", 9, 0)]


def test_without_a_limit_one_is_written_that_the_budget_allows(world: World, tmp_path: Path) -> None:
    _, guard = spending(world, tmp_path)
    world.openai(guard).chat.completions.create(model="gpt-4o", messages=ASK)
    assert 64 <= world.upstream.calls[0].json["max_completion_tokens"] < 1_000


def test_what_the_budget_does_not_allow_is_a_rate_limit_error(world: World, tmp_path: Path) -> None:
    place, guard = spending(world, tmp_path)
    with pytest.raises(openai.RateLimitError) as caught:
        world.openai(guard).chat.completions.create(model="gpt-4o", max_tokens=9_000, messages=ASK)
    assert caught.value.response.json()["error"]["code"] == "budget_exceeded"
    assert world.upstream.calls == []
    assert booked(place) == []
    assert [each.status for each in world.decider.outcomes] == ["refused"]


def test_an_error_of_the_provider_costs_nothing(world: World, tmp_path: Path) -> None:
    place, guard = spending(world, tmp_path)
    world.upstream.script(Reply(status=500))
    with pytest.raises(openai.InternalServerError):
        world.openai(guard).chat.completions.create(model="gpt-4o", max_tokens=10, messages=ASK)
    assert [state for state, *_ in booked(place)] == ["released"]


def test_a_stream_that_is_cut_is_booked_by_what_was_seen(world: World, tmp_path: Path) -> None:
    place, guard = spending(world, tmp_path)
    world.upstream.script(Reply(cut_after=4, usage=Usage()))
    with pytest.raises(CUT):
        list(
            world.openai(guard).chat.completions.create(
                model="gpt-4o", max_tokens=10, messages=ASK, stream=True
            )
        )
    ((state, _, output),) = booked(place)
    assert state == "settled"
    assert output > 0


def test_a_denied_call_reserves_nothing(world: World, tmp_path: Path) -> None:
    place, guard = spending(world, tmp_path)
    world.decider.answer = deny("llm.chat")
    with pytest.raises(openai.PermissionDeniedError):
        world.openai(guard).chat.completions.create(model="gpt-4o", max_tokens=10, messages=ASK)
    assert booked(place) == []


RULES = """\
version: 1
rules:
  - {id: may-ask, effect: allow, actions: [llm.chat], resources: ["llm/openai/**"]}
  - {id: may-look, effect: allow, actions: [http.get], resources: ["https://**"]}
"""
INVENTORY = """\
resources:
  - {id: "llm/**", type: llm, sensitivity: public}
  - {id: "https://**", type: https, sensitivity: public}
principals:
  - {id: helper, kind: agent}
"""


def test_with_a_real_project_rules_decide_and_the_log_has_it(world: World, agentguard: Command) -> None:
    (agentguard.folder / "policies" / "own.yaml").write_text(RULES, encoding="utf-8")
    (agentguard.folder / "inventory.yaml").write_text(INVENTORY, encoding="utf-8")
    tools = {"fetch": ToolAction("http.get", "https://example.com/a")}
    page = {"url": "https://example.com/a"}
    world.upstream.script(Reply(tools=(ToolUse("fetch", page), ToolUse("drop_all", {}))))
    asked: dict[str, Any] = {"model": "m", "messages": ASK}
    with Guard.open(agentguard.folder, principal="helper") as guard:
        llm = LlmGuard(guard, tools=tools, on_denied="redact", hosts=PROVIDER)
        with GuardedOpenAI(guard=llm, base_url=world.upstream.url + "/v1", api_key=KEY) as client:
            message: Any = client.chat.completions.create(**asked).choices[0].message
        other = LlmGuard(guard)
        with (
            GuardedOpenAI(guard=other, base_url=world.upstream.url + "/v1", api_key=KEY) as client,
            pytest.raises(openai.PermissionDeniedError),
        ):
            client.chat.completions.create(**asked)
    assert [call.function.name for call in message.tool_calls] == ["fetch"]
    assert "[The call of `drop_all` was denied: " in message.content
    log = b"".join(path.read_bytes() for path in agentguard.segments())
    assert b'"llm.chat@1"' in log
    assert b"llm/openai/m" in log
    # The prompt stays out of it.
    assert b"Hello" not in log

"""People who are asked about model calls at the gateway: by a budget, by a rule, about a tool that is proposed."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest

import gateway_world
from agentguard.core import AttemptState, Cancel
from agentguard.gateway import agent_variables
from llm_people import AGENT, ASKED_MODEL, ASKED_TOOL, OPEN, People
from llm_upstream import Reply, ToolUse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway_world import GatewayWorld
    from llm_upstream import Upstream

HELLO: Any = [{"role": "user", "content": "Hello"}]
# Two calls, and from the second on a person is asked; a third one does not fit.
ASKING = """budgets:
  - {id: calls, scope: agent, window: daily, unit: calls, limit: 2, at: [{percent: 50, do: ask}, {percent: 100, do: ask}]}
"""


@pytest.fixture
def people() -> Iterator[People]:
    made = People()
    yield made
    made.close()


def running(folder: Path, upstream: Upstream, people: People, **given: Any) -> Any:
    return gateway_world.running(folder, upstream, scripted=people.point, **given)


def call(world: GatewayWorld, **more: Any) -> Any:
    return world.openai().chat.completions.create(model="gpt-5.4", messages=HELLO, **more)


def test_a_budget_asks_people_and_nothing_is_spent_meanwhile(
    tmp_path: Path, upstream: Upstream, people: People
) -> None:
    with running(tmp_path, upstream, people, budgets=ASKING, hold_s=20.0) as world:
        call(world)
        answers: list[Any] = []
        thread = threading.Thread(target=lambda: answers.append(call(world)))
        thread.start()
        asked = people.pending()
        assert (asked.principal, asked.action, asked.resource) == (
            "deploy-agent",
            "spend.continue@1",
            "budget/calls",
        )
        about = {"percent": 50, "used": 1, "limit": 2, "until": 2, "model": "gpt-5.4", "estimate": 1}
        assert about.items() <= asked.params.items()
        assert "may use it until 2 calls" in asked.reason
        assert (len(upstream.calls), world.states()) == (1, [AttemptState.SETTLED])
        people.vote(approves=True)
        thread.join()
        assert answers[0].choices[0].message.content == "Hello there, how can I help?"
        assert world.states() == [AttemptState.SETTLED] * 2
    statuses = [each["status"] for each in people.audit.records if each.get("approval") == asked.id]
    assert statuses == ["opened", "voted", "approved", "consumed", "dispatched", "finished"]


def test_what_people_say_no_to_is_refused_and_not_asked_again(
    tmp_path: Path, upstream: Upstream, people: People
) -> None:
    with running(tmp_path, upstream, people, budgets=ASKING, hold_s=20.0) as world:
        call(world)
        with people.voting(approves=False), pytest.raises(openai.PermissionDeniedError) as refused:
            call(world)
        body: Any = refused.value.body
        assert (body["code"], body["rule"]) == ("budget_approval", "calls")
        assert "denied by anna" in body["reason"]
        assert body["decision_id"]
        with pytest.raises(openai.PermissionDeniedError, match="denied by anna"):
            call(world)
        assert (len(people.approvals()), len(upstream.calls)) == (1, 1)


def test_who_is_not_held_comes_again_once_people_have_said(
    tmp_path: Path, upstream: Upstream, people: People
) -> None:
    with running(tmp_path, upstream, people, budgets=ASKING) as world:
        call(world)
        refusals = []
        for _ in range(2):
            with pytest.raises(openai.PermissionDeniedError) as refused:
                call(world)
            refusals.append(refused.value)
        body: Any = refusals[0].body
        approval = refusals[0].response.headers["x-agentguard-approval"]
        assert (body["code"], body["approval"]) == ("approval_required", approval)
        assert [each.id for each in people.approvals()] == [approval]
        people.vote(approves=True)
        # With the header or without it: the answer is the account's, not one call's.
        call(world, extra_headers={"x-agentguard-approval": approval})
        with pytest.raises(openai.PermissionDeniedError, match="budget `calls`"):
            call(world)
        assert len(people.approvals()) == 2


def test_at_its_limit_a_budget_lets_past_what_people_approve_and_no_more(
    tmp_path: Path, upstream: Upstream, people: People
) -> None:
    with running(tmp_path, upstream, people, budgets=ASKING, hold_s=20.0) as world:
        call(world)
        for _ in range(3):
            with people.voting(approves=True):
                call(world)
        assert [each.params["until"] for each in people.approvals()] == [2, 3, 4]
        assert len(upstream.calls) == 4


def test_an_answer_is_known_after_a_restart(tmp_path: Path, upstream: Upstream, people: People) -> None:
    budgets = ASKING.replace("limit: 2", "limit: 4").replace("percent: 50", "percent: 25")
    with running(tmp_path, upstream, people, budgets=budgets, hold_s=20.0) as world:
        call(world)
        with people.voting(approves=True):
            call(world)
    with running(tmp_path, upstream, people, budgets=budgets) as world:
        call(world)
        call(world)
    assert len(people.approvals()) == 1


def test_anthropics_own_exception_says_it(tmp_path: Path, upstream: Upstream, people: People) -> None:
    with running(tmp_path, upstream, people, budgets=ASKING, hold_s=20.0) as world:
        client = world.anthropic()
        client.messages.create(model="claude-haiku-4-5", max_tokens=50, messages=HELLO)
        with people.voting(approves=False), pytest.raises(anthropic.PermissionDeniedError, match="anna"):
            client.messages.create(model="claude-haiku-4-5", max_tokens=50, messages=HELLO)


def test_calls_that_come_together_wait_for_one_answer(
    tmp_path: Path, upstream: Upstream, people: People
) -> None:
    budgets = ASKING.replace("limit: 2", "limit: 400").replace("percent: 50", "percent: 1")
    with running(tmp_path, upstream, people, budgets=budgets, hold_s=20.0) as world:
        for _ in range(4):
            call(world)
        values = agent_variables(world.url, gateway_world.TOKEN)

        async def ask_all() -> int:
            async with openai.AsyncOpenAI(
                base_url=values["OPENAI_BASE_URL"], api_key=values["OPENAI_API_KEY"], max_retries=0
            ) as client:
                calls = [client.chat.completions.create(model="gpt-5.4", messages=HELLO) for _ in range(150)]
                return len(await asyncio.gather(*calls))

        with people.voting(approves=True):
            assert asyncio.run(ask_all()) == 150
        assert len(people.approvals()) == 1
        assert sum(each.name.startswith("agentguard-held") for each in threading.enumerate()) < 10


def test_who_hangs_up_while_people_are_asked_spends_nothing_and_the_question_stays(
    tmp_path: Path, upstream: Upstream, people: People
) -> None:
    with running(tmp_path, upstream, people, budgets=ASKING, hold_s=20.0) as world:
        call(world)
        with pytest.raises(openai.APITimeoutError):
            call(world, timeout=0.3)
        asked = people.pending()
        world.settle()
        people.vote(approves=True)
        assert (len(upstream.calls), world.states()) == (1, [AttemptState.SETTLED])
        call(world)
        assert [each.id for each in people.approvals()] == [asked.id]


def test_an_approval_of_a_rule_is_not_used_up_by_who_has_hung_up(tmp_path: Path, upstream: Upstream) -> None:
    people = People(ASKED_MODEL)
    with running(tmp_path, upstream, people, hold_s=20.0) as world:
        with pytest.raises(openai.APITimeoutError):
            call(world, timeout=0.3)
        world.settle()
        approved = people.vote(approves=True)
        assert people.approvals()[0].state.value == "approved"
        call(world, extra_headers={"x-agentguard-approval": approved.id})
        assert len(upstream.calls) == 1
    people.close()


def test_nobody_can_be_asked_where_the_engine_is_dead(
    tmp_path: Path, upstream: Upstream, people: People
) -> None:
    with running(tmp_path, upstream, people, budgets=ASKING, hold_s=20.0) as world:
        call(world)
        people.engine.close()
        with pytest.raises(
            openai.PermissionDeniedError, match="nobody can be asked: the approvals are closed"
        ):
            call(world)
        assert (len(upstream.calls), world.states()) == (1, [AttemptState.SETTLED])


def test_a_policy_that_denies_meanwhile_counts(tmp_path: Path, upstream: Upstream, people: People) -> None:
    with running(tmp_path, upstream, people, budgets=ASKING, hold_s=20.0) as world:
        call(world)
        refusals: list[Exception] = []

        def ask() -> None:
            try:
                call(world)
            except openai.PermissionDeniedError as error:
                refusals.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        people.pending()
        people.adopt(OPEN.replace("effect: allow", "effect: deny"))
        people.vote(approves=True)
        thread.join()
        assert "the policy changed while people were asked" in str(refusals[0])
        assert len(upstream.calls) == 1


def test_a_withdrawn_question_is_asked_anew(tmp_path: Path, upstream: Upstream, people: People) -> None:
    with running(tmp_path, upstream, people, budgets=ASKING) as world:
        call(world)
        for _ in range(2):
            with pytest.raises(openai.PermissionDeniedError, match="approval ap-"):
                call(world)
            people.engine.apply(people.pending().id, Cancel(why="withdrawn", by=AGENT.id))
        assert len(people.approvals()) == 2


def test_peoples_time_is_not_the_answers(tmp_path: Path, upstream: Upstream, people: People) -> None:
    settings = {"max_answer_s": 0.5}
    with running(tmp_path, upstream, people, budgets=ASKING, hold_s=20.0, settings=settings) as world:
        call(world)
        answers: list[Any] = []
        thread = threading.Thread(target=lambda: answers.append(call(world)))
        thread.start()
        people.pending()
        time.sleep(0.8)
        people.vote(approves=True)
        thread.join()
        assert answers


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("approves", [True, False])
def test_a_proposed_tool_call_waits_for_people(
    tmp_path: Path, upstream: Upstream, *, is_stream: bool, approves: bool
) -> None:
    people = People(ASKED_TOOL)
    upstream.script(Reply(text="", tools=(ToolUse("get_weather", {"city": "Berlin"}),)))
    with running(tmp_path, upstream, people, hold_s=20.0) as world, people.voting(approves=approves):
        if is_stream:
            chunks = list(call(world, stream=True))
            names = [
                tool.function.name
                for chunk in chunks
                for tool in (chunk.choices[0].delta.tool_calls or [] if chunk.choices else [])
                if tool.function is not None and tool.function.name
            ]
        else:
            message = call(world).choices[0].message
            names = [tool.function.name for tool in message.tool_calls or []]
    assert names == (["get_weather"] if approves else [])
    people.close()

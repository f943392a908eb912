"""People who are asked about model calls in the agent's own process, by guarded clients of both SDKs."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest

from agentguard.clients import EnforcementPoint
from agentguard.clients.llm import LlmGuard, ToolAction
from agentguard.core import ApprovalState, AttemptState, SpendFilter
from llm_clients import World
from llm_people import AGENT, ASKED_MODEL, ASKED_TOOL, OPEN, People
from llm_upstream import Reply, ToolUse
from scripted_decider import ScriptedDecider
from spending import Desk, desk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from llm_upstream import Upstream

ASK: Any = [{"role": "user", "content": "Hello"}]
WEATHER = Reply(text="", tools=(ToolUse("get_weather", {"city": "Berlin"}),))
ASKING = """budgets:
  - {id: calls, scope: agent, window: daily, unit: calls, limit: 2, at: [{percent: 50, do: ask}, {percent: 100, do: ask}]}
"""


class Scene:
    """A provider, people, and guards that ask them; `wait_s` is how long a call waits for them."""

    def __init__(self, upstream: Upstream, rules: str = OPEN, *, wait_s: float | None = 20.0) -> None:
        upstream.reset()
        self.people = People(rules)
        self.upstream = upstream
        self.point = EnforcementPoint(self.people.point, principal=AGENT, approval_wait_s=wait_s)
        self.world = World(upstream, ScriptedDecider(), self.point)
        self.desk: Desk | None = None

    def guard(self, **options: Any) -> LlmGuard:
        return self.world.guard(**options)

    def budgeted(self, folder: Path) -> LlmGuard:
        self.desk = desk(folder, ASKING)
        return self.guard(budgets=self.desk.keeper)

    def states(self) -> list[AttemptState]:
        assert self.desk is not None
        ledger: Any = self.desk.ledger
        return [entry.state for entry in ledger.entries(SpendFilter())]

    def close(self) -> None:
        self.world.close()
        self.people.close()


@pytest.fixture
def scene(served: Upstream) -> Iterator[Callable[..., Scene]]:
    made: list[Scene] = []

    def make(rules: str = OPEN, **options: Any) -> Scene:
        made.append(Scene(served, rules, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def chat(scene: Scene, guard: LlmGuard) -> Any:
    return scene.world.openai(guard).chat.completions.create(model="gpt-5.4", messages=ASK)


def chat_async(scene: Scene, guard: LlmGuard) -> Any:
    async def ask() -> Any:
        async with scene.world.async_openai(guard) as client:
            return await client.chat.completions.create(model="gpt-5.4", messages=ASK)

    return asyncio.run(ask())


def messages(scene: Scene, guard: LlmGuard) -> Any:
    client = scene.world.anthropic(guard)
    return client.messages.create(model="claude-haiku-4-5", max_tokens=50, messages=ASK)


WAYS = [chat, chat_async, messages]
REFUSED = (openai.PermissionDeniedError, anthropic.PermissionDeniedError)


@pytest.mark.parametrize("way", WAYS)
def test_a_rules_question_holds_the_call_until_people_have_said(
    scene: Callable[..., Scene], way: Callable[[Scene, LlmGuard], Any]
) -> None:
    here = scene(ASKED_MODEL)
    with here.people.voting(approves=True):
        assert way(here, here.guard())
    with here.people.voting(approves=False), pytest.raises(REFUSED, match="denied by anna"):
        way(here, here.guard())
    assert len(here.upstream.calls) == 1


def test_who_does_not_wait_is_refused_at_once(scene: Callable[..., Scene]) -> None:
    here = scene(ASKED_MODEL, wait_s=0)
    with pytest.raises(openai.PermissionDeniedError, match="approval ap-") as refused:
        chat(here, here.guard())
    body: Any = refused.value.body
    assert body["code"] == "approval_required"


@pytest.mark.parametrize("way", WAYS)
def test_a_budget_asks_people_and_nothing_is_spent_meanwhile(
    scene: Callable[..., Scene], tmp_path: Path, way: Callable[[Scene, LlmGuard], Any]
) -> None:
    here = scene()
    guard = here.budgeted(tmp_path)
    way(here, guard)
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(way(here, guard)))
    thread.start()
    asked = here.people.pending()
    assert (asked.principal, asked.action, asked.params["used"]) == ("deploy-agent", "spend.continue@1", 1)
    assert (len(here.upstream.calls), here.states()) == (1, [AttemptState.SETTLED])
    here.people.vote(approves=True)
    thread.join()
    assert answers
    assert here.states() == [AttemptState.SETTLED] * 2
    with here.people.voting(approves=False), pytest.raises(REFUSED, match="denied by anna") as refused:
        way(here, guard)
    assert "decision event-" in str(refused.value)
    assert len(here.upstream.calls) == 2


def test_one_question_is_asked_for_calls_that_come_together(
    scene: Callable[..., Scene], tmp_path: Path
) -> None:
    here = scene()
    here.desk = desk(tmp_path, ASKING.replace("limit: 2", "limit: 100").replace("50", "1"))
    guard = here.guard(budgets=here.desk.keeper)
    chat(here, guard)

    async def ask_all() -> list[Any]:
        async with here.world.async_openai(guard) as client:
            calls = [client.chat.completions.create(model="gpt-5.4", messages=ASK) for _ in range(20)]
            return await asyncio.gather(*calls)

    with here.people.voting(approves=True):
        assert len(asyncio.run(ask_all())) == 20
    assert len(here.people.approvals()) == 1


def test_a_cancelled_call_spends_nothing_and_the_question_stays(
    scene: Callable[..., Scene], tmp_path: Path
) -> None:
    here = scene()
    guard = here.budgeted(tmp_path)
    chat(here, guard)

    async def give_up() -> None:
        async with here.world.async_openai(guard) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await client.chat.completions.create(model="gpt-5.4", messages=ASK)

    asyncio.run(give_up())
    here.people.vote(approves=True)
    assert (len(here.upstream.calls), here.states()) == (1, [AttemptState.SETTLED])
    chat(here, guard)
    assert len(here.people.approvals()) == 1


def test_nobody_is_asked_where_the_engine_is_dead(scene: Callable[..., Scene], tmp_path: Path) -> None:
    here = scene()
    guard = here.budgeted(tmp_path)
    chat(here, guard)
    here.people.engine.close()
    with pytest.raises(openai.PermissionDeniedError, match="nobody can be asked"):
        chat(here, guard)
    assert len(here.upstream.calls) == 1


def test_a_decider_that_asks_nobody_is_a_no(served: Upstream, tmp_path: Path) -> None:
    served.reset()
    decider = ScriptedDecider()
    world = World(served, decider, EnforcementPoint(decider, principal="helper"))
    guard = world.guard(budgets=desk(tmp_path, ASKING).keeper)
    world.openai(guard).chat.completions.create(model="gpt-5.4", messages=ASK)
    with pytest.raises(openai.PermissionDeniedError, match="can ask nobody about budgets; the gateway can"):
        world.openai(guard).chat.completions.create(model="gpt-5.4", messages=ASK)
    world.close()


def test_a_policy_that_denies_meanwhile_counts(scene: Callable[..., Scene], tmp_path: Path) -> None:
    here = scene()
    guard = here.budgeted(tmp_path)
    chat(here, guard)
    refusals: list[Exception] = []

    def ask() -> None:
        try:
            chat(here, guard)
        except openai.PermissionDeniedError as error:
            refusals.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    here.people.pending()
    here.people.adopt(OPEN.replace("effect: allow", "effect: deny"))
    here.people.vote(approves=True)
    thread.join()
    assert "the policy changed while people were asked" in str(refusals[0])
    assert len(here.upstream.calls) == 1


def names_of(scene: Scene, guard: LlmGuard, how: str) -> list[str]:
    """Return the tools whose calls reach the caller."""
    if how == "whole":
        return [each.function.name for each in chat(scene, guard).choices[0].message.tool_calls or []]

    def called(chunks: list[Any]) -> list[str]:
        tools = [tool for each in chunks for tool in each.choices[0].delta.tool_calls or []]
        return [tool.function.name for tool in tools if tool.function.name]

    if how == "stream":
        client = scene.world.openai(guard)
        return called(list(client.chat.completions.create(model="m", messages=ASK, stream=True)))

    async def stream() -> list[Any]:
        async with scene.world.async_openai(guard) as client:
            chunks = await client.chat.completions.create(model="m", messages=ASK, stream=True)
            return [each async for each in chunks]

    return called(asyncio.run(stream()))


@pytest.mark.parametrize("how", ["whole", "stream", "async"])
def test_a_proposed_tool_call_waits_for_people(scene: Callable[..., Scene], how: str) -> None:
    here = scene(ASKED_TOOL)
    for approves, found in ((True, ["get_weather"]), (False, [])):
        here.upstream.script(WEATHER)
        with here.people.voting(approves=approves):
            assert names_of(here, here.guard(on_denied="redact"), how) == found


def test_who_leaves_while_a_proposed_call_waits_pays_for_the_answer(
    scene: Callable[..., Scene], tmp_path: Path
) -> None:
    here = scene(ASKED_TOOL)
    here.upstream.script(WEATHER)
    guard = here.budgeted(tmp_path)

    async def give_up() -> None:
        async with here.world.async_openai(guard) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await client.chat.completions.create(model="gpt-5.4", messages=ASK)

    asyncio.run(give_up())
    assert here.states() == [AttemptState.SETTLED]
    assert here.people.vote(approves=True).state is ApprovalState.APPROVED


def test_a_function_that_is_guarded_itself_asks_itself(scene: Callable[..., Scene]) -> None:
    here = scene(ASKED_TOOL)
    here.upstream.script(WEATHER)
    guard = here.guard(tools={"get_weather": ToolAction("get_weather", is_guarded=True)})
    assert names_of(here, guard, "whole") == ["get_weather"]
    assert here.people.approvals() == []


def test_opening_a_websocket_waits_for_nobody(scene: Callable[..., Scene]) -> None:
    here = scene(ASKED_MODEL)
    client = here.world.openai(here.guard())
    with pytest.raises(openai.PermissionDeniedError, match="approval ap-"):
        _ = client.websocket_base_url

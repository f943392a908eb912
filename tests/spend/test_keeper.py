from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest

from agentguard.backends import MemoryLedger, SqliteLedger
from agentguard.core import AttemptState, Effect, EventKind, Spender, SpendError, SpendFilter, Unit, Usage
from agentguard.spend import Admission, Api, Call, Report, Settlement
from spending import NOW, Desk, chat, desk

if TYPE_CHECKING:
    from pathlib import Path

BOB = Spender(project="demo", agent="bob", session="s-1")
ANN = Spender(project="demo", agent="ann", session="s-2")
# gpt-4o: 2.50 USD in, 10 USD out per million tokens; 1,000 of each are 12,500 micro-dollars.
DAY = "budgets:\n  - {id: day, scope: agent, window: daily, unit: usd, limit: 0.03}\n"
ONE_CALL = 12_500


def report(*, given: int = 1_000, answered: int = 1_000, model: str = "gpt-4o-2024-08-06") -> Report:
    return Report(Usage(input_tokens=given, output_tokens=answered), model)


@pytest.fixture
def day(tmp_path: Path) -> Desk:
    return desk(tmp_path, DAY)


def test_a_call_is_reserved_at_the_most_it_can_cost_and_booked_at_what_it_cost(day: Desk) -> None:
    admission = day.keeper.reserve(chat(), BOB, attempt="one")
    assert admission.effect is Effect.ALLOW
    assert admission.reserved == {Unit.USD: ONE_CALL, Unit.TOKENS: 2_000, Unit.CALLS: 1}
    booked = day.keeper.settle(admission, report(given=100, answered=10))
    assert (booked.cost, booked.overrun, booked.state) == (350, False, AttemptState.SETTLED)


def test_a_call_that_does_not_fit_is_denied_until_the_window_ends(day: Desk) -> None:
    for attempt in ("one", "two"):
        assert day.keeper.reserve(chat(), BOB, attempt=attempt).is_admitted
    refused = day.keeper.reserve(chat(), BOB, attempt="three")
    assert (refused.effect, refused.code, refused.budget) == (Effect.DENY, "budget_exceeded", "day")
    assert refused.retry_at == datetime(2026, 11, 21, tzinfo=UTC)
    assert refused.reason == (
        "budget `day` of the agent `bob` has no room: 0.025 USD of 0.03 USD used, 0.0125 USD needed;"
        " its window ends 2026-11-21 00:00 UTC"
    )
    assert day.keeper.reserve(chat(), ANN, attempt="four").is_admitted
    day.clock.time = datetime(2026, 11, 21, tzinfo=UTC)
    assert day.keeper.reserve(chat(), BOB, attempt="five").is_admitted


def test_every_budget_that_applies_has_to_admit(tmp_path: Path) -> None:
    both = desk(
        tmp_path,
        "budgets:\n"
        "  - {id: agents, scope: agent, window: daily, unit: usd, limit: 1}\n"
        "  - {id: all, scope: project, window: total, unit: calls, limit: 1}\n"
        "  - {id: others, scope: agent, of: 'x-*', window: total, unit: calls, limit: 0}\n",
    )
    assert both.keeper.reserve(chat(), BOB, attempt="one").is_admitted
    assert both.keeper.reserve(chat(), ANN, attempt="two").budget == "all"
    assert both.keeper.reserve(chat(), Spender(agent="x-1"), attempt="three").budget == "others"


def test_a_released_call_costs_nothing(day: Desk) -> None:
    admission = day.keeper.reserve(chat(), BOB, attempt="one")
    assert day.keeper.release(admission).state is AttemptState.RELEASED
    for attempt in ("two", "three"):
        assert day.keeper.reserve(chat(), BOB, attempt=attempt).is_admitted


def test_a_call_without_a_bill_costs_what_was_reserved(day: Desk) -> None:
    day.keeper.reserve(chat(), BOB, attempt="one")
    second = day.keeper.reserve(chat(), BOB, attempt="two")
    assert day.keeper.settle(second, None).cost == ONE_CALL
    day.clock.time = NOW + timedelta(minutes=15)
    assert not day.keeper.reserve(chat(), BOB, attempt="three").is_admitted


def test_an_overrun_is_booked_whole_told_and_stops_what_comes_after(day: Desk) -> None:
    admission = day.keeper.reserve(chat(), BOB, attempt="one")
    assert day.keeper.settle(admission, report(answered=9_000)).overrun
    told = [(each.kind, each.payload["action"]) for each in day.events()]
    assert told == [(EventKind.ALERT, "spend.overrun")]
    assert not day.keeper.reserve(chat(tokens=1, most=1), BOB, attempt="two").is_admitted


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (chat("gpt-nobody-knows"), "price_unknown"),
        (chat(tier="hyper"), "price_unknown"),
        (Call("nobody", "gpt-4o", 10), "price_unknown"),
        (chat("x" * 5_000), "price_unknown"),
    ],
)
def test_where_a_budget_in_usd_holds_an_unknown_price_is_denied(day: Desk, call: Call, code: str) -> None:
    refused = day.keeper.reserve(call, BOB, attempt="one")
    assert (refused.effect, refused.code) == (Effect.DENY, code)
    assert day.ledger.levels([]) == []


def test_where_no_budget_in_usd_holds_an_unknown_price_is_admitted_and_marked(tmp_path: Path) -> None:
    calls = desk(tmp_path, "budgets:\n  - {id: c, scope: agent, window: total, unit: calls, limit: 9}\n")
    admission = calls.keeper.reserve(chat("gpt-nobody-knows"), BOB, attempt="one")
    assert admission.effect is Effect.ALLOW
    assert calls.keeper.settle(admission, report(model="gpt-nobody-knows")).cost is None
    assert isinstance(calls.ledger, MemoryLedger)
    assert calls.ledger.entries(SpendFilter())[0].unpriced


def test_an_own_price_goes_before_the_list_and_makes_a_model_known(tmp_path: Path) -> None:
    own = desk(
        tmp_path,
        DAY + "prices:\n"
        "  - {provider: openai, model: gpt-4o, input: 1, output: 2}\n"
        "  - {provider: openai, model: in-house, input: 0.5}\n",
    )
    assert own.keeper.reserve(chat(), BOB, attempt="one").reserved[Unit.USD] == 3_000
    assert own.keeper.reserve(chat("in-house"), BOB, attempt="two").reserved[Unit.USD] == 500


def test_a_deployment_is_priced_as_the_model_it_stands_for(tmp_path: Path) -> None:
    azure = desk(tmp_path, DAY + "models:\n  - {provider: azure, name: Prod-Chat, stands_for: gpt-4o}\n")
    call = Call("azure", "prod-chat", 3_000, max_output_tokens=1_000)
    admission = azure.keeper.reserve(call, BOB, attempt="one")
    assert (admission.model, admission.reserved[Unit.USD]) == ("prod-chat", ONE_CALL)
    assert azure.keeper.settle(admission, Report(Usage(input_tokens=4), "")).cost == 10


def test_every_name_of_a_model_goes_on_one_account(tmp_path: Path) -> None:
    models = desk(
        tmp_path,
        "budgets:\n  - {id: m, scope: model, of: gpt-4o, window: total, unit: calls, limit: 2}\n",
    )
    admitted = [
        models.keeper.reserve(chat(name), BOB, attempt=name).is_admitted
        for name in ("gpt-4o", "GPT-4o", "gpt-4o-2024-08-06", "gpt-4o-mini")
    ]
    assert admitted == [True, True, False, True]


def test_a_call_without_an_output_limit_gets_the_models_maximum(tmp_path: Path) -> None:
    wide = desk(tmp_path, "budgets:\n  - {id: w, scope: agent, window: daily, unit: usd, limit: 10}\n")
    admission = wide.keeper.reserve(chat(most=None), BOB, attempt="one")
    assert (admission.effect, admission.max_output_tokens) == (Effect.TRANSFORM, 16_384)
    assert "no output limit was set" in admission.reason


def test_a_call_without_an_output_limit_gets_what_the_budget_allows(day: Desk) -> None:
    # 0.03 USD less 2,500 micro-dollars of input leave 2,750 tokens at 10 micro-dollars.
    admission = day.keeper.reserve(chat(most=None), BOB, attempt="one")
    assert admission.max_output_tokens == 2_750
    assert admission.reserved[Unit.USD] == 30_000
    refused = day.keeper.reserve(chat(most=None), BOB, attempt="two")
    assert (refused.effect, refused.code) == (Effect.DENY, "budget_exceeded")


def test_each_choice_is_paid_for(day: Desk) -> None:
    assert day.keeper.reserve(chat(most=None, choices=2), BOB, attempt="one").max_output_tokens == 1_375


def test_where_no_budget_needs_it_no_output_limit_is_written(tmp_path: Path) -> None:
    calls = desk(tmp_path, "budgets:\n  - {id: c, scope: agent, window: total, unit: calls, limit: 9}\n")
    assert calls.keeper.reserve(chat(most=None), BOB, attempt="one").effect is Effect.ALLOW
    assert desk(tmp_path, "").keeper.reserve(chat(most=None), BOB, attempt="one").effect is Effect.ALLOW


def test_an_input_that_nobody_sees_counts_as_the_models_whole_context(tmp_path: Path) -> None:
    tokens = desk(
        tmp_path, "budgets:\n  - {id: t, scope: agent, window: total, unit: tokens, limit: 130000}\n"
    )
    admission = tokens.keeper.reserve(chat(unseen_input=True), BOB, attempt="one")
    assert admission.reserved[Unit.TOKENS] == 129_000


STEPS = """budgets:
  - id: day
    scope: agent
    window: daily
    unit: usd
    limit: 0.1
    at:
      - {percent: 50, do: notify}
      - {percent: 80, do: downgrade, to: {"gpt-4o": gpt-4o-mini}}
      - {percent: 100, do: ask}
"""


def spend(at: Desk, micro: int, attempt: str) -> None:
    """Book so many micro-dollars, a multiple of ten."""
    admission = at.keeper.reserve(chat("gpt-4o-mini", tokens=1, most=1), BOB, attempt=attempt)
    at.keeper.settle(admission, report(given=0, answered=micro // 10, model="gpt-4o"))


def test_a_threshold_is_told_once_when_what_is_booked_passes_it(tmp_path: Path) -> None:
    steps = desk(tmp_path, STEPS)
    spend(steps, 49_990, "one")
    assert [each.payload["action"] for each in steps.events()] == ["spend.overrun"]
    for attempt in ("two", "three"):
        spend(steps, 10, attempt)
    told = [each for each in steps.events() if each.payload["action"] == "spend.threshold"]
    assert [(each.principal, each.payload["percent"]) for each in told] == [("bob", 50)]
    assert told[0].payload["severity"] == "medium"
    assert told[0].payload["reason"] == "50 % of the agent's budget is spent: 0.05 USD of 0.10 USD"


def test_from_a_threshold_on_a_cheaper_model_is_called_in_its_place(tmp_path: Path) -> None:
    steps = desk(tmp_path, STEPS)
    spend(steps, 79_990, "one")
    assert steps.keeper.reserve(chat(), BOB, attempt="two").model == "gpt-4o"
    admission = steps.keeper.reserve(chat(), BOB, attempt="three")
    assert (admission.effect, admission.model, admission.budget) == (Effect.TRANSFORM, "gpt-4o-mini", "day")
    assert admission.reason == (
        "budget `day` of the agent `bob` is 92 % used: `gpt-4o-mini` in place of `gpt-4o`"
    )
    assert admission.reserved[Unit.USD] == 750
    assert steps.keeper.reserve(chat("o3-mini", tokens=1), BOB, attempt="four").model == "o3-mini"


def test_a_person_is_asked_where_the_budget_says_so(tmp_path: Path) -> None:
    steps = desk(tmp_path, STEPS)
    spend(steps, 99_990, "one")
    refused = steps.keeper.reserve(chat(), BOB, attempt="two")
    assert (refused.effect, refused.code) == (Effect.REQUIRE_APPROVAL, "budget_approval")
    assert refused.reason == "budget `day` of the agent `bob` is 99 % used: a person has to approve"
    assert not refused.is_admitted


def test_a_model_that_is_cheap_enough_is_called_where_the_dear_one_does_not_fit(tmp_path: Path) -> None:
    steps = desk(tmp_path, STEPS)
    admission = steps.keeper.reserve(chat(tokens=30_000, most=5_000), BOB, attempt="one")
    assert (admission.model, admission.effect) == ("gpt-4o-mini", Effect.TRANSFORM)


def test_an_attempt_is_opened_once(day: Desk) -> None:
    first = day.keeper.reserve(chat(), BOB, attempt="one")
    again = day.keeper.reserve(chat(), BOB, attempt="one")
    assert again.is_admitted
    assert day.keeper.reserve(chat(most=5), BOB, attempt="one").code == "attempt_used"
    day.keeper.settle(first, report())
    assert day.keeper.settle(again, report()).repeated
    assert day.keeper.reserve(chat(), BOB, attempt="one").code == "attempt_used"


def test_a_ledger_that_cannot_be_asked_denies(day: Desk) -> None:
    admission = day.keeper.reserve(chat(), BOB, attempt="one")
    day.ledger.close()
    assert day.keeper.reserve(chat(), BOB, attempt="two").code == "spend_closed"
    assert day.keeper.reserve_tool("web.search", BOB, attempt="two").effect is Effect.ALLOW
    with pytest.raises(SpendError):
        day.keeper.settle(admission, report())


def test_hostile_names_are_kept_apart_and_taken_by_a_real_ledger(tmp_path: Path) -> None:
    real = SqliteLedger(tmp_path / "ledger.sqlite")
    hostile = desk(
        tmp_path,
        "budgets:\n  - {id: c, scope: session, window: total, unit: calls, limit: 1}\n",
        ledger=real,
    )
    names = ["", "half \ud800 pair", "a" * 5_000, "a" * 4_999 + "b", "\x1f", "é"]
    for number, name in enumerate(names):
        who = Spender(agent=name, session=name)
        call = Call(name, name, 10, prompt=b"x")
        assert hostile.keeper.reserve(call, who, attempt=f"{number}{name}").is_admitted
        assert not hostile.keeper.reserve(call, who, attempt=f"again{number}{name}").is_admitted
    assert len(real.entries(SpendFilter())) == len(names)
    real.close()


TOOLS = """budgets:
  - {id: tools, scope: agent, window: daily, unit: tool_cost, limit: 0.02}
tools:
  - {action: "web.*", usd: 0.01}
"""


def test_an_action_that_costs_is_held_to_its_budget(tmp_path: Path) -> None:
    tools = desk(tmp_path, TOOLS)
    first = tools.keeper.reserve_tool("web.search@2", BOB, attempt="one")
    assert first.reserved == {Unit.TOOL_COST: 10_000}
    assert tools.keeper.settle_tool(first).cost == 10_000
    second = tools.keeper.reserve_tool("web.search", BOB, attempt="two")
    assert tools.keeper.reserve_tool("web.search", BOB, attempt="three").code == "budget_exceeded"
    assert tools.keeper.reserve_tool("file.read", BOB, attempt="four").is_admitted
    tools.keeper.release(second)
    assert tools.keeper.reserve_tool("web.search", BOB, attempt="five").is_admitted


@pytest.mark.parametrize("api", list(Api))
def test_embeddings_have_no_output(day: Desk, api: Api) -> None:
    admission = day.keeper.reserve(Call("openai", "gpt-4o", 3_000, api), BOB, attempt="one")
    assert (admission.max_output_tokens is None) is (api is Api.EMBEDDINGS)


# Claude Opus 4.5: 5 in, 25 out, 6.25 and 10 for filling the cache; gpt-audio: 2.50 and 32 in, 10 and 64 out.
@pytest.mark.parametrize(
    ("call", "usd"),
    [
        (Call("anthropic", "claude-opus-4-5", 3_000, Api.MESSAGES, 100), 5_000 + 2_500),
        (Call("anthropic", "claude-opus-4-5", 3_000, Api.MESSAGES, 100, writes_cache=True), 10_000 + 2_500),
        (Call("anthropic", "claude-opus-4-5", 3_000, Api.MESSAGES, 100, tier="batch"), 2_500 + 1_250),
        (Call("openai", "gpt-audio", 3_000, Api.CHAT, 100), 2_500 + 1_000),
        (Call("openai", "gpt-audio", 3_000, Api.CHAT, 100, has_audio=True), 32_000 + 6_400),
        (Call("openai", "gpt-4o", 3_000, Api.CHAT, 100, choices=3), 2_500 + 3_000),
        (Call("openai", "gpt-4o", 3_000, Api.CHAT, 100, extra_input_tokens=1_000), 5_000 + 1_000),
        (Call("openai", "gpt-4o", 3_000, Api.CHAT, 1), 2_500 + 10),
        (Call("openai", "text-embedding-3-small", 3_000, Api.EMBEDDINGS), 20),
    ],
)
def test_the_dearest_rate_that_can_apply_is_reserved(tmp_path: Path, call: Call, usd: int) -> None:
    wide = desk(tmp_path, "budgets:\n  - {id: w, scope: agent, window: total, unit: usd, limit: 100}\n")
    assert wide.keeper.reserve(call, BOB, attempt="one").reserved[Unit.USD] == usd


def test_an_input_that_nobody_sees_of_a_model_without_a_known_context_has_no_price(tmp_path: Path) -> None:
    own = desk(tmp_path, DAY + "prices:\n  - {provider: openai, model: mine, input: 1, batch_percent: 50}\n")
    assert own.keeper.reserve(chat("mine", unseen_input=True), BOB, attempt="one").code == "price_unknown"
    assert own.keeper.reserve(chat("mine", tier="batch"), BOB, attempt="two").reserved[Unit.USD] == 500


def test_what_was_reserved_for_the_answer_is_told(day: Desk) -> None:
    assert day.keeper.reserve(chat(most=5, choices=3), BOB, attempt="one").output_tokens == 15
    assert day.keeper.reserve(chat(most=None), ANN, attempt="two").output_tokens == 2_750
    embedding = Call("openai", "text-embedding-3-small", 3_000, Api.EMBEDDINGS)
    assert day.keeper.reserve(embedding, BOB, attempt="three").output_tokens == 0


def test_an_action_without_a_price_is_settled_without_a_ledger(day: Desk) -> None:
    free = day.keeper.reserve_tool("file.read", BOB, attempt="one")
    day.ledger.close()
    assert day.keeper.settle_tool(free).cost == 0
    assert day.keeper.release(free).state is AttemptState.RELEASED


@pytest.mark.parametrize("most", [0, -1, -(10**30)])
def test_an_output_limit_that_is_none_makes_no_call_cheaper(day: Desk, most: int) -> None:
    admission = day.keeper.reserve(chat(most=most), BOB, attempt="one")
    assert (admission.effect, admission.max_output_tokens) == (Effect.TRANSFORM, 2_750)


@pytest.mark.parametrize("more", [{"most": 10**30}, {"choices": 10**30}, {"tokens": 10**30}])
def test_a_call_of_absurd_size_is_denied(day: Desk, more: dict[str, int]) -> None:
    assert day.keeper.reserve(chat(**more), BOB, attempt="one").code == "budget_exceeded"  # type: ignore[arg-type]  # by name


def test_steps_taken_together_see_each_other_and_cost_one(tmp_path: Path) -> None:
    held = SqliteLedger(tmp_path / "ledger.sqlite")
    day = desk(tmp_path, DAY, ledger=held)
    names = ("one", "two", "three")
    steps = [lambda name=name: day.keeper.reserve(chat(), BOB, attempt=name) for name in names]
    answers = day.keeper.together(steps)
    assert [each.is_admitted for each in answers if not isinstance(each, Exception)] == [True, True, False]
    held.close()


def test_a_step_that_breaks_the_group_is_taken_alone_and_the_others_hold(tmp_path: Path) -> None:
    held = SqliteLedger(tmp_path / "ledger.sqlite")
    text = DAY.replace("daily", "daily, at: [{percent: 10, do: notify}]")
    day = desk(tmp_path, text, ledger=held)
    first = day.keeper.reserve(chat(), BOB, attempt="one")
    with sqlite3.connect(tmp_path / "ledger.sqlite") as base:
        base.execute(
            "CREATE TRIGGER broken BEFORE INSERT ON attempts WHEN NEW.attempt = 'bad'"
            " BEGIN SELECT RAISE(ABORT, 'broken'); END"
        )
    base.close()
    answers = day.keeper.together(
        [
            lambda: day.keeper.settle(first, report()),
            lambda: day.keeper.reserve(chat(), BOB, attempt="bad"),
            lambda: day.keeper.reserve(chat(), BOB, attempt="good"),
            lambda: day.keeper.settle(msgspec.structs.replace(first, attempt="unknown"), report()),
        ]
    )
    booked, bad, good, unknown = answers
    assert isinstance(booked, Settlement)
    assert booked.cost == ONE_CALL
    assert isinstance(bad, Admission)
    assert isinstance(good, Admission)
    assert (bad.is_admitted, good.is_admitted) == (False, True)
    assert isinstance(unknown, SpendError)
    # Told once, though the settlement was tried twice.
    assert [event.payload["action"] for event in day.events()] == ["spend.threshold"]
    held.close()


@pytest.mark.parametrize("most", [1_000, None])
def test_a_hard_stop_tells_who_runs_the_agent_where_the_budget_says_so(
    tmp_path: Path, most: int | None
) -> None:
    text = "budgets:\n  - {id: few, scope: agent, window: total, unit: tokens, limit: 2500, stop: freeze}\n"
    few = desk(tmp_path, text)
    who = Spender(agent="bob", key="jti-7")
    assert few.keeper.reserve(chat(), who, attempt="one").is_admitted
    assert few.events() == []
    assert few.keeper.reserve(chat(most=most), who, attempt="two").code == "budget_exceeded"
    (event,) = few.events()
    assert (event.principal, event.payload["action"]) == ("bob", "spend.stop")
    assert (event.payload["stop"], event.payload["key"]) == ("freeze", "jti-7")

"""Budgets that ask people: what is asked, and how far a yes lets somebody go on."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from agentguard.core import Effect, SpendAnswer, Spender, SpendQuestion
from spending import NOW, Desk, budgets_of, chat, desk

if TYPE_CHECKING:
    from pathlib import Path

    from agentguard.spend import Admission

NAMES = (f"attempt-{number}" for number in itertools.count())
BOB, EVE = Spender(agent="bob", key="k-1"), Spender(agent="eve")
DAY = """budgets:
  - id: day
    scope: {scope}
    window: {window}
    unit: calls
    limit: {limit}
    at: [{at}]
    stop: end
"""
HALF = "{percent: 50, do: ask}"
FULL = "{percent: 100, do: ask}"


def written(at: str, *, scope: str = "agent", window: str = "daily", limit: int = 4) -> str:
    return DAY.format(scope=scope, window=window, limit=limit, at=at)


def made(at: Desk, count: int, who: Spender = BOB) -> None:
    """Make so many calls."""
    for _ in range(count):
        admission = at.keeper.reserve(chat(), who, attempt=next(NAMES))
        assert admission.is_admitted, admission.reason
        at.keeper.settle(admission, None)


def call(at: Desk, who: Spender = BOB) -> Admission:
    """Ask for one call, and give back what it reserved."""
    admission = at.keeper.reserve(chat(), who, attempt=next(NAMES))
    if admission.is_admitted:
        at.keeper.release(admission)
    return admission


def asked(at: Desk, who: Spender = BOB) -> SpendQuestion:
    question = call(at, who).question
    assert question is not None
    return question


@pytest.mark.parametrize(
    ("at", "calls", "percent", "until"),
    [
        (HALF, 2, 50, 4),
        (f"{HALF}, {{percent: 75, do: ask}}", 2, 50, 3),
        (f"{HALF}, {{percent: 75, do: ask}}", 3, 75, 4),
        (f"{HALF}, {FULL}", 3, 50, 4),
        (FULL, 4, 100, 5),
    ],
)
def test_a_question_says_how_far_a_yes_leads(
    tmp_path: Path, at: str, calls: int, percent: int, until: int
) -> None:
    quiet = desk(tmp_path, written("{percent: 1, do: notify}"))
    made(quiet, calls)
    quiet.keeper.adopt(budgets_of(tmp_path, written(at)), quiet.keeper._prices)
    question = asked(quiet)
    assert (question.percent, question.until, question.used, question.limit) == (percent, until, calls, 4)
    assert (question.who, question.of, question.estimate, question.model) == ("bob", "bob", 1, "gpt-4o")


def test_a_tenth_of_the_limit_more_is_asked_for_at_the_limit(tmp_path: Path) -> None:
    many = desk(tmp_path, written(FULL, limit=40))
    made(many, 40)
    question = asked(many)
    assert (question.until, question.is_past_limit) == (44, True)
    many.keeper.grant(question, NOW)
    assert call(many).is_admitted
    made(many, 4)
    assert asked(many).until == 48


def test_calls_that_need_about_as_much_past_the_limit_ask_the_same(tmp_path: Path) -> None:
    text = "budgets: [{id: t, scope: agent, window: total, unit: tokens, limit: 1000, at: [{percent: 100, do: ask}]}]\n"
    at = desk(tmp_path, text)
    untils = []
    for tokens in (1_200, 1_290, 1_301):
        question = at.keeper.reserve(chat(tokens=tokens, most=10), BOB, attempt=next(NAMES)).question
        assert question is not None
        untils.append(question.until)
    assert untils == [1_300, 1_300, 1_400]


def test_what_does_not_fit_is_nobodys_to_approve_where_only_a_lower_threshold_asks(tmp_path: Path) -> None:
    half = desk(tmp_path, written(HALF, limit=2))
    made(half, 1)
    half.keeper.grant(asked(half), NOW)
    admission = half.keeper.reserve(chat(), BOB, attempt="one more")
    half.keeper.settle(admission, None)
    refused = call(half)
    assert (refused.effect, refused.code, refused.question) == (Effect.DENY, "budget_exceeded", None)


@pytest.mark.parametrize(
    ("window", "later", "holds"),
    [
        ("daily", timedelta(hours=11), True),
        ("daily", timedelta(hours=13), False),
        ("total", timedelta(days=400), True),
        ("rolling\n    within: 2h", timedelta(minutes=119), True),
        ("rolling\n    within: 2h", timedelta(minutes=121), False),
    ],
)
def test_a_yes_holds_as_long_as_the_window(
    tmp_path: Path, window: str, later: timedelta, *, holds: bool
) -> None:
    at = desk(tmp_path, written("{percent: 1, do: ask}", window=window))
    at.keeper.grant(asked(at), NOW)
    at.clock.time = NOW + later
    assert call(at).is_admitted is holds


def test_a_yes_is_for_one_agent_and_one_limit(tmp_path: Path) -> None:
    at = desk(tmp_path, written("{percent: 1, do: ask}", scope="project"))
    at.keeper.grant(asked(at), NOW)
    assert call(at).is_admitted
    assert call(at, EVE).question is not None
    raised = budgets_of(tmp_path, written("{percent: 1, do: ask}", scope="project", limit=5))
    at.keeper.adopt(raised, at.keeper._prices)
    assert call(at).question is not None


def test_a_no_at_the_limit_stops_the_agent_and_one_before_it_does_not(tmp_path: Path) -> None:
    no, pending = SpendAnswer("ap-1", note="denied by anna"), SpendAnswer("ap-1", is_pending=True)
    at = desk(tmp_path, written(f"{HALF}, {FULL}", limit=2))
    made(at, 1)
    at.keeper.turn_down(call(at), no)
    assert [each.payload["action"] for each in at.events()] == ["spend.threshold"]
    at.keeper.grant(asked(at), NOW)
    made(at, 1)
    at.events()
    waits = at.keeper.turn_down(call(at), pending)
    assert (waits.effect, waits.code, waits.approval) == (
        Effect.REQUIRE_APPROVAL,
        "approval_required",
        "ap-1",
    )
    assert at.events() == []
    refused = at.keeper.turn_down(call(at), no)
    assert (refused.effect, refused.code) == (Effect.DENY, "budget_approval")
    assert [each.payload["action"] for each in at.events()] == ["spend.stop"]


def test_an_action_that_people_have_approved_goes_past_the_limit_alone(tmp_path: Path) -> None:
    text = (
        "budgets: [{id: t, scope: agent, window: total, unit: tool_cost, limit: 0.01, at: [{percent: 100, do: ask}]}]\n"
        "tools: [{action: search, usd: 0.01}]\n"
    )
    at = desk(tmp_path, text)
    at.keeper.settle_tool(at.keeper.reserve_tool("search", BOB, attempt="1"))
    assert at.keeper.reserve_tool("search", BOB, attempt="2").effect is Effect.REQUIRE_APPROVAL
    assert at.keeper.reserve_tool("search", BOB, attempt="3", is_approved=True).is_admitted
    assert at.keeper.reserve_tool("search", BOB, attempt="4").effect is Effect.REQUIRE_APPROVAL

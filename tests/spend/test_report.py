from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from agentguard.backends import MemoryLedger
from agentguard.core import AttemptState, SpendEntry, Spender, SpendFilter, Unit, Usage
from agentguard.spend import (
    FOCUS_COLUMNS,
    Report,
    add_up,
    advise,
    focus_rows,
    history,
    known_accounts,
    load_prices,
    write_csv,
)
from spending import NOW, HandClock, budgets_of, chat, desk

if TYPE_CHECKING:
    from pathlib import Path

PRICES = load_prices()


def entry(
    seq: int = 1,
    *,
    agent: str = "bob",
    model: str = "gpt-4o",
    usd: int = 1_000,
    state: AttemptState = AttemptState.SETTLED,
    at: datetime = NOW,
    given: int = 100,
    cached: int = 0,
    answered: int = 10,
    prompt: str = "",
    kind: str = "llm",
    session: str = "s-1",
    overrun: bool = False,
) -> SpendEntry:
    return SpendEntry(
        seq=seq,
        attempt=f"a-{seq}",
        state=state,
        at=at,
        spender=Spender("org", "proj", agent, session),
        kind=kind,
        provider="openai",
        model=model,
        amounts={Unit.USD: usd} if kind == "llm" else {Unit.TOOL_COST: usd},
        reserved={Unit.USD: usd},
        usage=Usage(input_tokens=given, cache_read_tokens=cached, output_tokens=answered),
        overrun=overrun,
        prompt=prompt,
    )


def test_lines_add_up_what_was_booked_the_dearest_first() -> None:
    lines = add_up(
        [
            entry(agent="ann", usd=5),
            entry(agent="bob", usd=9, overrun=True),
            entry(agent="ann", usd=1, state=AttemptState.EXPIRED),
            entry(agent="ann", usd=7, state=AttemptState.OPEN),
        ],
        ["agent"],
    )
    assert [(line.group, line.calls, line.cost, line.reserved) for line in lines] == [
        ({"agent": "bob"}, 1, 9, 0),
        ({"agent": "ann"}, 3, 6, 7),
    ]
    assert (lines[0].overruns, lines[1].estimated, lines[1].input_tokens) == (1, 1, 300)


def test_days_are_those_of_utc() -> None:
    late = datetime.fromisoformat("2026-11-20T23:30:00-05:00")
    assert [line.group for line in add_up([entry(at=late)], ["day", "kind"])] == [
        {"day": "2026-11-21", "kind": "llm"}
    ]


def test_what_was_released_is_no_spending(tmp_path: Path) -> None:
    one = desk(tmp_path, "")
    who = Spender(agent="bob")
    one.keeper.release(one.keeper.reserve(chat(), who, attempt="one"))
    one.keeper.settle(one.keeper.reserve(chat(), who, attempt="two"), None)
    assert isinstance(one.ledger, MemoryLedger)
    assert [each.attempt for each in history(one.ledger, SpendFilter())] == ["two"]


def test_a_bill_has_the_columns_that_focus_asks_for() -> None:
    rows = list(
        focus_rows(
            [
                entry(at=datetime(2026, 12, 31, 23, tzinfo=UTC), usd=1_500_000),
                entry(at=datetime(2026, 12, 31, 1, tzinfo=UTC), usd=1),
                entry(kind="tool", model="web.search", usd=10_000),
                entry(state=AttemptState.OPEN),
            ]
        )
    )
    assert [tuple(row) for row in rows] == [FOCUS_COLUMNS] * 2
    tool, model = rows
    assert (tool["BilledCost"], tool["ConsumedQuantity"], tool["ConsumedUnit"]) == ("0.01", 1, "Calls")
    assert (model["BilledCost"], model["ConsumedQuantity"], model["ConsumedUnit"]) == (
        "1.500001",
        220,
        "Tokens",
    )
    assert (model["ChargePeriodStart"], model["ChargePeriodEnd"]) == (
        "2026-12-31T00:00:00Z",
        "2027-01-01T00:00:00Z",
    )
    assert (model["BillingPeriodStart"], model["BillingPeriodEnd"]) == (
        "2026-12-01T00:00:00Z",
        "2027-01-01T00:00:00Z",
    )


def test_a_name_that_is_a_formula_is_no_formula_in_a_spreadsheet() -> None:
    stream = io.StringIO()
    write_csv(("agent", "calls", "none"), [{"agent": '=cmd("x")', "calls": 3, "none": None}], stream)
    assert stream.getvalue() == 'agent,calls,none\r\n"\'=cmd(""x"")",3,\r\n'


def test_accounts_are_those_that_may_still_count(tmp_path: Path) -> None:
    text = (
        "budgets:\n"
        "  - {id: m, scope: model, window: daily, unit: usd, limit: 1}\n"
        "  - {id: s, scope: session, of: 's-*', window: daily, unit: calls, limit: 5}\n"
    )
    one = desk(tmp_path, text)
    assert isinstance(one.clock, HandClock)
    for number, session in enumerate(["s-1", "s-2", "x", "s-1"]):
        admission = one.keeper.reserve(chat(), Spender(session=session), attempt=f"n-{number}")
        one.keeper.settle(admission, Report(Usage(input_tokens=1), "gpt-4o-2024-08-06"))
    assert isinstance(one.ledger, MemoryLedger)
    budgets = budgets_of(tmp_path, text)
    found = known_accounts(one.ledger, budgets, PRICES, NOW)
    assert [(each.budget.id, each.value) for each in found] == [("m", "gpt-4o"), ("s", "s-1"), ("s", "s-2")]
    assert known_accounts(one.ledger, budgets, PRICES, NOW + timedelta(days=1)) == []


def test_a_cheaper_model_is_compared_by_its_own_prices() -> None:
    # 200 small calls: 100,000 in and 20,000 out are 0.45 USD on gpt-4o, and 0.027 USD on gpt-4o-mini.
    calls = [
        entry(number, given=500, answered=100, usd=2_250, session=f"s-{number}") for number in range(200)
    ]
    (advice,) = advise(calls, PRICES, ["gpt-4o-mini", "o3", "nobody-knows"], NOW)
    assert (advice.kind, advice.subject, advice.saves) == ("cheaper-model", "gpt-4o", 450_000 - 27_000)
    assert "100000 in and 20000 out cost 0.45 USD, with `gpt-4o-mini` 0.027 USD" in advice.says
    assert advise(calls, PRICES, [], NOW) == []
    assert advise(calls[:1], PRICES, ["gpt-4o-mini"], NOW) == []


def test_a_model_that_does_large_work_is_not_compared() -> None:
    calls = [
        entry(number, given=50_000, answered=5_000, usd=175_000, session=f"s-{number}") for number in range(9)
    ]
    assert advise(calls, PRICES, ["gpt-4o-mini"], NOW) == []


def test_a_conversation_that_is_paid_in_full_again_is_told() -> None:
    calls = [entry(number, given=10_000 * number, answered=600) for number in range(1, 5)]
    (advice,) = advise(calls, PRICES, [], NOW)
    # 10,000 + 20,000 + 30,000 tokens at 1.25 in place of 2.50 USD a million.
    assert (advice.kind, advice.saves) == ("caching", 75_000)
    cached = [
        entry(number, given=10_000 * number, cached=9_000 * (number - 1), answered=600)
        for number in (1, 2, 3)
    ]
    assert advise(cached, PRICES, [], NOW) == []


def test_a_prompt_that_is_sent_again_and_again_is_told() -> None:
    calls = [
        entry(
            number,
            prompt="d" * 64,
            usd=20_000,
            given=5_000,
            at=NOW + timedelta(hours=number),
            session=f"s-{number}",
        )
        for number in range(3)
    ]
    (advice,) = advise(calls, PRICES, [], NOW)
    assert (advice.kind, advice.saves) == ("repeated-prompt", 40_000)
    assert "d" * 13 not in advice.says


def test_a_loop_is_told_by_its_agent_and_session() -> None:
    calls = [entry(number, prompt="p", usd=100, at=NOW + timedelta(minutes=number)) for number in range(5)]
    (advice,) = advise(calls, PRICES, [], NOW)
    assert (advice.kind, advice.subject, advice.saves) == ("runaway-loop", "bob", 400)
    slow = [entry(number, prompt="p", usd=100, at=NOW + timedelta(minutes=2 * number)) for number in range(5)]
    assert advise(slow, PRICES, [], NOW) == []

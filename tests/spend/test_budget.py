from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from agentguard.core import DocumentError, Spender, Unit
from agentguard.spend import BudgetFinding, Budgets, Window, check_budgets, load_budgets, load_prices
from spending import NOW, budgets_of

if TYPE_CHECKING:
    from pathlib import Path

ONE = "budgets:\n  - {id: one, scope: agent, window: daily, unit: usd, limit: 1"


def test_without_a_file_there_is_no_budget(tmp_path: Path) -> None:
    assert load_budgets(tmp_path / "budgets.yaml") == Budgets()


def test_a_budget_is_read_in_whole_units(tmp_path: Path) -> None:
    text = (
        "budgets:\n"
        "  - {id: a, scope: agent, window: rolling, within: 5h, unit: usd, limit: 0.1234567,"
        " at: [{percent: 80, do: notify}, {percent: 50, do: ask}]}\n"
        "  - {id: b, scope: session, of: 's-*', window: total, unit: tokens, limit: 9}\n"
    )
    first, second = budgets_of(tmp_path, text).budgets
    assert (first.limit, first.window, first.rolling) == (123_456, Window.ROLLING, timedelta(hours=5))
    assert [(step.percent, step.amount) for step in first.steps] == [(50, 61_728), (80, 98_764)]
    assert (second.unit, second.limit) == (Unit.TOKENS, 9)
    assert second.value(Spender(session="s-1"), "m") == "s-1"
    assert second.value(Spender(session="x"), "m") is None


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("budgets: [{id: one}]\n", 2, "missing required field `scope`"),
        (ONE + ", color: red}\n", 3, "unknown key `color`"),
        (ONE + "}\n" + ONE[9:] + "}\n", 4, "a second budget `one`"),
        (ONE.replace("limit: 1", "limit: -1") + "}\n", 3, "is no amount of money"),
        (ONE.replace("limit: 1", "limit: .inf") + "}\n", 3, "read differently"),
        (ONE.replace("usd", "tokens").replace("limit: 1", "limit: 1.5") + "}\n", 3, "a whole number"),
        (ONE.replace("usd", "calls").replace("limit: 1", "limit: -1") + "}\n", 3, "a whole number"),
        (ONE.replace("usd", "euro") + "}\n", 3, "must be one of `usd`"),
        (ONE.replace("daily", "yearly") + "}\n", 3, "must be one of"),
        (ONE.replace("agent", "planet") + "}\n", 3, "must be one of"),
        (ONE.replace("id: one", "id: One!") + "}\n", 3, "expected `str` matching"),
        (ONE + ", tz: Mars/Olympus}\n", 3, "unknown time zone `Mars/Olympus`"),
        (ONE + ", tz: ../../etc/passwd}\n", 3, "unknown time zone"),
        (ONE + ", within: 5h}\n", 3, "`within` belongs to `window: rolling`"),
        (ONE.replace("daily", "rolling") + "}\n", 3, "a rolling window needs its length"),
        (ONE.replace("daily", "rolling") + ", within: 91d}\n", 3, "a rolling window needs its length"),
        (ONE + ", at: [{percent: 101, do: notify}]}\n", 3, "expected `int` <= 100"),
        (ONE + ", at: [{percent: 80, do: shout}]}\n", 3, "must be one of"),
        (ONE + ", at: [{percent: 80, do: downgrade}]}\n", 3, "`to` belongs to `do: downgrade`"),
        (ONE + ", at: [{percent: 80, do: ask, to: {a: b}}]}\n", 3, "`to` belongs to `do: downgrade`"),
        ("prices: [{provider: openai, model: m, input: -1}]\n", 2, "is no amount of money"),
        ("tools: [{action: x, usd: 1.0e+300}]\n", 2, "is no amount of money"),
    ],
)
def test_what_cannot_be_held_is_refused_where_it_stands(
    tmp_path: Path, text: str, line: int, message: str
) -> None:
    with pytest.raises(DocumentError) as caught:
        budgets_of(tmp_path, text)
    assert message in caught.value.message
    assert caught.value.location is not None
    assert (caught.value.location.file, caught.value.location.line) == ("budgets.yaml", line)


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        (("limit: 1", "limit: 2"), True),
        (("usd", "tokens"), False),
        (("daily", "weekly"), False),
        (("daily", "daily, tz: Europe/Berlin"), False),
        (("one", "two"), False),
    ],
)
def test_a_budget_begins_anew_when_it_counts_otherwise(
    tmp_path: Path, changed: tuple[str, str], *, same: bool
) -> None:
    before, after = (
        budgets_of(tmp_path, text).budgets[0].claim("bob", NOW, 0).meter
        for text in (ONE + "}\n", ONE.replace(*changed) + "}\n")
    )
    assert (before == after) is same


def test_what_an_action_costs_is_told_by_its_name_or_its_version(tmp_path: Path) -> None:
    text = "tools:\n  - {action: web.search@2, usd: 0.5}\n  - {action: web.*, usd: 0.0000001}\n"
    budgets = budgets_of(tmp_path, text)
    actions = ("web.search@2", "web.search", "web.fetch@1", "file.read")
    # What is less than a micro-dollar is rounded up to one.
    assert [budgets.tool_cost(action) for action in actions] == [500_000, 1, 1, 0]


def test_what_is_probably_not_meant_is_told(tmp_path: Path) -> None:
    text = (
        "budgets:\n"
        "  - {id: zero, scope: agent, window: daily, unit: calls, limit: 0}\n"
        "  - {id: tools, scope: model, window: daily, unit: tool_cost, limit: 1,"
        " at: [{percent: 50, do: downgrade, to: {x: gpt-4o}}]}\n"
        "  - {id: down, scope: agent, window: daily, unit: usd, limit: 1,"
        " at: [{percent: 50, do: downgrade, to: {'gpt-*': nobody-knows, gpt-4o-mini: gpt-4o}}]}\n"
        "  - {id: fine, scope: agent, window: daily, unit: usd, limit: 1,"
        " at: [{percent: 50, do: downgrade, to: {gpt-4o: gpt-4o-mini}}]}\n"
        "models:\n"
        "  - {provider: azure, name: mine, stands_for: nobody-knows}\n"
        "  - {provider: azure, name: prod, stands_for: gpt-4o}\n"
    )
    found = check_budgets(budgets_of(tmp_path, text), load_prices(), NOW)
    assert found == [
        BudgetFinding("zero", "has a limit of 0 calls: nothing passes that counts"),
        BudgetFinding("tools", "counts what actions cost, and `tools` gives no action a price"),
        BudgetFinding("tools", "holds for nothing: an action has no model"),
        BudgetFinding("tools", "would replace a model, and it counts what actions cost"),
        BudgetFinding("down", "replaces models by `nobody-knows`, whose price nobody knows"),
        BudgetFinding("down", "replaces `gpt-4o-mini` by `gpt-4o`, which is no cheaper"),
        BudgetFinding("mine", "stands for `nobody-knows`, whose price at `azure` nobody knows"),
    ]

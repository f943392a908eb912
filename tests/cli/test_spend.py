from __future__ import annotations

import csv
import io
import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from agentguard.assembly import Spending
from agentguard.config import load_config
from agentguard.core import Usage
from agentguard.spend import Call, Report, encode_prices, load_prices

if TYPE_CHECKING:
    from pathlib import Path

    from command_line import Command

BUDGETS = """\
version: 1
budgets:
  - {id: day, scope: agent, window: daily, unit: usd, limit: 1, at: [{percent: 50, do: downgrade, to: {gpt-4o: gpt-4o-mini}}]}
  - {id: calls, scope: session, window: total, unit: calls, limit: 10}
"""


@pytest.fixture
def spent(agentguard: Command) -> Command:
    agentguard.write("budgets.yaml", BUDGETS)
    spending = Spending(load_config(agentguard.folder, os.environ))
    for number, agent in enumerate(["bob", "=ann\x1b[31m", "bob"]):
        who = spending.spender(agent, session="s-1")
        call = Call("openai", "gpt-4o", 9_000, max_output_tokens=500)
        admission = spending.keeper.reserve(call, who, attempt=f"n-{number}")
        if number < 2:
            usage = Usage(input_tokens=2_000, output_tokens=400)
            spending.keeper.settle(admission, Report(usage, "gpt-4o-2024-08-06"))
    spending.close()
    return agentguard


def test_status_shows_how_far_each_account_is_used(spent: Command) -> None:
    rows = spent("spend", "status", "--json").json()
    assert [(row["budget"], row["of"], row["spent"], row["reserved"], row["percent"]) for row in rows] == [
        ("day", "=ann\x1b[31m", 9_000, 0, 0),
        ("day", "bob", 9_000, 12_500, 2),
        ("calls", "s-1", 2, 1, 30),
    ]
    shown = spent("spend", "status").out
    assert "0.009 USD" in shown
    assert "\x1b[31m" not in shown


def test_without_a_budget_or_a_call_status_says_so(agentguard: Command) -> None:
    assert "there is no budget" in agentguard("spend", "status").out
    agentguard.write("budgets.yaml", BUDGETS)
    assert "nothing was spent yet" in agentguard("spend", "status").out
    assert "0 calls" in agentguard("spend", "report").out
    assert "nothing to recommend" in agentguard("spend", "advice").out


def test_a_report_is_a_table_json_or_csv(spent: Command) -> None:
    lines = spent("spend", "report", "--by", "agent", "--json").json()
    assert [(line["group"]["agent"], line["calls"], line["cost"], line["reserved"]) for line in lines] == [
        ("bob", 2, 9_000, 12_500),
        ("=ann\x1b[31m", 1, 9_000, 0),
    ]
    table = spent("spend", "report", "--by", "agent").out
    assert "3 calls, 0.018 USD" in table
    assert "0.0125 USD reserved" in table
    rows = list(csv.DictReader(io.StringIO(spent("spend", "report", "--by", "agent", "--format", "csv").out)))
    assert [(row["agent"], row["cost_usd"]) for row in rows] == [("bob", "0.009"), ("'=ann", "0.009")]


def test_a_bill_is_csv_or_json_with_the_same_rows(spent: Command) -> None:
    rows = list(csv.DictReader(io.StringIO(spent("spend", "report", "--format", "focus-csv").out)))
    same = json.loads(spent("spend", "report", "--format", "focus-json").out)
    assert [row["BilledCost"] for row in rows] == [row["BilledCost"] for row in same] == ["0.009", "0.009"]


def test_a_report_is_narrowed(spent: Command) -> None:
    for narrow in (("--agent", "bob"), ("--model", "gpt-4o"), ("--since", "1h", "--session", "s-1")):
        assert spent("spend", "report", "--json", *narrow).json()
    for nothing in (("--agent", "x"), ("--until", "1h"), ("--session", "x")):
        assert spent("spend", "report", "--json", *nothing).json() == []


def test_advice_compares_with_what_budgets_downgrade_to(spent: Command) -> None:
    (found,) = spent("spend", "advice", "--json").json()
    assert (found["kind"], found["saves"]) == ("cheaper-model", 18_000 - 1_080)
    assert "cheaper-model: 2 calls" in spent("spend", "advice").out


def test_budgets_are_validated(agentguard: Command) -> None:
    agentguard.write("budgets.yaml", BUDGETS.replace("gpt-4o-mini", "no-such-model"))
    found = agentguard("spend", "validate", "--json").json()
    assert [each["subject"] for each in found["findings"]] == ["day"]
    assert "2 budgets, 1 finding" in agentguard("spend", "validate").out
    agentguard.write("budgets.yaml", BUDGETS.replace("limit: 10", "limit: lots"))
    refused = agentguard("spend", "validate")
    assert refused.code == 3
    assert "budgets.yaml:4: budgets[1].limit" in refused.err


def test_prices_are_found_as_a_call_finds_them(agentguard: Command) -> None:
    found = agentguard(
        "spend", "prices", "show", "GPT-4o-2024-08-06", "--provider", "openai", "--json"
    ).json()
    (row,) = found["models"]
    assert (row["model"], row["input"], row["output"], row["cache_read"]) == (
        "gpt-4o",
        "2.50",
        "10.00",
        "1.25",
    )
    assert agentguard("spend", "prices", "show", "gpt-99").code == 1
    assert "the first 40 shown" in agentguard("spend", "prices", "show").out
    assert "15.00+" not in agentguard("spend", "prices", "show", "claude-opus").out
    assert (
        "3.00+" in agentguard("spend", "prices", "show", "claude-sonnet-4-5", "--provider", "anthropic").out
    )


def test_a_price_list_is_taken_from_a_file(agentguard: Command, tmp_path: Path) -> None:
    path = tmp_path / "new.json"
    path.write_bytes(encode_prices(load_prices().listed).replace(b"genai-prices", b"my-prices"))
    assert agentguard("spend", "prices", "update", "--from", path).code == 0
    assert agentguard("spend", "prices", "show", "--json").json()["source"].startswith("my-prices")
    path.write_text("{}")
    refused = agentguard("spend", "prices", "update", "--from", path)
    assert (refused.code, "is no price list" in refused.err) == (3, True)
    assert agentguard("spend", "prices", "show", "--json").json()["source"].startswith("my-prices")


def test_an_update_needs_the_package_or_a_file(agentguard: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices.data", None)
    refused = agentguard("spend", "prices", "update")
    assert refused.code == 3
    assert "`genai-prices` is not installed" in refused.err
    assert "--from" in refused.err


def test_a_second_source_is_compared(agentguard: Command, tmp_path: Path) -> None:
    second = tmp_path / "models.json"
    entry = {"litellm_provider": "openai", "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05}
    models = {"gpt-4o": entry, "openai/gpt-4o-mini": {**entry, "output_cost_per_token": 0}, "gpt-99": entry}
    second.write_text(json.dumps(models | {"azure/eu/gpt-4o": {**entry, "litellm_provider": "azure"}}))
    found = agentguard("spend", "prices", "check", second, "--json")
    assert found.code == 1
    assert found.json() == {
        "compared": 3,
        "only_theirs": 1,
        "differences": [
            {
                "provider": "openai",
                "model": "gpt-4o-mini",
                "price": "input",
                "ours": 150_000,
                "theirs": 2_500_000,
            }
        ],
    }
    assert (
        "3 prices compared, 1 difference, 1 model only there"
        in agentguard("spend", "prices", "check", second).out
    )
    second.write_text("[]")
    assert agentguard("spend", "prices", "check", second).code == 3

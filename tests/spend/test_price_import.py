"""The real package is no dependency: what stands in for it here has its shapes, and its own data in CI of releases."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from datetime import date, time
from decimal import Decimal
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from agentguard.core import ConfigError
from agentguard.spend import Imported, Prices, decode_prices, encode_prices, import_prices
from agentguard.spend._prices import DatedPrices

DAY = date(2026, 11, 21)


@dataclass
class ClauseEquals:
    equals: str


@dataclass
class ClauseStartsWith:
    starts_with: str


@dataclass
class ClauseRegex:
    regex: str


@dataclass
class ClauseOr:
    or_: list[Any]


@dataclass
class ClauseAnd:
    and_: list[Any]


@dataclass
class Model:
    id: str
    prices: Any
    match: Any = None
    context_window: int | None = 1_000
    price_variants: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.match = self.match or ClauseEquals(self.id.upper())


def price(**named: Any) -> SimpleNamespace:
    return SimpleNamespace(
        **{name: Decimal(value) if isinstance(value, str) else value for name, value in named.items()}
    )


def when(constraint: Any, prices: Any, **tier: str) -> SimpleNamespace:
    return SimpleNamespace(constraint=constraint, prices=prices, when=tier)


@pytest.fixture
def imported(monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(*models: Model, provider: str = "openai", limits: bytes = b"") -> Imported:
        data = ModuleType("genai_prices.data")
        one = SimpleNamespace(id=provider, models=list(models), fallback_model_providers=["anthropic"])
        data.providers = [one]  # type: ignore[attr-defined]  # made here
        monkeypatch.setitem(sys.modules, "genai_prices", ModuleType("genai_prices"))
        monkeypatch.setitem(sys.modules, "genai_prices.data", data)
        monkeypatch.setattr("importlib.metadata.version", lambda _name: "0.0.1")
        return import_prices(DAY, limits, "limits 1" if limits else "")

    return run


def test_prices_become_whole_picodollars_rounded_up(imported: Any) -> None:
    tiers = SimpleNamespace(base=Decimal(3), tiers=[SimpleNamespace(start=200_000, price=Decimal(6))])
    made = imported(
        Model(
            "m",
            price(input_mtok="0.0000001", output_mtok=tiers, web_searches_kcount="10", cache_read_mtok=None),
        )
    )
    (model,) = made.listed.providers["openai"].models
    assert model.prices == [
        DatedPrices(Prices(input=1, output=[(0, 3_000_000), (200_000, 6_000_000)], web_search=10_000_000_000))
    ]
    assert (model.context, made.listed.source, made.listed.date) == (1_000, "genai-prices 0.0.1", DAY)
    assert made.listed.providers["openai"].offers == ["anthropic"]
    assert decode_prices(encode_prices(made.listed)) == made.listed


def test_prices_by_day_are_kept_and_of_those_by_the_hour_the_dearest(imported: Any) -> None:
    start = SimpleNamespace(start_date=date(2026, 8, 1))
    peak = SimpleNamespace(start_time=time(1), end_time=time(4))
    made = imported(
        Model(
            "m",
            [
                when(None, price(input_mtok="1", output_mtok="1")),
                when(start, price(input_mtok="2", output_mtok="2")),
                when(peak, price(input_mtok="3", output_mtok="1")),
            ],
        ),
        Model("hours", [when(peak, price(input_mtok="3"))]),
    )
    by_day, by_hour = made.listed.providers["openai"].models
    assert [(each.since, each.prices.input) for each in by_day.prices] == [
        (None, 3_000_000),
        (date(2026, 8, 1), 2_000_000),
    ]
    assert by_hour.prices == [DatedPrices(Prices(input=3_000_000))]


def test_tiers_are_kept_by_their_names(imported: Any) -> None:
    variants = [
        when(None, price(input_mtok="0.5"), processing="batch"),
        when(None, price(input_mtok="9"), service_tier="priority"),
        when(None, price(input_mtok="7"), route="elsewhere"),
    ]
    made = imported(Model("m", price(input_mtok="1"), price_variants=variants))
    (model,) = made.listed.providers["openai"].models
    assert {name: each[0].prices.input for name, each in model.tiers.items()} == {
        "batch": 500_000,
        "priority": 9_000_000,
    }


def test_names_are_matched_as_there(imported: Any) -> None:
    without = ClauseAnd([ClauseStartsWith("Gem"), ClauseRegex("^(?!.*-[tT][tT][sS](?:$|-))")])
    clauses = ClauseOr(
        [ClauseEquals("A"), ClauseEquals("B"), ClauseStartsWith("C-"), ClauseRegex(r"^d-\d$"), without]
    )
    unknown = ClauseAnd([ClauseStartsWith("x"), ClauseEquals("y")])
    made = imported(Model("m", price(input_mtok="1"), clauses), Model("n", price(input_mtok="1"), unknown))
    assert made.listed.providers["openai"].models[0].match == [
        ["is", "a", "b"],
        ["starts", "c-"],
        ["like", r"^d-\d$"],
        ["starts_without", "gem", "-tts"],
    ]
    assert made.left_out == ["openai/n: one of its names is told by a rule that is not known here"]


def test_what_nobody_priced_is_left_out_and_told(imported: Any) -> None:
    made = imported(
        Model("free", price()),
        Model("zero", price(input_mtok="0", output_mtok="0")),
        Model("speech", price(audio_hours="3")),
        Model("moderation", price()),
    )
    assert [model.id for model in made.listed.providers["openai"].models] == ["moderation"]
    assert made.left_out == [
        "openai/free: has no price",
        "openai/zero: has no price",
        "openai/speech: is paid by units that no call here reports",
    ]
    assert imported(Model("free", price())).listed.providers == {}


def test_output_limits_come_from_the_second_source(imported: Any) -> None:
    limits = (
        b'{"M":{"max_output_tokens":5},"openai/m":{"max_output_tokens":9},"n":{"max_output_tokens":"many"}}'
    )
    made = imported(Model("m", price(input_mtok="1")), Model("n", price(input_mtok="1")), limits=limits)
    assert [model.max_output for model in made.listed.providers["openai"].models] == [9, 0]
    assert made.listed.limits == "limits 1"


def test_limits_that_are_no_list_are_refused(imported: Any) -> None:
    with pytest.raises(ConfigError, match="no list of models"):
        imported(Model("m", price(input_mtok="1")), limits=b"[1]")

from __future__ import annotations

from datetime import UTC, date, datetime
from fractions import Fraction
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.core import ConfigError, Usage
from agentguard.spend import (
    ModelPrice,
    PriceFile,
    Prices,
    PriceTable,
    cost_of,
    decode_prices,
    encode_prices,
    load_prices,
)
from agentguard.spend._call import prices_for
from agentguard.spend._prices import DatedPrices, ProviderPrices, prices_sum

if TYPE_CHECKING:
    from pathlib import Path

DAY = date(2026, 11, 21)
SHIPPED = load_prices()


def invoice(provider: str, model: str, usage: Usage, tier: str = "", day: date = DAY) -> int | None:
    found = SHIPPED.find(provider, model)
    assert found is not None
    return cost_of(usage, found.at(day, tier))


# Worked out by hand from the providers' price pages, in dollars per million tokens.
@pytest.mark.parametrize(
    ("provider", "model", "usage", "tier", "micro_usd"),
    [
        # gpt-4o: 2.50 in, 1.25 cached, 10 out: 1,080 at 2.50 + 920 at 1.25 + 300 at 10.
        ("openai", "gpt-4o", Usage(input_tokens=2_000, cache_read_tokens=920, output_tokens=300), "", 6_850),
        ("openai", "gpt-4o-mini", Usage(input_tokens=1), "", 1),
        ("openai", "gpt-4o-mini", Usage(input_tokens=7, output_tokens=3), "", 3),  # 1.05 + 1.8 rounded up
        # Reasoning is output: o3 at 2 in, 8 out.
        (
            "openai",
            "o3",
            Usage(input_tokens=100, output_tokens=1_000, output_reasoning_tokens=900),
            "",
            8_200,
        ),
        # Audio: gpt-audio 2.50 and 32 in, 10 and 64 out.
        (
            "openai",
            "gpt-audio",
            Usage(input_tokens=1_000, input_audio_tokens=400, output_tokens=500, output_audio_tokens=300),
            "",
            600 * 5 // 2 + 400 * 32 + 200 * 10 + 300 * 64,
        ),
        # Embeddings: 0.02 in.
        ("openai", "text-embedding-3-small", Usage(input_tokens=1_000_000), "", 20_000),
        # Claude Opus 4.5: 5 in, 25 out, 0.50 cached, 6.25 written for 5 minutes, 10 for an hour.
        (
            "anthropic",
            "claude-opus-4-5-20251101",
            Usage(
                input_tokens=189_107,
                cache_read_tokens=1_000,
                cache_write_tokens=188_086,
                cache_write_1h_tokens=100_000,
                output_tokens=393,
                web_searches=2,
            ),
            "",
            # 21 at 5, 1,000 at 0.50, 88,086 at 6.25, 100,000 at 10, 393 at 25; two searches at a cent each.
            105 + 500 + 550_538 + 1_000_000 + 9_825 + 20_000,
        ),
        # Its batch: 2.50 in, 12.50 out.
        ("anthropic", "claude-opus-4-5", Usage(input_tokens=1_000, output_tokens=100), "batch", 3_750),
        # Claude Sonnet 4.5 up to 200,000 tokens in: 3 and 15; above, 6 and 22.50 for all of them.
        ("anthropic", "claude-sonnet-4-5", Usage(input_tokens=200_000, output_tokens=1_000), "", 615_000),
        ("anthropic", "claude-sonnet-4-5", Usage(input_tokens=200_001, output_tokens=1_000), "", 1_222_506),
        # Azure sells what OpenAI makes.
        ("azure", "gpt-4o-2024-08-06", Usage(input_tokens=1_000, output_tokens=1_000), "", 12_500),
        ("openai", "omni-moderation-latest", Usage(input_tokens=5_000), "", 0),
    ],
)
def test_an_invoice_is_what_one_works_out_by_hand(
    provider: str, model: str, usage: Usage, tier: str, micro_usd: int
) -> None:
    assert invoice(provider, model, usage, tier) == micro_usd


def test_a_price_counts_from_its_day_on() -> None:
    usage = Usage(input_tokens=1_000_000)
    assert invoice("openai", "o3", usage, day=date(2025, 6, 9)) == 10_000_000
    assert invoice("openai", "o3", usage, day=date(2025, 6, 10)) == 2_000_000


@pytest.mark.parametrize(
    ("provider", "name", "model"),
    [
        ("openai", "gpt-4o", "gpt-4o"),
        ("OpenAI", "GPT-4o-2024-11-20", "gpt-4o"),
        ("openai", "gpt-5.4-mini-2026-03-17", "gpt-5.4-mini"),
        ("openai", "ft:gpt-4o-mini-2024-07-18:acme::x1", "ft:gpt-4o-mini"),
        ("anthropic", "claude-opus-4-5-20251101", "claude-opus-4-5"),
        ("anthropic", "claude-sonnet-4-20250514", "claude-sonnet-4-0"),
        ("azure", "claude-opus-4-5", "claude-opus-4-5"),
        ("openai", "gpt-4o-and-more", None),
        ("openai", "gpt-4o-2024-08-06-x", None),
        ("openai", "", None),
        ("openai", "x" * 100_000, None),
        ("nobody", "gpt-4o", None),
        # A deployment may be called anything: that it has the name of a free model in it makes it no free model.
        ("azure", "my-moderation-gpt", None),
    ],
)
def test_a_model_is_found_by_its_names_and_dated_names_only(
    provider: str, name: str, model: str | None
) -> None:
    found = SHIPPED.find(provider, name)
    assert (found.id if found is not None else None) == model


@pytest.mark.parametrize(
    ("model", "tier", "known"),
    [
        ("gpt-4o", "", True),
        ("gpt-4o", "batch", True),
        ("gpt-4o", "priority", True),
        # A discount that is not listed costs no more than the standard price; a dearer tier may cost anything.
        ("gpt-4.1-nano", "flex", True),
        ("text-embedding-3-small", "priority", False),
        ("gpt-4o", "hyper", False),
    ],
)
def test_a_tier_that_may_be_dearer_is_not_guessed(model: str, tier: str, *, known: bool) -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    assert (prices_for(SHIPPED.find("openai", model), tier, now) is not None) is known


def test_the_shipped_list_is_whole_and_says_where_it_is_from() -> None:
    listed = SHIPPED.listed
    assert listed.source.startswith("genai-prices ")
    assert listed.date >= date(2026, 11, 21)
    assert sum(len(provider.models) for provider in listed.providers.values()) > 2_000
    assert decode_prices(encode_prices(listed)) == listed


def test_every_model_of_the_shipped_list_is_found_by_its_id_and_has_a_price() -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    for name, provider in SHIPPED.listed.providers.items():
        for model in provider.models:
            found = SHIPPED.find(name, model.id)
            assert found is not None, (name, model.id)
            assert prices_for(found, "", now) is not None, (name, model.id)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"version":2,"source":"","date":"2026-01-01","limits":"","providers":{}}',
        b'{"version":1,"source":"","date":"x","limits":"","providers":{}}',
        b'{"version":1,"source":"","date":"2026-01-01","limits":"","providers":{"p":{"models":[{"id":1}]}}}',
    ],
)
def test_what_is_no_price_list_is_refused_in_one_line(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "prices.json"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        load_prices(path)
    assert caught.value.code == "prices_invalid"
    assert caught.value.location is not None
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_prices(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("clause", "matched", "unmatched"),
    [
        (["is", "a", "b"], "b", "c"),
        (["starts", "gpt-"], "gpt-x", "x-gpt-"),
        (["ends", "-x"], "gpt-x", "x-gpt"),
        (["has", "pt"], "gpt-x", "p-t"),
        (["like", r"^gpt-\d{2}$"], "gpt-12", "gpt-123"),
        (["starts_without", "gem", "-tts"], "gem-1", "gem-1-tts"),
    ],
)
def test_each_way_to_match_a_name(clause: list[str], matched: str, unmatched: str) -> None:
    model = ModelPrice("one", [clause], prices=[DatedPrices(Prices(input=1))])
    table = PriceTable(PriceFile(1, "", DAY, "", {"p": ProviderPrices([model])}))
    assert table.find("p", matched) is model
    assert table.find("p", unmatched) is None


def test_an_unknown_way_to_match_is_refused() -> None:
    model = ModelPrice("one", [["sounds-like", "x"]])
    with pytest.raises(ConfigError, match="unknown way"):
        PriceTable(PriceFile(1, "", DAY, "", {"p": ProviderPrices([model])}))


@pytest.mark.parametrize(
    "usage",
    [Usage(input_tokens=1), Usage(output_tokens=1), Usage(web_searches=1), Usage(output_audio_tokens=1)],
)
def test_what_has_no_price_has_no_cost(usage: Usage) -> None:
    assert cost_of(usage, Prices()) is None


_COUNTS = st.integers(0, 10**6)


@given(counts=st.lists(_COUNTS, min_size=14, max_size=14), rate=st.integers(1, 10**8))
def test_a_part_that_is_larger_than_its_whole_makes_a_call_no_cheaper(counts: list[int], rate: int) -> None:
    usage = msgspec.structs.replace(Usage(*counts), web_searches=0, file_searches=0)
    cost = cost_of(usage, Prices(input=rate, output=rate))
    assert cost is not None
    parts = (usage.output_audio_tokens + usage.output_image_tokens, usage.output_tokens)
    least = Fraction((max(usage.input_tokens, usage.cache_read_tokens) + max(parts)) * rate, 10**6)
    assert cost >= least


@given(counts=st.lists(_COUNTS, min_size=14, max_size=14), rates=st.lists(_COUNTS, min_size=15, max_size=15))
def test_an_invoice_is_rounded_up_once(counts: list[int], rates: list[int]) -> None:
    usage, prices = Usage(*counts), Prices(*rates)
    exact = prices_sum(usage, prices)
    cost = cost_of(usage, prices)
    assert exact is not None
    assert cost is not None
    assert 0 <= cost * 10**6 - exact < 10**6

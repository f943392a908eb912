"""Compares a price list with a second source: where the two differ, one of them is wrong."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import ConfigError
from agentguard.spend._prices import at

if TYPE_CHECKING:
    from datetime import date

    from agentguard.spend._prices import PriceTable

_SECOND_KEYS = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
}
_SECOND_PROVIDERS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "azure": "azure",
    "gemini": "google",
    "mistral": "mistral",
    "xai": "x-ai",
    "deepseek": "deepseek",
    "groq": "groq",
    "cohere_chat": "cohere",
    "perplexity": "perplexity",
}
_PICO_USD = Decimal(10**12)


class PriceDifference(msgspec.Struct, frozen=True):
    """One price that the second source has otherwise, in picodollars a token; `ours` is None where we have none."""

    provider: str
    model: str
    price: str
    ours: int | None
    theirs: int


class PriceCheck(msgspec.Struct, frozen=True):
    """How many prices both sources have, how many models only the second has, and where the two differ."""

    compared: int
    only_theirs: int
    differences: list[PriceDifference]


def check_prices(table: PriceTable, second: bytes, day: date) -> PriceCheck:
    """Return how `table` differs on `day` from LiteLLM's list of models (JSON).

    Raises:
        ConfigError: `second` is no such list (`prices_invalid`).
    """
    compared = only_theirs = 0
    differences: list[PriceDifference] = []
    for listed, entry in decode_second(second).items():
        provider = _SECOND_PROVIDERS.get(str(entry.get("litellm_provider")))
        name = listed.partition("/")[2] or listed
        # `azure/eu/gpt-4o` is the price of one region.
        if provider is None or "/" in name or not _positive(entry.get("input_cost_per_token")):
            continue
        model = table.find(provider, name)
        if model is None:
            only_theirs += 1
            continue
        prices = model.at(day)
        for theirs_name, ours_name in _SECOND_KEYS.items():
            if not _positive(entry.get(theirs_name)):
                continue
            ours, theirs = getattr(prices, ours_name), round(Decimal(repr(entry[theirs_name])) * _PICO_USD)
            compared += 1
            if ours is None or at(ours, 0) != theirs:
                own = None if ours is None else at(ours, 0)
                differences.append(PriceDifference(provider, name, ours_name, own, theirs))
    return PriceCheck(compared, only_theirs, differences)


def decode_second(data: bytes) -> dict[str, dict[str, Any]]:
    """Return LiteLLM's list of models.

    Raises:
        ConfigError: it is none (`prices_invalid`).
    """
    try:
        return msgspec.json.decode(data, type=dict[str, dict[str, Any]])
    except (msgspec.MsgspecError, ValueError):
        raise ConfigError(
            "is no list of models as LiteLLM has it",
            code="prices_invalid",
            hint="it is `model_prices_and_context_window_backup.json` in its package",
        ) from None


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and value > 0

"""Makes a price list from the data of an installed `genai-prices` (MIT).

Run at build time, or by `agentguard spend prices update`; nothing here asks the network.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import msgspec

from agentguard.core import ConfigError
from agentguard.spend._price_check import decode_second
from agentguard.spend._prices import (
    Clause,
    DatedPrices,
    ModelPrice,
    Price,
    PriceFile,
    Prices,
    ProviderPrices,
    dearest,
)

# Their name of a price, ours, and how many units it is for.
_KEYS = {
    "input_mtok": ("input", 10**6),
    "output_mtok": ("output", 10**6),
    "cache_read_mtok": ("cache_read", 10**6),
    "cache_write_mtok": ("cache_write", 10**6),
    "cache_write_1h_mtok": ("cache_write_1h", 10**6),
    "input_audio_mtok": ("input_audio", 10**6),
    "cache_audio_read_mtok": ("cache_audio_read", 10**6),
    "output_audio_mtok": ("output_audio", 10**6),
    "input_image_mtok": ("input_image", 10**6),
    "cache_image_read_mtok": ("cache_image_read", 10**6),
    "output_image_mtok": ("output_image", 10**6),
    "output_reasoning_mtok": ("output_reasoning", 10**6),
    "web_searches_kcount": ("web_search", 10**3),
    "storage_searches_kcount": ("file_search", 10**3),
    "requests_kcount": ("request", 10**3),
}
_PICO_USD = Decimal(10**12)
# The only model that costs nothing by its provider's word; elsewhere an empty price is one that nobody entered.
_FREE = frozenset((("openai", "moderation"),))
_WITHOUT = "^(?!.*-[tT][tT][sS](?:$|-))"
_CLAUSES = {
    "ClauseEquals": ("is", "equals"),
    "ClauseStartsWith": ("starts", "starts_with"),
    "ClauseEndsWith": ("ends", "ends_with"),
    "ClauseContains": ("has", "contains"),
    "ClauseRegex": ("like", "regex"),
}


class Imported(msgspec.Struct, frozen=True):
    """A price list, and the models that were left out, each with the reason."""

    listed: PriceFile
    left_out: list[str]


def import_prices(day: date, limits: bytes = b"", limits_source: str = "") -> Imported:
    """Return the price list of the installed `genai-prices`, as of `day`.

    `limits` is LiteLLM's list of models (JSON), which knows how much each may answer.

    Raises:
        ConfigError: `genai-prices` is not installed, or `limits` is no such list (`prices_invalid`).
    """
    try:
        from importlib.metadata import version

        from genai_prices.data import providers
    except ImportError:
        raise ConfigError(
            "the package `genai-prices` is not installed",
            code="prices_invalid",
            hint="install it beside this one, or name a file with `--from`",
        ) from None
    most = {name: _most_output(entry) for name, entry in decode_second(limits).items()} if limits else {}
    left_out: list[str] = []
    found: dict[str, ProviderPrices] = {}
    for provider in providers:
        models = [_model(provider.id, each, most, left_out) for each in provider.models]
        kept = [each for each in models if each is not None]
        if kept:
            found[provider.id] = ProviderPrices(kept, list(provider.fallback_model_providers or []))
    source = f"genai-prices {version('genai-prices')}"
    return Imported(PriceFile(1, source, day, limits_source, found), left_out)


def encode_prices(listed: PriceFile) -> bytes:
    """Return a price list as JSON, each model on a line of its own so that changes can be reviewed."""
    head = msgspec.json.encode(msgspec.structs.replace(listed, providers={}), order="deterministic")
    blocks = []
    for name, provider in sorted(listed.providers.items()):
        models = b",\n".join(msgspec.json.encode(model) for model in provider.models)
        offers = b',"offers":' + msgspec.json.encode(provider.offers) if provider.offers else b""
        blocks.append(msgspec.json.encode(name) + b':{"models":[\n' + models + b"\n]" + offers + b"}")
    return head.replace(b'"providers":{}', b'"providers":{\n' + b",\n".join(blocks) + b"\n}") + b"\n"


def _most_output(entry: dict[str, Any]) -> int:
    most = entry.get("max_output_tokens")
    return most if isinstance(most, int) and 0 < most < 2**31 else 0


def _model(provider: str, model: Any, most: dict[str, int], left_out: list[str]) -> ModelPrice | None:
    name = f"{provider}/{model.id}"
    plain = model.prices if isinstance(model.prices, list) else None
    dated = (
        [DatedPrices(_prices(model.prices))]
        if plain is None
        else _dated([(each.constraint, each.prices) for each in plain])
    )
    if any(
        _other_units(prices) for prices in ([model.prices] if plain is None else [p.prices for p in plain])
    ):
        left_out.append(f"{name}: is paid by units that no call here reports")
        return None
    if (provider, model.id) not in _FREE and not any(
        each.prices != Prices() and (dearest(each.prices.input) or dearest(each.prices.output))
        for each in dated
    ):
        left_out.append(f"{name}: has no price")
        return None
    if (provider, model.id) in _FREE:
        dated = [DatedPrices(Prices(input=0, output=0))]
    clauses: list[Clause] = []
    _clauses(model.match, clauses, left_out, name)
    tiers: dict[str, list[Any]] = {}
    for variant in model.price_variants or []:
        if len(variant.when) == 1 and next(iter(variant.when)) in ("processing", "service_tier", "speed"):
            tiers.setdefault(next(iter(variant.when.values())), []).append(
                (variant.constraint, variant.prices)
            )
    names = [model.id, *(text for clause in clauses if clause[0] == "is" for text in clause[1:])]
    known = [most[each] for name in names for each in (name, f"{provider}/{name}") if most.get(each)]
    return ModelPrice(
        id=model.id,
        match=clauses,
        context=model.context_window or 0,
        max_output=max(known, default=0),
        prices=dated,
        tiers={tier: _dated(variants) for tier, variants in sorted(tiers.items())},
    )


def _dated(conditional: list[tuple[Any, Any]]) -> list[DatedPrices]:
    """Return prices by their first day. Of prices by the hour of the day, the dearest counts all day."""
    found: list[DatedPrices] = []
    for constraint, prices in conditional:
        since = getattr(constraint, "start_date", None)
        theirs = _prices(prices)
        if constraint is None or since is not None:
            found.append(DatedPrices(theirs, since))
        else:
            # Later ones go before earlier ones, in their hours.
            found = [DatedPrices(_dearest([each.prices, theirs]), each.since) for each in found] or [
                DatedPrices(theirs)
            ]
    return sorted(found, key=lambda each: each.since or date.min)


def _dearest(several: list[Prices]) -> Prices:
    return max(several, key=lambda each: dearest(each.input) + dearest(each.output))


def _other_units(prices: Any) -> bool:
    """Tell whether something besides tokens and searches is paid that a model's main use needs."""
    names = {key for key, value in vars(prices).items() if value is not None}
    return bool(names - set(_KEYS)) and not {"input_mtok", "output_mtok"} & names


def _prices(prices: Any) -> Prices:
    found: dict[str, Price] = {}
    for key, value in vars(prices).items():
        if value is not None and key in _KEYS:
            name, per = _KEYS[key]
            found[name] = _price(value, per)
    return Prices(**found)


def _price(value: Any, per: int) -> Price:
    if isinstance(value, Decimal):
        return _pico(value, per)
    return [(0, _pico(value.base, per)), *((tier.start, _pico(tier.price, per)) for tier in value.tiers)]


def _pico(value: Decimal, per: int) -> int:
    exact = value * _PICO_USD / per
    whole = int(exact)
    # A price that is no whole number of picodollars is rounded up.
    return whole if whole == exact else whole + 1


def _clauses(match: Any, found: list[Clause], left_out: list[str], name: str) -> None:
    kind = type(match).__name__
    if kind == "ClauseOr":
        for each in match.or_:
            _clauses(each, found, left_out, name)
        return
    if kind == "ClauseAnd":
        texts = {type(each).__name__: each for each in match.and_}
        start = texts.get("ClauseStartsWith")
        regex = texts.get("ClauseRegex")
        if len(match.and_) == len(texts) == 2 and start and regex and regex.regex == _WITHOUT:  # noqa: PLR2004
            found.append(["starts_without", start.starts_with.lower(), "-tts"])
        else:
            left_out.append(f"{name}: one of its names is told by a rule that is not known here")
        return
    ours, attribute = _CLAUSES[kind]
    text = getattr(match, attribute)
    text = text if ours == "like" else text.lower()
    if found and found[-1][0] == ours:
        found[-1].append(text)
    else:
        found.append([ours, text])

"""Prices: what a model costs, found by provider and name, in whole picodollars a unit.

A price of one dollar per million tokens is one micro-dollar a token, 1,000,000 picodollars. Every published
price is a whole number of those, so an invoice is exact until it is rounded up to micro-dollars, once.
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING

import msgspec
import re2

from agentguard.core import ConfigError, Location

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agentguard.core import Usage

PICO = 1_000_000  # picodollars in a micro-dollar
_CACHED_MODELS = 4_096
MAX_NAME = 200

# A price of its own from some number of input tokens on, for all tokens of the call: (first, then).
Tiered = list[tuple[int, int]]
Price = int | Tiered
# How a name is matched: ("is", name...), ("starts", text...), ("ends", ...), ("has", ...), ("like", RE2 ...),
# ("starts_without", start, text).
Clause = list[str]


class Prices(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Picodollars a token, of each kind, or a call; None where there is no price of its own."""

    input: Price | None = None
    output: Price | None = None
    cache_read: Price | None = None
    cache_write: Price | None = None
    cache_write_1h: Price | None = None
    input_audio: Price | None = None
    cache_audio_read: Price | None = None
    output_audio: Price | None = None
    input_image: Price | None = None
    cache_image_read: Price | None = None
    output_image: Price | None = None
    output_reasoning: Price | None = None
    web_search: Price | None = None
    file_search: Price | None = None
    request: Price | None = None


class DatedPrices(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Prices that hold from a date on (UTC), or always."""

    prices: Prices
    since: date | None = None


class ModelPrice(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A model: its names, its limits in tokens (0: not known), its prices, oldest first, and those of other tiers."""

    id: str
    match: list[Clause] = []
    context: int = 0
    max_output: int = 0
    prices: list[DatedPrices] = []
    tiers: dict[str, list[DatedPrices]] = {}

    def at(self, day: date, tier: str = "") -> Prices:
        """Return the prices that hold on a day; those of the tier go before the standard ones."""
        standard = _holding(self.prices, day)
        if tier not in self.tiers:
            return standard
        special = _holding(self.tiers[tier], day)
        names = Prices.__struct_fields__
        own = {name: getattr(special, name) for name in names if getattr(special, name) is not None}
        return msgspec.structs.replace(standard, **own) if own else standard


class ProviderPrices(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A provider's models, and the providers whose models it offers under their names and prices."""

    models: list[ModelPrice]
    offers: list[str] = []


class PriceFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole price list: where it is from, of which day, and where its output limits are from."""

    version: int
    source: str
    date: date
    limits: str
    providers: dict[str, ProviderPrices]


class PriceTable:
    """Finds a model's price. What the project says goes before the list."""

    def __init__(self, listed: PriceFile, own: dict[str, list[ModelPrice]] | None = None) -> None:
        self.listed = listed
        self.own = own or {}
        self._providers = {name: _Names(provider.models) for name, provider in listed.providers.items()}
        self._own = {name: _Names(models) for name, models in self.own.items()}
        self._cached: Callable[[str, str], ModelPrice | None] = lru_cache(_CACHED_MODELS)(self._find)

    @property
    def providers(self) -> list[str]:
        """The providers of whom something is known."""
        return sorted({*self._providers, *self._own})

    def models(self, provider: str) -> list[ModelPrice]:
        """Return the models of one provider, those of the project first."""
        listed = self.listed.providers.get(provider)
        return [*self.own.get(provider, []), *(listed.models if listed is not None else [])]

    def find(self, provider: str, model: str) -> ModelPrice | None:
        """Return the model that `provider` has under this name; None if nobody knows it."""
        if len(model) > MAX_NAME or len(provider) > MAX_NAME:
            return None
        return self._cached(provider.lower(), model.lower())

    def _find(self, provider: str, model: str) -> ModelPrice | None:
        own = self._own.get(provider)
        found = own.find(model) if own is not None else None
        if found is not None:
            return found
        listed = self.listed.providers.get(provider)
        if listed is None:
            return None
        # Who offers models of others gives them names of its own: only a name that says enough counts.
        strict = bool(listed.offers)
        for name in (provider, *listed.offers):
            names = self._providers.get(name)
            found = names.find(model, strict=strict) if names is not None else None
            if found is not None:
                return found
        return None


class _Names:
    """The names of one provider's models; the first model that fits a name is it."""

    def __init__(self, models: list[ModelPrice]) -> None:
        self._models = models
        self._exact: dict[str, int] = {}
        self._loose: list[tuple[int, str, Callable[[str], bool]]] = []
        for place, model in enumerate(models):
            self._exact.setdefault(model.id.lower(), place)
            for clause in model.match:
                if clause[0] == "is":
                    for name in clause[1:]:
                        self._exact.setdefault(name, place)
                else:
                    self._loose.append((place, clause[0], _matcher(clause)))

    def find(self, name: str, *, strict: bool = False) -> ModelPrice | None:
        exact = self._exact.get(name)
        if exact is not None:
            return self._models[exact]
        for place, kind, matches in self._loose:
            if not (strict and kind in ("has", "ends")) and matches(name):
                return self._models[place]
        return None


def _matcher(clause: Clause) -> Callable[[str], bool]:
    kind, *texts = clause
    if kind == "starts":
        return lambda name: name.startswith(tuple(texts))
    if kind == "ends":
        return lambda name: name.endswith(tuple(texts))
    if kind == "has":
        return lambda name: any(text in name for text in texts)
    if kind == "starts_without":
        start, without = texts
        return lambda name: name.startswith(start) and without not in name
    if kind == "like":
        patterns = [re2.compile(text) for text in texts]
        return lambda name: any(pattern.search(name) is not None for pattern in patterns)
    raise ConfigError(f"unknown way to match a model: `{kind}`", code="prices_invalid")


def load_prices(path: Path | None = None, own: dict[str, list[ModelPrice]] | None = None) -> PriceTable:
    """Return the prices in a file, or those that ship with the package.

    Raises:
        ConfigError: the file cannot be read or is no price list (`prices_invalid`).
    """
    if path is None:
        return PriceTable(_shipped(), own)
    try:
        listed = decode_prices(path.read_bytes())
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(
            f"cannot be read: {reason}", code="prices_invalid", location=Location(str(path))
        ) from None
    except ConfigError as error:
        raise ConfigError(
            error.message, code=error.code, location=Location(str(path)), hint=error.hint
        ) from None
    return PriceTable(listed, own)


def decode_prices(data: bytes) -> PriceFile:
    """Return the price list in JSON.

    Raises:
        ConfigError: it is none (`prices_invalid`).
    """
    hint = "make it with `agentguard spend prices update`"
    try:
        listed = msgspec.json.decode(data, type=PriceFile)
    except (msgspec.MsgspecError, ValueError) as error:
        text = re.sub(r"\s+", " ", str(error))
        raise ConfigError(
            f"is no price list: {text[:1].lower() + text[1:]}", code="prices_invalid", hint=hint
        ) from None
    if listed.version != 1:
        raise ConfigError(
            f"is a price list of version {listed.version}, and 1 is known", code="prices_invalid", hint=hint
        )
    return listed


@lru_cache(maxsize=1)
def _shipped() -> PriceFile:
    return decode_prices(resources.files("agentguard.spend").joinpath("prices.json").read_bytes())


def _holding(dated: list[DatedPrices], day: date) -> Prices:
    holding = Prices()
    for place, each in enumerate(dated):
        # The first holds where none does: a price that is not in force yet is a better guess than none.
        if place == 0 or each.since is None or each.since <= day:
            holding = each.prices
    return holding


def cost_of(usage: Usage, prices: Prices) -> int | None:
    """Return what `usage` costs in micro-dollars, rounded up once; None if something used has no price.

    What has no price of its own costs what its kind costs: cached, audio and image input as input, reasoning
    as output. A part that is larger than its whole counts as reported, so that no report makes a call cheaper.
    """
    total = prices_sum(usage, prices)
    return None if total is None else -(-total // PICO)


def prices_sum(usage: Usage, prices: Prices) -> int | None:
    """Return what `usage` costs in picodollars, None if something used has no price."""
    size = usage.input_tokens
    audio_read, image_read = usage.cache_audio_read_tokens, usage.cache_image_read_tokens
    text_read = max(usage.cache_read_tokens - audio_read - image_read, 0)
    written_1h = usage.cache_write_1h_tokens
    written = max(usage.cache_write_tokens - written_1h, 0)
    audio, image = (
        max(usage.input_audio_tokens - audio_read, 0),
        max(usage.input_image_tokens - image_read, 0),
    )
    parts = text_read + audio_read + image_read + written + written_1h + audio + image
    reasoning, sound, picture = (
        usage.output_reasoning_tokens if prices.output_reasoning is not None else 0,
        usage.output_audio_tokens,
        usage.output_image_tokens,
    )
    bill: list[tuple[int, Price | None]] = [
        (max(usage.input_tokens - parts, 0), prices.input),
        (max(usage.output_tokens - reasoning - sound - picture, 0), prices.output),
        (reasoning, prices.output_reasoning),
        (usage.web_searches, prices.web_search),
        (usage.file_searches, prices.file_search),
    ]
    # Most calls have none of these.
    if parts or sound or picture:
        read = _first(prices.cache_read, prices.input)
        write = _first(prices.cache_write, prices.input)
        bill += [
            (text_read, read),
            (audio_read, _first(prices.cache_audio_read, read)),
            (image_read, _first(prices.cache_image_read, read)),
            (written, write),
            (written_1h, _first(prices.cache_write_1h, write)),
            (audio, _first(prices.input_audio, prices.input)),
            (image, _first(prices.input_image, prices.input)),
            (sound, _first(prices.output_audio, prices.output)),
            (picture, _first(prices.output_image, prices.output)),
        ]
    total = at(prices.request, size) if prices.request is not None else 0
    for count, price in bill:
        if count:
            if price is None:
                return None
            total += count * at(price, size)
    return total


def at(price: Price, input_tokens: int) -> int:
    """Return the price that holds for a call with so many input tokens."""
    if isinstance(price, int):
        return price
    holding = price[0][1]
    for above, each in price[1:]:
        if input_tokens > above:
            holding = each
    return holding


def dearest(price: Price | None) -> int:
    """Return the highest of a price's tiers, 0 for none."""
    if price is None:
        return 0
    return price if isinstance(price, int) else max(each for _, each in price)


def _first(own: Price | None, general: Price | None) -> Price | None:
    return general if own is None else own

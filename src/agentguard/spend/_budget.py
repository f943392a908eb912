"""Budgets as they are held: read from `budgets.yaml`, checked, in whole units."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import msgspec

from agentguard.core import MOST_AMOUNT, Claim, Glob, Unit
from agentguard.documents import read
from agentguard.spend._budget_file import BudgetEntry, BudgetFile, OwnPrice, Scope
from agentguard.spend._prices import DatedPrices, ModelPrice, Prices
from agentguard.spend._window import Span, Window, span

if TYPE_CHECKING:
    from pathlib import Path

    from agentguard.core import Spender
    from agentguard.documents import Document

MICRO = 1_000_000  # micro-dollars in a dollar
MONEY = frozenset((Unit.USD, Unit.TOOL_COST))
_WITHIN = re.compile(r"([1-9][0-9]{0,4})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
LONGEST = timedelta(days=90)
_SEPARATOR = "\x1f"


class Step(msgspec.Struct, frozen=True):
    """A threshold: what is done from `amount` on, and by which model others are replaced."""

    percent: int
    amount: int
    do: str
    to: tuple[tuple[Glob, str], ...] = ()

    def replacement(self, model: str) -> str | None:
        """Return the model that is used in place of `model`, None if it stays."""
        return next((name for glob, name in self.to if name != model and glob.matches(model)), None)


class Budget(msgspec.Struct, frozen=True):
    """One budget; `limit` is in whole units, money in micro-dollars. `steps` are by percent."""

    id: str
    scope: Scope
    of: Glob
    unit: Unit
    limit: int
    window: Window
    zone: ZoneInfo
    rolling: timedelta
    steps: tuple[Step, ...] = ()
    stop: str = "deny"

    def value(self, spender: Spender, model: str) -> str | None:
        """Return whose account in this budget a call goes on, None if it is none of its business.

        Who does not say their session has the account of all who do not say it.
        """
        value: str = model if self.scope == "model" else getattr(spender, self.scope)
        return value if self.of.matches(value) else None

    def span(self, now: datetime) -> Span:
        """Return the window around `now`."""
        return span(self.window, now, zone=self.zone, rolling=self.rolling)

    def window_name(self, now: datetime) -> str:
        """Return the name of the window around `now`; one that rolls has one name for ever."""
        kind = self.window.value
        if self.window is Window.ROLLING:
            return f"{kind}:{int(self.rolling.total_seconds())}s"
        return f"{kind}:{self.zone.key}:{self.span(now).bucket}"

    def claim(self, value: str, now: datetime, amount: int) -> Claim:
        """Return the claim on an account of this budget."""
        here = self.span(now)
        return Claim(self.meter(value), self.unit, amount, self.limit, here.bucket, here.since)

    def meter(self, value: str) -> str:
        """Return what an account is called in the ledger; that of the empty value begins the names of all."""
        # A budget that counts otherwise than before begins anew; one with another limit goes on.
        how = f"{self.unit.value}/{self.window.value}"
        if self.window is Window.ROLLING:
            how += f"/{int(self.rolling.total_seconds())}s"
        elif self.window is not Window.TOTAL:
            how += f"/{self.zone.key}"
        return _SEPARATOR.join((self.id, how, self.scope, value))


class Budgets(msgspec.Struct, frozen=True):
    """All that `budgets.yaml` says: budgets, the project's own prices, names of models, prices of tools."""

    budgets: tuple[Budget, ...] = ()
    prices: dict[str, list[ModelPrice]] = {}
    aliases: dict[tuple[str, str], str] = {}
    tools: tuple[tuple[Glob, int], ...] = ()

    def tool_cost(self, action: str) -> int:
        """Return what one call of an action (`name` or `name@version`) costs in micro-dollars; the first fits."""
        name = action.partition("@")[0]
        return next((usd for glob, usd in self.tools if glob.matches(name) or glob.matches(action)), 0)

    def model(self, provider: str, name: str) -> str:
        """Return the model that a name stands for at a provider: itself, unless the file says otherwise."""
        return self.aliases.get((provider.lower(), name.lower()), name)

    def budget(self, budget_id: str) -> Budget | None:
        """Return a budget by its id."""
        return next((each for each in self.budgets if each.id == budget_id), None)


def budget_of_meter(meter: str) -> tuple[str, str]:
    """Return the budget's id and whose account of it a meter is."""
    budget_id, _, _, value = meter.split(_SEPARATOR, 3)
    return budget_id, value


def load_budgets(path: Path, *, name: str | None = None) -> Budgets:
    """Return what the file says; nothing, if there is no file.

    Raises:
        DocumentError: the file cannot be read, or says what cannot be; with line and field.
    """
    if not path.exists():
        return Budgets()
    document = read(path, name=name)
    file = document.convert(BudgetFile)
    seen: set[str] = set()
    budgets = []
    for place, entry in enumerate(file.budgets):
        if entry.id in seen:
            raise document.error(f"a second budget `{entry.id}`", "budgets", place, "id")
        seen.add(entry.id)
        budgets.append(_budget(document, place, entry))
    prices: dict[str, list[ModelPrice]] = {}
    for place, own in enumerate(file.prices):
        prices.setdefault(own.provider.lower(), []).append(_own_price(document, place, own))
    return Budgets(
        budgets=tuple(budgets),
        prices=prices,
        aliases={(each.provider.lower(), each.name.lower()): each.stands_for for each in file.models},
        tools=tuple(
            (Glob(each.action), _money(document, each.usd, MICRO, "tools", place, "usd"))
            for place, each in enumerate(file.tools)
        ),
    )


def _budget(document: Document, place: int, entry: BudgetEntry) -> Budget:
    here = ("budgets", place)
    limit = _limit(document, place, entry)
    try:
        zone = ZoneInfo(entry.tz)
    except (OSError, ValueError, LookupError):
        raise document.error(
            f"unknown time zone `{entry.tz}`", *here, "tz", hint="write it as in `Europe/Berlin`"
        ) from None
    steps = []
    for index, step in enumerate(entry.at):
        if (step.do == "downgrade") is not bool(step.to):
            raise document.error(
                "`to` belongs to `do: downgrade`, and it to `to`",
                *here,
                "at",
                index,
                hint='write which models are replaced by which: `to: {"gpt-*": gpt-4o-mini}`',
            )
        to = tuple((Glob(glob), model) for glob, model in step.to.items())
        # A fraction of a unit is no unit: rounded down, a threshold is met no later than it should be.
        steps.append(Step(step.percent, limit * step.percent // 100, step.do, to))
    return Budget(
        id=entry.id,
        scope=entry.scope,
        of=Glob(entry.of),
        unit=entry.unit,
        limit=limit,
        window=entry.window,
        zone=zone,
        rolling=_rolling(document, place, entry),
        steps=tuple(sorted(steps, key=lambda step: step.percent)),
        stop=entry.stop,
    )


def _limit(document: Document, place: int, entry: BudgetEntry) -> int:
    if entry.unit in MONEY:
        return _money(document, entry.limit, MICRO, "budgets", place, "limit", rounding=ROUND_FLOOR)
    if not isinstance(entry.limit, int) or not 0 <= entry.limit <= MOST_AMOUNT:
        raise document.error(
            f"a limit in {entry.unit.value} is a whole number from 0 on", "budgets", place, "limit"
        )
    return entry.limit


def _rolling(document: Document, place: int, entry: BudgetEntry) -> timedelta:
    here = ("budgets", place, "within")
    if entry.window is not Window.ROLLING:
        if entry.within:
            raise document.error("`within` belongs to `window: rolling`", *here)
        return timedelta(0)
    match = _WITHIN.fullmatch(entry.within)
    length = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else timedelta(0)
    if not timedelta(0) < length <= LONGEST:
        raise document.error(
            "a rolling window needs its length", *here, hint="write `within: 5h`: m, h or d, up to 90d"
        )
    return length


def _own_price(document: Document, place: int, own: OwnPrice) -> ModelPrice:
    def pico(name: str) -> int | None:
        value = getattr(own, name)
        scale = MICRO * MICRO if name in ("search", "request") else MICRO
        return None if value is None else _money(document, value, scale, "prices", place, name)

    prices = Prices(
        input=pico("input"),
        output=pico("output"),
        cache_read=pico("cache_read"),
        cache_write=pico("cache_write"),
        input_audio=pico("audio_input"),
        output_audio=pico("audio_output"),
        web_search=pico("search"),
        file_search=pico("search"),
        request=pico("request"),
    )
    tiers = {"batch": [DatedPrices(_share(prices, own.batch_percent))]} if own.batch_percent < 100 else {}  # noqa: PLR2004
    return ModelPrice(
        id=own.model,
        context=own.context_tokens,
        max_output=own.max_output_tokens,
        prices=[DatedPrices(prices)],
        tiers=tiers,
    )


def _share(prices: Prices, percent: int) -> Prices:
    tokens = ("input", "output", "cache_read", "cache_write", "input_audio", "output_audio")
    share = {
        name: -(-value * percent // 100) for name in tokens if isinstance(value := getattr(prices, name), int)
    }
    return msgspec.structs.replace(prices, **share)


def _money(
    document: Document, number: float, scale: int, *field: str | int, rounding: str = ROUND_CEILING
) -> int:
    """Return an amount of dollars in whole parts, by its shortest decimal form: a price up, a limit down."""
    exact = Decimal(repr(number)) * scale
    whole = int(exact.to_integral_value(rounding)) if exact.is_finite() else -1
    if not 0 <= whole <= MOST_AMOUNT:
        raise document.error("is no amount of money", *field, hint="write dollars, from 0 on")
    return whole

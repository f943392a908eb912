"""What was spent: the history added up, and its lines as billing systems take them."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TextIO

import msgspec

from agentguard.core import AttemptState, SpendEntry, SpendFilter, Unit
from agentguard.spend._account import Account, accounts_of, usd_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from agentguard.core import SpendHistory
    from agentguard.spend._budget import Budgets
    from agentguard.spend._prices import PriceTable

# What a report can be broken down by.
DIMENSIONS = (
    "model",
    "agent",
    "project",
    "day",
    "session",
    "task",
    "key",
    "organisation",
    "provider",
    "kind",
)
_PAGE = 5_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A spreadsheet takes a cell that begins so for a formula, and names are what an agent wrote.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class SpendLine(msgspec.Struct, frozen=True):
    """What was spent by one group; money in micro-dollars. Open attempts count as what is reserved for them.

    `unpriced` calls have no known price and count as what was reserved for them; `estimated` ones had no report.
    """

    group: dict[str, str]
    calls: int = 0
    cost: int = 0
    reserved: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    overruns: int = 0
    estimated: int = 0
    unpriced: int = 0


def history(source: SpendHistory, wanted: SpendFilter) -> Iterator[SpendEntry]:
    """Yield all attempts that are wanted and were not released, in their order."""
    after = 0
    while page := source.entries(wanted, after=after, limit=_PAGE):
        after = page[-1].seq
        yield from (each for each in page if each.state is not AttemptState.RELEASED)


def add_up(entries: Iterable[SpendEntry], by: Sequence[str]) -> list[SpendLine]:
    """Return what was spent, a line for each group, the dearest first."""
    sums: dict[tuple[str, ...], list[int]] = {}
    for entry in entries:
        key = tuple(dimension(entry, name) for name in by)
        line = sums.setdefault(key, [0] * 9)
        money = cost(entry)
        is_open = entry.state is AttemptState.OPEN
        usage = entry.usage
        parts = (
            1,
            0 if is_open else money,
            money if is_open else 0,
            usage.input_tokens,
            usage.cache_read_tokens,
            usage.output_tokens,
            entry.overrun,
            entry.estimated or entry.state is AttemptState.EXPIRED,
            entry.unpriced,
        )
        for place, amount in enumerate(parts):
            line[place] += amount
    lines = [SpendLine(dict(zip(by, key, strict=True)), *line) for key, line in sums.items()]
    return sorted(lines, key=lambda line: (-line.cost, -line.calls, sorted(line.group.items())))


def dimension(entry: SpendEntry, name: str) -> str:
    """Return what an attempt is grouped under; days are UTC."""
    if name == "day":
        return f"{entry.at.astimezone(UTC):%Y-%m-%d}"
    if name in ("model", "provider", "kind"):
        return str(getattr(entry, name))
    return str(getattr(entry.spender, name))


def cost(entry: SpendEntry) -> int:
    """Return what an attempt counts as, in micro-dollars."""
    return entry.amounts.get(Unit.USD, 0) + entry.amounts.get(Unit.TOOL_COST, 0)


# FinOps Open Cost and Usage Specification 1.2, focus.finops.org: the columns that a call can fill.
FOCUS_COLUMNS = (
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ResourceId",
    "ServiceCategory",
    "ServiceName",
    "SkuId",
    "SubAccountId",
    "Tags",
)


def focus_rows(entries: Iterable[SpendEntry]) -> Iterator[dict[str, Any]]:
    """Yield a row in the columns of FOCUS for each model or agent of each day; open attempts are no charges yet."""
    booked = (each for each in entries if each.state is not AttemptState.OPEN)
    by = ("day", "organisation", "project", "agent", "provider", "model", "kind")
    for line in sorted(add_up(booked, by), key=lambda line: list(line.group.values())):
        yield _focus(line)


def _focus(line: SpendLine) -> dict[str, Any]:
    group = line.group
    day = datetime.strptime(group["day"], "%Y-%m-%d").replace(tzinfo=UTC)
    month = day.replace(day=1)
    next_month = (month + timedelta(days=32)).replace(day=1)
    is_model = group["kind"] == "llm"
    quantity = line.input_tokens + line.output_tokens if is_model else line.calls
    unit = "Tokens" if is_model else "Calls"
    money = usd_text(line.cost)
    return {
        "BilledCost": money,
        "BillingAccountId": group["organisation"] or group["project"],
        "BillingAccountName": group["organisation"] or group["project"],
        "BillingCurrency": "USD",
        "BillingPeriodEnd": _time(next_month),
        "BillingPeriodStart": _time(month),
        "ChargeCategory": "Usage",
        "ChargeClass": None,
        "ChargeDescription": f"{line.calls} calls of {group['model']} by {group['agent'] or 'nobody named'}",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodEnd": _time(day + timedelta(days=1)),
        "ChargePeriodStart": _time(day),
        "ConsumedQuantity": quantity,
        "ConsumedUnit": unit,
        "EffectiveCost": money,
        "InvoiceIssuerName": group["provider"],
        "ListCost": money,
        "PricingCategory": "Standard",
        "PricingQuantity": quantity,
        "PricingUnit": unit,
        "ProviderName": group["provider"],
        "PublisherName": group["provider"],
        "ResourceId": group["model"],
        "ServiceCategory": "AI and Machine Learning" if is_model else "Other",
        "ServiceName": group["model"],
        "SkuId": f"{group['provider']}/{group['model']}",
        "SubAccountId": group["project"],
        "Tags": {"agent": group["agent"], "organisation": group["organisation"]},
    }


def _time(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%SZ}"


def write_csv(columns: Sequence[str], rows: Iterable[dict[str, Any]], stream: TextIO) -> None:
    """Write rows as CSV (RFC 4180) with a header; what a spreadsheet would run as a formula gets a `'` before it."""
    writer = csv.writer(stream)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row[column]) for column in columns])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return msgspec.json.encode(value).decode()
    return f"'{value}" if value.startswith(_FORMULA) else value


def known_accounts(source: SpendHistory, budgets: Budgets, table: PriceTable, now: datetime) -> list[Account]:
    """Return each account of a budget that something was reserved on and that may still count now."""
    first: int = min((budget.span(now).since for budget in budgets.budgets), default=0)
    since = _EPOCH + timedelta(microseconds=first) if first else None
    seen: dict[tuple[str, str], Account] = {}
    for entry in history(source, SpendFilter(since=since)):
        model = table.find(entry.provider, budgets.model(entry.provider, entry.model))
        name = model.id if model is not None else entry.model.lower()
        for account in accounts_of(
            budgets, entry.spender, name if entry.kind == "llm" else "", frozenset(Unit)
        ):
            seen.setdefault((account.budget.id, account.value), account)
    order = {budget.id: place for place, budget in enumerate(budgets.budgets)}
    return sorted(seen.values(), key=lambda account: (order[account.budget.id], account.value))

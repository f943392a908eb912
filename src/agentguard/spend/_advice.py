"""Recommendations: where money could be saved, each with the arithmetic behind it.

Nothing here knows whether a cheaper model is good enough: it says what the same tokens would have cost.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import AttemptState, SpendEntry, Usage
from agentguard.spend._account import usd_text
from agentguard.spend._call import prices_for
from agentguard.spend._prices import PICO, at, cost_of
from agentguard.spend._report import cost

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from agentguard.spend._prices import PriceTable

# A call with no more than this is a small one, whose work a smaller model can often do.
SMALL_INPUT = 4_000
SMALL_OUTPUT = 500
REPEATED = 3
LOOP_CALLS = 5
LOOP_WITHIN = timedelta(minutes=5)
_GOOD_SHARE = 2
_LEAST_SAVING = 10_000  # a cent


class Advice(msgspec.Struct, frozen=True):
    """One recommendation; `saves` is in micro-dollars, over the calls that were looked at."""

    kind: str
    subject: str
    saves: int
    says: str


def advise(
    entries: Iterable[SpendEntry], table: PriceTable, cheaper: Sequence[str], now: datetime
) -> list[Advice]:
    """Return recommendations, the largest saving first; `cheaper` are models to compare with, besides those used."""
    calls = [each for each in entries if each.kind == "llm" and each.state is AttemptState.SETTLED]
    found = [
        *_cheaper_models(calls, table, cheaper, now),
        *_caching(calls, table, now),
        *_repeated(calls),
        *_loops(calls),
    ]
    return sorted(found, key=lambda each: -each.saves)


def _cheaper_models(
    calls: list[SpendEntry], table: PriceTable, named: Sequence[str], now: datetime
) -> Iterable[Advice]:
    small: dict[tuple[str, str], list[SpendEntry]] = defaultdict(list)
    used: dict[str, set[str]] = defaultdict(lambda: set(named))
    for call in calls:
        used[call.provider].add(call.model)
        if call.usage.input_tokens <= SMALL_INPUT and call.usage.output_tokens <= SMALL_OUTPUT:
            small[(call.provider, call.model)].append(call)
    for (provider, model), group in small.items():
        paid = sum(map(cost, group))
        total = _sum(each.usage for each in group)
        others = {
            name: sum(paid if (one := cost_of(each.usage, prices)) is None else one for each in group)
            for name in used[provider] - {model}
            if (prices := prices_for(table.find(provider, name), "", now)) is not None
        }
        best = min(others, key=lambda name: (others[name], name), default=None)
        if best is not None and paid - others[best] >= _LEAST_SAVING:
            yield Advice(
                "cheaper-model",
                model,
                paid - others[best],
                f"{len(group)} calls of `{model}` had at most {SMALL_INPUT} tokens in and {SMALL_OUTPUT} out:"
                f" {total.input_tokens} in and {total.output_tokens} out cost {usd_text(paid)} USD,"
                f" with `{best}` {usd_text(others[best])} USD; see first that its answers are good enough",
            )


def _caching(calls: list[SpendEntry], table: PriceTable, now: datetime) -> Iterable[Advice]:
    """Look at sessions whose input grows from call to call: what came before could have come from the cache."""
    threads: dict[tuple[str, str, str, str], list[SpendEntry]] = defaultdict(list)
    for call in calls:
        if call.spender.session:
            threads[(call.provider, call.model, call.spender.agent, call.spender.session)].append(call)
    saved: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for (provider, model, *_), group in threads.items():
        prices = prices_for(table.find(provider, model), "", now)
        if prices is None or prices.input is None or prices.cache_read is None or len(group) < REPEATED:
            continue
        for before, call in itertools.pairwise(group):
            usage = call.usage
            again = min(before.usage.input_tokens, usage.input_tokens) - usage.cache_read_tokens
            grows = usage.input_tokens >= before.usage.input_tokens
            if grows and again > 0 and usage.cache_read_tokens * _GOOD_SHARE < usage.input_tokens:
                size = usage.input_tokens
                line = saved[model]
                line[0] += again * (at(prices.input, size) - at(prices.cache_read, size)) // PICO
                line[1] += again
                line[2] += 1
    for model, (saves, tokens, count) in saved.items():
        if saves >= _LEAST_SAVING:
            yield Advice(
                "caching",
                model,
                saves,
                f"{count} calls of `{model}` went on with a conversation and paid {tokens} tokens of it in full;"
                f" from the cache these would have cost {usd_text(saves)} USD less, before what filling it costs",
            )


def _repeated(calls: list[SpendEntry]) -> Iterable[Advice]:
    same: dict[tuple[str, str], list[SpendEntry]] = defaultdict(list)
    for call in calls:
        if call.prompt:
            same[(call.model, call.prompt)].append(call)
    for (model, prompt), group in same.items():
        saves = sum(cost(each) for each in group[1:])
        if len(group) >= REPEATED and saves >= _LEAST_SAVING:
            yield Advice(
                "repeated-prompt",
                model,
                saves,
                f"one prompt (digest {prompt[:12]}) was sent {len(group)} times to `{model}`:"
                f" {usd_text(sum(map(cost, group)))} USD, the first alone {usd_text(cost(group[0]))} USD;"
                " keep its answer",
            )


def _loops(calls: list[SpendEntry]) -> Iterable[Advice]:
    by_session: dict[tuple[str, str, str], list[SpendEntry]] = defaultdict(list)
    for call in calls:
        if call.prompt:
            by_session[(call.spender.agent, call.spender.session, call.prompt)].append(call)
    for (agent, session, _), group in by_session.items():
        runs = [
            index
            for index in range(len(group) - LOOP_CALLS + 1)
            if group[index + LOOP_CALLS - 1].at - group[index].at <= LOOP_WITHIN
        ]
        if runs:
            wasted = sum(cost(each) for each in group[runs[0] + 1 :])
            minutes = int(LOOP_WITHIN.total_seconds() // 60)
            yield Advice(
                "runaway-loop",
                agent,
                wasted,
                f"`{agent}` sent one prompt {len(group)} times in {f'session `{session}`' if session else 'no named session'},"
                f" {LOOP_CALLS} of them within"
                f" {minutes} minutes: {usd_text(wasted)} USD after the first; give it a budget by session in calls",
            )


def _sum(usages: Iterable[Usage]) -> Usage:
    given = answered = 0
    for usage in usages:
        given += usage.input_tokens
        answered += usage.output_tokens
    return Usage(input_tokens=given, output_tokens=answered)

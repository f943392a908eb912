"""What rules about more than one request add to a decision, and that it does not grow with the history.

Run: `python -m benchmarks sequences`.

The workload of `decide` with 1,000 rules, and beside them 100 sequences and limits on its actions, so that each
request meets a few; a breaker and a bound on cumulative risk hold for all. Their bounds are wide: what is
measured is a history that grows.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import Context, Request
from agentguard.pdp import PolicyDecisionPoint, World
from agentguard.policy import SequenceRules, compile_policies
from benchmarks import ours, report
from benchmarks.measure import Cost, cost
from benchmarks.workload import VERBS, Workload, workload

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RULES = 1_000
SEQUENCES = 100
LENGTHS = (100, 1_000, 10_000, 100_000)
CALLS = 5_000
SCOPES = ("session", "agent", "delegation", "all")


class Ticking:
    """A clock that moves on 10 ms with each request."""

    def __init__(self) -> None:
        self._now = datetime(2026, 1, 5, 12, tzinfo=UTC)
        self._step = timedelta(milliseconds=10)

    def now(self) -> datetime:
        self._now += self._step
        return self._now


def sequences(load: Workload) -> SequenceRules:
    """Return 100 sequences and limits: three actions of a service each, every kind and scope in turn."""
    return msgspec.convert(
        {
            "sequences": [_sequence(number, load) for number in range(0, SEQUENCES, 2)],
            "limits": [_limit(number, load) for number in range(1, SEQUENCES, 2)],
            "breaker": {"denials": 10_000_000, "within": "1h", "pause": "10m"},
            "cumulative_risk": {"window": "1h", "approval_from": 10**9, "deny_from": 10**9},
        },
        SequenceRules,
    )


def _sequence(number: int, load: Workload) -> dict[str, Any]:
    service = load.services[number % len(load.services)]
    # What it forbids is asked for and does not come: the mark that would stop it is one that nobody makes.
    return {
        "id": f"sequence-{number}",
        "effect": "deny",
        "after": {"actions": [f"{service}-{VERBS[number % 5]}"], "resources": [{"labels": {"tag": "none"}}]},
        "then": {"actions": [f"{service}-*"]},
        "unless": {"actions": [f"{service}-{VERBS[(number + 2) % 5]}"]},
        "within": "10m",
        "scope": SCOPES[number // 2 % 4],
    }


def _limit(number: int, load: Workload) -> dict[str, Any]:
    service = load.services[number % len(load.services)]
    kinds: tuple[dict[str, Any], ...] = (
        {"count": 10**9},
        {"sum": "/amount", "max": 10**12},
        {"distinct": "resource", "max": 1_000},
    )
    return {
        "id": f"limit-{number}",
        "effect": "deny",
        "of": {"actions": [f"{service}-*"]},
        "per": "1h",
        "scope": SCOPES[number // 2 % 4],
        **kinds[number // 2 % 3],
    }


def in_one_session(requests: Sequence[Request]) -> list[Request]:
    """Return the requests, in one session each agent."""
    context = Context(session="session-1")
    return [msgspec.structs.replace(each, context=context) for each in requests]


def triggered(world: World, requests: Sequence[Request]) -> float:
    """Return how many sequences and limits a request meets, on average."""
    entries = world.policies.sequences.entries
    total = sum(
        any(step.matches(request.action) for step in _patterns(entry))
        for request in requests
        for entry in entries
    )
    return total / len(requests)


def _patterns(entry: Any) -> list[_Named]:
    rule = entry.rule
    steps = [getattr(rule, name, None) for name in ("after", "then", "unless", "of")]
    return [_Named(pattern) for step in steps if step is not None for pattern in step.actions or ()]


class _Named:
    def __init__(self, pattern: str) -> None:
        self._prefix, self._glob, _ = pattern.partition("*")

    def matches(self, action: str) -> bool:
        return action.startswith(self._prefix) if self._glob else action == self._prefix


def main() -> None:
    load = workload(RULES)
    plain, requests = ours.world(load), in_one_session(ours.requests(load))
    all_of_it = sequences(load)
    without = cost(PolicyDecisionPoint(plain, clock=Ticking()).decide, requests, calls=CALLS)
    rows = [("without sequences", *report.cost_cells(without), "")]
    alone = msgspec.structs.replace(all_of_it, breaker=None, cumulative_risk=None)
    notes = []
    for name, written in (("", alone), (", breaker, cumulative risk", all_of_it)):
        policies = compile_policies(ours.rules(load.specs), written)
        world = msgspec.structs.replace(plain, policies=policies)
        point, costs = PolicyDecisionPoint(world, clock=Ticking()), []
        for length, each in over_time(point, requests):
            costs.append(each)
            added = f"{each.p50 - without.p50:.2f} µs"
            rows.append((f"{length:,} events{name}", *report.cost_cells(each), added))
        notes += [
            f"a request meets {triggered(world, requests):.1f} sequences and limits on average{name}",
            f"growth of p50 from {LENGTHS[0]:,} to {LENGTHS[-1]:,} events: {costs[-1].p50 / costs[0].p50:.2f}",
            f"snapshot: {len(point.history.snapshot()):,} bytes for {len(point.history)} scopes",
        ]
    title = f"decide, {RULES:,} rules and {SEQUENCES} sequences and limits, without a record"
    report.table(title, ("", *report.COST_COLUMNS, "added, p50"), rows, notes=notes)


def over_time(point: PolicyDecisionPoint, requests: Sequence[Request]) -> Iterator[tuple[int, Cost]]:
    """Yield what a decision costs after so many events, all in one history."""
    done = 0
    for length in LENGTHS:
        while done < length:
            point.decide(requests[done % len(requests)])
            done += 1
        yield length, cost(point.decide, requests, calls=CALLS, rounds=3)
        done += 6 * CALLS + len(requests)


if __name__ == "__main__":
    main()

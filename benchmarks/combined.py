"""A whole decision in a long session: flow labels, 100 sequences and limits, risk, at 1,000 rules.

Run: `python -m benchmarks combined`.

The workload of `sequences`. Each agent works in one session, which has seen results of its actions; actions
give back what is untrusted, and some send to the outside, so what is built in about flow is asked. In the last rows
a mandatory rule asks where an argument of each request came from, so that all of them are led back.
After each request its result is taken in: both histories grow together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import Effect, Flow, Integrity, Label, Observation, Sensitivity, Sink
from agentguard.pdp import PolicyDecisionPoint, World
from agentguard.policy import ProvenanceCondition, Rule, Tier, When, compile_policies
from agentguard.registry import ActionRegistry
from benchmarks import ours, report
from benchmarks.measure import Cost, cost
from benchmarks.sequences import RULES, SEQUENCES, Ticking, in_one_session, sequences
from benchmarks.workload import Workload, workload

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agentguard.core import Action, Request
    from agentguard.policy import SequenceRules

SEEN = 40
LENGTHS = (SEEN * 10, 1_000, 10_000, 100_000)
CALLS = 5_000
LIMIT_US = 15.0
GIVES = Label(Integrity.UNTRUSTED, Sensitivity.INTERNAL)
SENDS = ("update", "delete")


def with_flow(action: Action) -> Action:
    """Return the action with what it gives back, and where its arguments go."""
    sink = Sink.EXTERNAL if action.name.partition("-")[2] in SENDS else Sink.INTERNAL
    return msgspec.structs.replace(action, flow=Flow(source=GIVES, sink=sink))


def planted() -> Rule:
    """Return a rule that asks where an argument came from, of every request."""
    came_from = ProvenanceCondition(confidentiality=Sensitivity.CRITICAL)
    return Rule(
        "planted", Effect.DENY, Tier.MANDATORY, when=When(provenance={"reason": came_from}), reason="planted"
    )


def world(load: Workload, written: SequenceRules, more: tuple[Rule, ...] = ()) -> World:
    """Return the workload's world, its actions with flow, its rules with those about more than one request."""
    return msgspec.structs.replace(
        ours.world(load),
        registry=ActionRegistry.build([with_flow(each) for each in ours.actions(load)]),
        policies=compile_policies((*ours.rules(load.specs), *more), written),
    )


def result(number: int) -> dict[str, Any]:
    """Return what an action gives back: a row of 100 bytes."""
    return {"id": number, "owner": f"user{number}@shop.example", "state": "ready", "note": "as it should be"}


def over_time(point: PolicyDecisionPoint, requests: Sequence[Request]) -> Iterator[tuple[int, Cost]]:
    """Yield what a decision costs after so many events, a request and its result each."""
    done = 0
    for length in LENGTHS:
        while done < length:
            request = requests[done % len(requests)]
            point.decide(request)
            seen = Observation(
                request.principal, request.action, request.resource, request.context.session, result(done)
            )
            point.observe(seen)
            done += 1
        yield length, cost(point.decide, requests, calls=CALLS, rounds=5)


def main() -> None:
    load = workload(RULES)
    requests = in_one_session(ours.requests(load))
    every = sequences(load)
    alone = msgspec.structs.replace(every, breaker=None, cumulative_risk=None)
    rows, notes = [], []
    for name, written, more in (
        ("", alone, ()),
        (", breaker, cumulative risk", every, ()),
        (", a rule on provenance", alone, (planted(),)),
    ):
        point = PolicyDecisionPoint(world(load, written, more), clock=Ticking())
        costs = []
        for length, each in over_time(point, requests):
            costs.append(each)
            rows.append((f"{length:,} events{name}", *report.cost_cells(each)))
        grown = (
            f"growth of p50 from {LENGTHS[0]:,} to {LENGTHS[-1]:,} events: {costs[-1].p50 / costs[0].p50:.2f}"
        )
        holds = "holds" if max(each.p50 for each in costs) <= LIMIT_US else "DOES NOT HOLD"
        notes.append(f"{grown}; p50 at most {LIMIT_US:.0f} µs: {holds}{name}")
    seen = f"sessions of 10 agents that have seen {SEEN} results each, and more"
    title = f"decide, {RULES:,} rules, {SEQUENCES} sequences and limits, flow, risk, without a record; {seen}"
    report.table(title, ("", *report.COST_COLUMNS), rows, notes=notes)


if __name__ == "__main__":
    main()

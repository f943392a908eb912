"""What a decision costs in this process: schema, rules, risk, explanation, and then its record.

Run: `python -m benchmarks decide`.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from agentguard import Guard
from agentguard.audit import MemoryLog, SegmentLog
from agentguard.identity import StateFolder, audit_keys
from agentguard.pdp import PolicyDecisionPoint
from benchmarks import ours, report
from benchmarks.measure import ROUNDS, Cost, cost
from benchmarks.workload import CHECKED, Workload, oracle, workload

if TYPE_CHECKING:
    from agentguard.core import AuditLog, Request
    from agentguard.pdp import World

SIZES = (10, 100, 1_000, 10_000)
CALLS = 20_000
RECORDED_SIZES = (10, 1_000, 10_000)


def check(load: Workload, world: World, requests: list[Request]) -> Counter[str]:
    """Hold our decisions against the oracle; return how often each effect comes."""
    point = PolicyDecisionPoint(world)
    for ask, request in zip(load.asks[:CHECKED], requests, strict=False):
        decision = point.decide(request)
        expected = oracle(load.specs, ask)
        assert decision.effect.value == expected, (decision, expected)
        assert decision.stage in {"policy", "default"}, decision
    return Counter(point.decide(request).effect.value for request in requests)


def unrecorded(size: int) -> Cost:
    """Return what a decision without a record costs."""
    load = workload(size)
    world, requests = ours.world(load), ours.requests(load)
    effects = check(load, world, requests)
    print(f"  {size:,} rules, {CHECKED} requests agree with the oracle; effects of all: {dict(effects)}")
    return cost(PolicyDecisionPoint(world).decide, requests, calls=CALLS)


def recorded(world: World, requests: list[Request], folder: Path, *, to_disk: bool) -> Cost:
    """Return what a decision costs that is recorded, in a fresh log each round: the log grows with each call."""
    rounds = []
    for number in range(ROUNDS):
        log: AuditLog = _segments(folder / str(number)) if to_disk else MemoryLog()
        point = PolicyDecisionPoint(world, audit=log)
        rounds.append(cost(point.decide, requests, calls=CALLS, rounds=1))
        point.close()
    p50, p99, cpu, rate = zip(*rounds, strict=True)
    return Cost(min(p50), min(p99), min(cpu), max(rate))


def _segments(folder: Path) -> SegmentLog:
    signer = audit_keys(StateFolder.open("benchmark", os.environ)).signer()
    return SegmentLog(folder, durability="os", signer=signer)


def through_guard(size: int, folder: Path) -> Cost:
    """Return what the public door costs: `Guard.open(...).check`, its arguments copied, its record on file."""
    load = workload(size)
    ours.write_project(load, folder)
    calls = [(ask.principal, ask.action, ask.host.id, ours.params(ask)) for ask in load.asks]
    with Guard.open(folder, principal="agent-role-0") as guard:

        def ask(call: tuple[str, str, str, dict[str, object]]) -> object:
            principal, action, resource, params = call
            return guard.check(action, resource=resource, params=params, principal=principal)

        return cost(ask, calls, calls=CALLS)


def main() -> None:
    costs = {size: unrecorded(size) for size in SIZES}
    rows = [(f"{size:,} rules", *report.cost_cells(each)) for size, each in costs.items()]
    growth = costs[SIZES[-1]].p50 / costs[SIZES[0]].p50
    report.table(
        "decide, without a record",
        ("", *report.COST_COLUMNS),
        rows,
        notes=[f"growth of p50 from {SIZES[0]:,} to {SIZES[-1]:,} rules: {growth:.2f}"],
    )
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_STATE_HOME"] = f"{name}/state"
        for title, to_disk in (
            ("decide, recorded in memory", False),
            ("decide, recorded with write(2), `os`", True),
        ):
            rows = []
            for size in RECORDED_SIZES:
                load = workload(size)
                folder = Path(name) / f"{size}-{to_disk}"
                recorded_cost = recorded(ours.world(load), ours.requests(load), folder, to_disk=to_disk)
                rows.append((f"{size:,} rules", *report.cost_cells(recorded_cost)))
            report.table(title, ("", *report.COST_COLUMNS), rows)
        guarded = through_guard(1_000, Path(name) / "project")
    report.table(
        "Guard.open(...).check, recorded with write(2), `os`",
        ("", *report.COST_COLUMNS),
        [("1,000 rules", *report.cost_cells(guarded))],
    )


if __name__ == "__main__":
    main()

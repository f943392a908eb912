"""From rules to a policy set in force: compiling, reading YAML, swapping. Run: `python -m benchmarks compile`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agentguard.pdp import PolicyDecisionPoint
from agentguard.policy import PolicyStore, compile_policies, parse_policies
from benchmarks import ours, report
from benchmarks.measure import best_s
from benchmarks.workload import workload

if TYPE_CHECKING:
    from agentguard.core import Request

SIZE = 1_000
SWAPS = 10_000


def first_decisions(policies_of: int) -> tuple[float, float]:
    """Return what it costs to decide the workload once after a swap: each action's part of the index is built."""
    load = workload(policies_of)
    world, requests, rules = ours.world(load), ours.requests(load), ours.rules(load.specs)
    fresh = [msgspec.structs.replace(world, policies=compile_policies(rules)) for _ in range(3)]
    actions: dict[str, Request] = {request.action: request for request in requests}
    point = PolicyDecisionPoint(world)
    for request in actions.values():
        point.decide(request)  # the schemas are compiled

    def once() -> None:
        point.world = fresh.pop()
        for request in actions.values():
            point.decide(request)

    best, median = best_s(once, rounds=3)
    return best / len(actions), median / len(actions)


def swap_s(path: Path) -> tuple[float, float, float, float]:
    """Return what it takes to put another set in force (one assignment), and to see and load a changed file."""
    load = workload(SIZE)
    ours.write_policies(load, path)
    store = PolicyStore(path.parent)
    world = ours.world(load)
    point = PolicyDecisionPoint(world)

    def swap() -> None:
        for _ in range(SWAPS):
            point.world = msgspec.structs.replace(point.world, policies=store.current)

    best, median = best_s(swap)

    def reload() -> None:
        os.utime(path)
        status = path.stat()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
        store.refresh()

    reload_best, reload_median = best_s(reload, rounds=3)
    return best / SWAPS, median / SWAPS, reload_best, reload_median


def main() -> None:
    load = workload(SIZE)
    rules = ours.rules(load.specs)
    compiled = best_s(lambda: compile_policies(rules))
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "rules.yaml"
        ours.write_policies(load, path)
        text = path.read_text(encoding="utf-8")
        parsed = best_s(lambda: parse_policies(text), rounds=5)
        swap, swap_median, *reloaded = swap_s(path)
    rows = [
        ("compile parsed rules", compiled[0] * 1e3, compiled[1] * 1e3),
        ("compile from YAML text", parsed[0] * 1e3, parsed[1] * 1e3),
        ("reload a changed file", reloaded[0] * 1e3, reloaded[1] * 1e3),
    ]
    report.table(f"{SIZE:,} rules", ("", "best ms", "median ms"), rows)
    first = [(size, *first_decisions(size)) for size in (SIZE, 10 * SIZE)]
    rows = [("swap the set in force", swap * 1e6, swap_median * 1e6)]
    rows += [
        (f"first decision on an action, {size:,} rules", best * 1e6, median * 1e6)
        for size, best, median in first
    ]
    report.table("after loading", ("", "best µs", "median µs"), rows)


if __name__ == "__main__":
    main()

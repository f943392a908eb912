"""Facts about arguments: cold (parsed), cached, and what they cost a decision. `python -m benchmarks.facts`."""

from __future__ import annotations

import statistics
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from agentguard.core import Action, Principal, Request, Resource
from agentguard.facts import FactExtractor
from agentguard.pdp import PolicyDecisionPoint, RiskPolicy, Thresholds, World
from agentguard.policy import PolicySet, parse_policies, shipped_rules
from agentguard.registry import ActionRegistry, Inventory, load_actions

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 200
LIMIT_MS = 1.0
SQL = {
    "a select": "SELECT id, total FROM orders WHERE day = '2026-01-{n:02}' ORDER BY total DESC LIMIT 50",
    "an update": "UPDATE orders SET state = 'shipped' WHERE id = {n}",
    "a join": "SELECT o.id, c.name FROM orders o JOIN customers c ON c.id = o.customer WHERE o.day = '{n}' AND c.country IN ('DE', 'FR') LIMIT 100",
}
SHELL = {
    "one program": "ls -la /workspace/{n}",
    "a pipeline": "cat log{n}.txt | grep -v debug | sort | uniq -c > out{n}.txt",
    "several": "cd /workspace && git add -A && git commit -m 'change {n}' && git push origin main",
    "a hidden one": "x=r; ${{x}}m -rf \"$(echo /tmp/{n})\" && sh -c 'echo done {n}'",
}
RULES = "version: 1\nrules:\n  - {id: all, effect: allow, resources: ['database:**', 'thing/**']}\n"


def _timed(call: Callable[[int], Any]) -> float:
    """Return the median time of `call` with ever new arguments, in milliseconds."""
    call(0)
    took = []
    for number in range(1, ROUNDS + 1):
        start = time.perf_counter_ns()
        call(number)
        took.append(time.perf_counter_ns() - start)
    return statistics.median(took) / 1e6


def _extract(extractor: FactExtractor, action: Action, param: str, text: str, number: int) -> None:
    extractor.extract(
        action, {param: text.format(n=number), "language": "bash"}, Resource("thing/a", "thing")
    )


def _world(*, shipped: bool) -> World:
    own = parse_policies(RULES).rules
    return World(
        registry=ActionRegistry.build(load_actions([])),
        inventory=Inventory.build((), ()),
        policies=PolicySet((*(shipped_rules() if shipped else ()), *own)),
        risk=RiskPolicy(Thresholds(17, 17)),
        facts=FactExtractor(),
    )


def _decisions(world: World, action: str, resource: str, params: dict[str, Any]) -> float:
    point = PolicyDecisionPoint(world)
    request = Request(Principal("agent"), action, resource, params)
    assert point.decide(request).effect.value == "allow", point.decide(request)
    return _timed(lambda _: [point.decide(request) for _ in range(100)]) * 10


def main() -> bool:
    """Print the figures; tell whether what was promised holds."""
    registry = ActionRegistry.build(load_actions([]))
    holds = True
    for name, param, texts in (("sql.execute", "statement", SQL), ("code.execute", "code", SHELL)):
        compiled = registry.resolve(name)
        assert compiled is not None
        for label, text in texts.items():
            ask = partial(_extract, FactExtractor(), compiled.action, param, text)
            cold = _timed(ask)
            cached = _timed(lambda _, ask=ask: ask(1))  # type: ignore[misc]  # a default of a lambda
            holds &= cold <= LIMIT_MS
            print(f"{name:<14} {label:<14} cold {cold * 1e3:7.1f} µs   cached {cached * 1e3:5.1f} µs")
    # A read: so many changes in so short a time need a person.
    statement = {"statement": "SELECT id, total FROM orders WHERE id = 1"}
    for label, shipped in (("own rules alone", False), ("with the shipped", True)):
        world = _world(shipped=shipped)
        plain = _decisions(world, "memory.read", "thing/a", {"query": "a"})
        inside = _decisions(world, "sql.query", "database:orders", statement)
        print(f"decision, {label:<17} no such argument {plain:5.2f} µs   SQL, cached {inside:6.2f} µs")
    print(f"cold facts of a typical argument ≤ {LIMIT_MS} ms: {'yes' if holds else 'NO'}")
    return holds


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)

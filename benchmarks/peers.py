"""The match alone, beside the engines that others use, in one run: same rules, same requests, same process.

Each peer is first held against the oracle on 300 requests. What it cannot express is left out of its own rules
(which leaves it less to do) and said. Ours keeps all of its rules. Run: `python -m benchmarks peers`.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agentguard.core import Context, Principal
from agentguard.policy import Facts
from benchmarks import ours, report
from benchmarks.measure import Cost, cost
from benchmarks.workload import CHECKED, EFFECTS, Ask, Spec, Workload, oracle, workload

if TYPE_CHECKING:
    from collections.abc import Sequence

SIZES = (10, 100, 1_000)
OUR_CALLS = 20_000
# A round of a slow engine must not take minutes: so many calls for so many rules.
PEER_CALLS = {10: 2_000, 100: 1_000, 1_000: 300}
PEER_ROUNDS = 5
TARGET = 50

Match = Callable[[Any], object]


@dataclass(frozen=True)
class Engine:
    """An engine loaded with rules: `inputs` are the requests in its own form, `effect` reads its answer."""

    match: Match
    inputs: Sequence[Any]
    effect: Callable[[Any], str]
    specs: tuple[Spec, ...]


@dataclass(frozen=True)
class Peer:
    """A package, how it is loaded, and what it cannot express."""

    package: str
    name: str
    load: Callable[[Workload], Engine]
    left_out: str


def agentguard(load: Workload) -> Engine:
    """Load our policy room: what stands beside the peers is the match, with the facts put together each time."""
    world = ours.world(load)
    who = {each.id: each for each in ours.principals()}
    now, context = datetime.now(UTC), Context()
    inputs = []
    for ask in load.asks:
        compiled = world.registry.resolve(ask.action)
        assert compiled is not None
        resource = ours.resource(ask.host, world.inventory)
        inputs.append((who[ask.principal], compiled.action, resource, ours.params(ask), context, now))
    evaluate = world.policies.evaluate

    def match(parts: tuple[Principal, Any, Any, Any, Context, datetime]) -> Any:
        return evaluate(Facts(*parts))

    return Engine(match, inputs, lambda ruling: str(ruling.effect.value), load.specs)


def cedar(load: Workload) -> Engine:
    """Load Cedar with parsed policies and entities; the scope of each policy says all that a scope can."""
    import cedarpy

    specs = _without_approval(load.specs)
    policies = cedarpy.PolicySet.from_str("\n".join(map(_cedar_policy, specs)))
    entities = cedarpy.Entities.from_json_str(json.dumps(list(_cedar_entities(load))))
    inputs = [
        {
            "principal": f'Agent::"{ask.principal}"',
            "action": f'Action::"{ask.action}"',
            "resource": f'Host::"{ask.host.id}"',
            "context": {"amount": ask.amount},
        }
        for ask in load.asks
    ]
    return Engine(
        lambda request: cedarpy.is_authorized(request, policies, entities),
        inputs,
        lambda answer: "allow" if answer.allowed else "deny",
        specs,
    )


def _cedar_policy(spec: Spec) -> str:
    action = f'in Action::"{spec.service}"' if spec.service else f'== Action::"{spec.action}"'
    verb = "permit" if spec.effect == "allow" else "forbid"
    return (
        f'@id("{spec.id}") {verb} (principal in Role::"{spec.role}", action {action}, '
        f'resource in Environment::"{spec.environment}") '
        f"when {{ context.amount >= {spec.low} && context.amount <= {spec.high} }} "
        f'unless {{ resource.tag == "{spec.unless_tag}" }};'
    )


def _cedar_entities(load: Workload) -> list[dict[str, Any]]:
    def entity(kind: str, name: str, parent: tuple[str, str], **attributes: str) -> dict[str, Any]:
        parents = [{"type": parent[0], "id": parent[1]}]
        return {"uid": {"type": kind, "id": name}, "attrs": attributes, "parents": parents}

    return [
        *[entity("Agent", each.id, ("Role", each.roles[0])) for each in ours.principals()],
        *[entity("Action", each, ("Action", each.partition("-")[0])) for each in load.actions],
        *[entity("Host", each.id, ("Environment", each.environment), tag=each.tag) for each in load.hosts],
    ]


CASBIN_MODEL = """
[request_definition]
r = role, act, env, tag, amount

[policy_definition]
p = priority, role, act, env, tag, low, high, eft

[policy_effect]
e = priority(p.eft) || deny

[matchers]
m = r.role == p.role && r.env == p.env && keyMatch(r.act, p.act) && r.tag != p.tag && within(r.amount, p.low, p.high)
"""


def casbin(load: Workload) -> Engine:
    """Load casbin: one row a rule, the most specific and strictest first by an explicit priority."""
    import casbin as library

    model = library.Model()
    model.load_model_from_text(CASBIN_MODEL)
    enforcer = library.Enforcer(model)
    enforcer.add_function("within", lambda amount, low, high: int(low) <= amount <= int(high))
    specs = _without_approval(load.specs)
    enforcer.add_policies(
        [
            [
                str(9 - _priority(s)),
                s.role,
                s.action,
                s.environment,
                s.unless_tag,
                str(s.low),
                str(s.high),
                s.effect,
            ]
            for s in specs
        ]
    )
    enforcer.model.sort_policies_by_priority()
    inputs = [(ask.role, ask.action, ask.host.environment, ask.host.tag, ask.amount) for ask in load.asks]
    return Engine(
        lambda request: enforcer.enforce(*request),
        inputs,
        lambda allowed: "allow" if allowed else "deny",
        specs,
    )


def agt(load: Workload) -> Engine:
    """Load the toolkit's shared evaluator: by priority, first match; its default allow is read as deny."""
    from agent_os.policies.shared import Condition, SharedPolicyEvaluator, SharedPolicyRule

    effects = {"allow": "allow", "require_approval": "escalate", "deny": "deny"}
    rules = [
        SharedPolicyRule(
            id=spec.id,
            action=effects[spec.effect],
            # The cheapest and most selective first, as one would write them by hand.
            conditions=[
                Condition("role", "eq", spec.role),
                Condition("action", "eq", spec.action)
                if spec.service is None
                else Condition("action", "matches", f"^{re.escape(spec.service)}-"),
                Condition("env", "eq", spec.environment),
                Condition("tag", "ne", spec.unless_tag),
                Condition("amount", "gt", spec.low - 1),
                Condition("amount", "lt", spec.high + 1),
            ],
            priority=_priority(spec),
        )
        for spec in load.specs
    ]
    inputs = [
        {
            "role": ask.role,
            "action": ask.action,
            "env": ask.host.environment,
            "tag": ask.host.tag,
            "amount": ask.amount,
        }
        for ask in load.asks
    ]
    evaluator = SharedPolicyEvaluator()
    names = {theirs: name for name, theirs in effects.items()}
    return Engine(
        lambda request: evaluator.evaluate(request, rules),
        inputs,
        lambda answer: names[answer.action] if answer.matched_rule_id else "deny",
        load.specs,
    )


def _without_approval(specs: tuple[Spec, ...]) -> tuple[Spec, ...]:
    return tuple(spec for spec in specs if spec.effect != "require_approval")


def _priority(spec: Spec) -> int:
    """Return 0 to 5: more for an exact action, then for a stricter effect."""
    return (3 if spec.service is None else 0) + EFFECTS.index(spec.effect)


PEERS = (
    Peer(
        "cedarpy",
        "cedarpy, parsed policies and entities",
        cedar,
        "rules that ask for an approval (no third effect)",
    ),
    Peer("casbin", "casbin, rows by priority", casbin, "rules that ask for an approval (no third effect)"),
    Peer("agent-governance-toolkit-core", "agent-governance-toolkit, SharedPolicyEvaluator", agt, "nothing"),
)


def mismatches(engine: Engine, asks: Sequence[Ask]) -> int:
    """Return on how many requests an engine and the oracle disagree, about the engine's own rules."""
    pairs = zip(asks[:CHECKED], engine.inputs, strict=False)
    return sum(engine.effect(engine.match(given)) != oracle(engine.specs, ask) for ask, given in pairs)


def measure(engine: Engine, size: int, *, is_ours: bool) -> Cost:
    """Return what one match costs."""
    if is_ours:
        return cost(engine.match, engine.inputs, calls=OUR_CALLS)
    calls = PEER_CALLS[size]
    return cost(engine.match, engine.inputs[:calls], calls=calls, rounds=PEER_ROUNDS)


def main() -> None:
    notes = []
    missing = set()
    for peer in PEERS:
        try:
            notes.append(
                f"{peer.package} {importlib.metadata.version(peer.package)}: left out: {peer.left_out}"
            )
        except importlib.metadata.PackageNotFoundError:
            missing.add(peer.package)
            notes.append(f"{peer.package}: NOT INSTALLED, not measured; `make bench` installs it")
    for size in SIZES:
        load = workload(size)
        engine = agentguard(load)
        assert mismatches(engine, load.asks) == 0
        own = measure(engine, size, is_ours=True)
        rows: list[tuple[Any, ...]] = [("agentguard", size, f"0/{CHECKED}", *report.cost_cells(own), "1")]
        for peer in PEERS:
            if peer.package in missing:
                continue
            engine = peer.load(load)
            wrong = mismatches(engine, load.asks)
            theirs = measure(engine, size, is_ours=False)
            ratio = theirs.cpu / own.cpu
            cells = (
                peer.name,
                len(engine.specs),
                f"{wrong}/{CHECKED}",
                *report.cost_cells(theirs),
                f"{ratio:.0f}",
            )
            rows.append(cells)
        report.table(
            f"match, {size:,} rules",
            ("", "rules", "wrong", *report.COST_COLUMNS, "cpu ratio"),
            rows,
            notes=notes if size == SIZES[-1] else (),
        )
    print(f"  asked for: a ratio of {TARGET} or more at {SIZES[-1]:,} rules")


if __name__ == "__main__":
    main()

"""Conflicts held against a brute force over a small world: all facts and all origins that its words can say."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from itertools import chain, combinations, product
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from agentguard.core import (
    Action,
    ArgumentFacts,
    Context,
    Integrity,
    Label,
    Match,
    Principal,
    Provenance,
    Resource,
    Risk,
    Sensitivity,
)
from agentguard.pdp import lint_policies
from agentguard.policy import Facts, LintFinding, LintKind, Rule, compile_policies
from agentguard.registry import ActionRegistry, Inventory, ResourceEntry
from property import oracle

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
SCHEMA = {
    "type": "object",
    "properties": {
        "q": {"type": "string", "facts": "sql"},
        "rows": {"type": "integer", "facts": "rows"},
        "to": {},
    },
}
ACTION = Action("ask", 1, "x", Risk.LOW, SCHEMA)
REGISTRY = ActionRegistry.build([ACTION])
INVENTORY = Inventory.build([ResourceEntry("a/b", "a", "", Sensitivity.PUBLIC)], [Principal("ann")])
KINDS = ("select", "drop", "delete")
LEFT_OUT: Any = object()

FACTS: dict[str, list[Any]] = {
    "sql.kinds": [
        ["select"],
        ["select", "drop"],
        "drop",
        {"present": True, "in": ["drop", "delete"]},
        {"pattern": "d.*"},
        {"present": False},
    ],
    "sql.has_where": [True, False, {"present": True, "equals": False}, {"present": False}],
    "data.rows": [
        {"min": 2},
        {"max": 1},
        {"min": 1, "max": 2},
        [0, 2],
        {"present": True},
        {"min": 2, "max": 1},
    ],
}
ORIGINS: list[dict[str, Any]] = [
    {"integrity": "untrusted"},
    {"integrity": ["trusted", "verified"]},
    {"integrity": ["untrusted", "unverified", "verified", "trusted"]},
    {"confidentiality": {"min": "restricted"}},
    {"confidentiality": ["public", "internal"]},
    {"category": "personal"},
    {"source": "tool:*"},
    {"source": ["user", "tool:mail.read"], "integrity": "untrusted"},
]
NAMES = ["to", "*"]


def subsets(values: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [*chain.from_iterable(combinations(values, size) for size in range(len(values) + 1))]


# More than the conditions speak of, so that what they leave open is there too.
KNOWN: dict[str, list[Any]] = {
    "sql.kinds": [LEFT_OUT, *subsets((*KINDS, "insert"))],
    "sql.has_where": [LEFT_OUT, True, False],
    "data.rows": [LEFT_OUT, 0, 1, 2, 3],
}
ALL_ORIGINS = [
    Provenance(Label(integrity, secrecy, categories), Match.EXACT, sources, 1.0)
    for integrity, secrecy, categories, sources in product(
        Integrity,
        (Sensitivity.PUBLIC, Sensitivity.RESTRICTED),
        ((), ("personal",), ("other-things",), ("other-things", "personal")),
        subsets(("user", "tool:mail.read", "tool:x", "net:host")),
    )
]


def some_conditions(rng: random.Random, facts: list[str], names: list[str]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if facts:
        made["facts"] = {name: rng.choice(FACTS[name]) for name in facts}
    if names:
        made["provenance"] = {name: rng.choice(ORIGINS) for name in names}
    return made


def some_pair(rng: random.Random) -> list[Rule]:
    """Return two rules that look at as many things, so that neither is more specific."""
    effects = rng.sample(["allow", "deny", "require_approval"], 2)
    facts = rng.sample(sorted(FACTS), rng.randint(0, 2))
    names = rng.sample(NAMES, rng.randint(0 if facts else 1, 1))
    exempts = rng.random() < 0.4
    made = []
    for at, effect in enumerate(effects):
        rule: dict[str, Any] = {"id": f"r{at}", "effect": effect, "when": some_conditions(rng, facts, names)}
        if exempts:
            more = [*facts, *names]
            chosen = more[0]
            rule["unless"] = some_conditions(
                rng, [chosen] if chosen in FACTS else [], [chosen] if chosen in NAMES else []
            )
        made.append(msgspec.convert(rule, Rule))
    return made


def stating(known: dict[str, Any]) -> ArgumentFacts:
    return ArgumentFacts((), lambda: known)


def all_requests(rules: list[Rule]) -> Iterator[Facts]:
    parts = [part for rule in rules for part in (rule.when, rule.unless) if part is not None]
    names = sorted({name for part in parts for name in part.facts})
    asks = any(part.provenance for part in parts)
    for chosen in product(*(KNOWN[name] for name in names)):
        known = {name: value for name, value in zip(names, chosen, strict=True) if value is not LEFT_OUT}
        inside = stating(known)
        for params in ({}, {"to": "a"}) if asks else ({},):
            for origin in ALL_ORIGINS if params else [None]:
                came = {"/to": origin} if origin is not None else {}
                yield Facts(
                    Principal("ann"),
                    ACTION,
                    Resource("a/b", "a", "", Sensitivity.PUBLIC, listed=True),
                    params,
                    Context(),
                    NOW,
                    inside,
                    came,
                )


def applies(rule: Rule, facts: Facts) -> bool:
    strict = rule.effect.value in ("deny", "require_approval")
    if rule.when is not None and not oracle.conditions_hold(rule.when, facts, strict=strict):
        return False
    return rule.unless is None or not oracle.exempt(rule.unless, facts, strict=strict)


def found(rules: list[Rule]) -> list[LintFinding]:
    findings = lint_policies(compile_policies(rules), REGISTRY, INVENTORY, now=NOW)
    return [each for each in findings if each.kind is LintKind.CONFLICT]


def disagreements(seed: int, pairs: int) -> Iterator[str]:
    rng = random.Random(seed)
    for _ in range(pairs):
        rules = some_pair(rng)
        truth = any(all(applies(rule, facts) for rule in rules) for facts in all_requests(rules))
        said = found(rules)
        if truth is not bool(said):
            yield f"{truth}: {msgspec.json.encode(rules).decode()}"
        for each in said:
            witness = each.witness
            assert witness is not None
            request = Facts(
                witness.principal,
                ACTION,
                witness.resource,
                witness.params,
                witness.context,
                witness.time,
                stating(witness.facts),
                witness.provenance,
            )
            if not all(applies(rule, request) for rule in rules):
                yield f"no witness: {witness}: {msgspec.json.encode(rules).decode()}"


def test_a_conflict_is_found_just_where_a_request_can_meet_both_rules() -> None:
    assert list(disagreements(seed=3, pairs=100)) == []


@pytest.mark.slow
def test_a_conflict_is_found_just_where_a_request_can_meet_both_of_many_rules() -> None:
    assert list(disagreements(seed=20261121, pairs=500)) == []

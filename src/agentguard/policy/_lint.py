"""What is wrong, or probably not meant, in a policy set."""

from __future__ import annotations

import enum
from datetime import datetime, timedelta
from itertools import product
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import Effect, Location, Obligation
from agentguard.policy._compile import compile_rule
from agentguard.policy._conditions import pointer
from agentguard.policy._index import Alternative, Vector, alternatives
from agentguard.policy._rule import ParamCondition, Tier
from agentguard.policy._selectors import action_vector
from agentguard.policy._witness import Witness, find_witness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentguard.core import Action
    from agentguard.policy._compile import CompiledRule
    from agentguard.policy._set import PolicySet
    from agentguard.policy._world import KnownWorld

EXPIRY_NOTICE = timedelta(days=14)


class LintKind(enum.Enum):
    """What a lint finding is about."""

    CONFLICT = "conflict"
    SHADOWED = "shadowed"
    UNREACHABLE = "unreachable"
    VACUOUS = "vacuous"
    UNDECLARED_PARAMETER = "undeclared_parameter"
    UNKNOWN_OBLIGATION = "unknown_obligation"
    EXPIRY = "expiry"


class LintFinding(msgspec.Struct, frozen=True):
    """One thing to look at: `rule`, with `other` where two rules are concerned."""

    kind: LintKind
    rule: str
    message: str
    location: Location | None = None
    other: str | None = None
    witness: Witness | None = None


def lint(
    policies: PolicySet,
    world: KnownWorld,
    *,
    now: datetime,
    obligation_problem: Callable[[Obligation], str | None],
) -> list[LintFinding]:
    """Return the findings, in the order of the rules."""
    reach = {rule.id: _reachable(rule, world) for rule in policies.rules}
    found: list[LintFinding] = []
    for rule in policies.rules:
        found += _about_rule(rule, reach[rule.id], now, obligation_problem)
    found += _shadowed(policies)
    found += _conflicts(policies, reach, world)
    order = {rule.id: place for place, rule in enumerate(policies.rules)}
    return sorted(found, key=lambda each: (order[each.rule], each.kind.value, each.other or ""))


def _reachable(rule: CompiledRule, world: KnownWorld) -> list[Action]:
    return [action for action in world.actions if action_vector(rule.rule.actions, action) is not None]


def _finding(kind: LintKind, rule: CompiledRule, message: str) -> LintFinding:
    return LintFinding(kind=kind, rule=rule.id, message=message, location=rule.location)


def _about_rule(
    rule: CompiledRule,
    actions: list[Action],
    now: datetime,
    obligation_problem: Callable[[Obligation], str | None],
) -> Iterator[LintFinding]:
    if not actions:
        yield _finding(LintKind.UNREACHABLE, rule, "no declared action is called so")
    for pattern in rule.rule.actions or ():
        if actions and not any(action_vector((pattern,), action) for action in actions):
            yield _finding(LintKind.UNREACHABLE, rule, f"no declared action is called `{pattern}`")
    if actions:
        yield from _undeclared_parameters(rule, actions)
    for name, condition in (*_conditions(rule),):
        if isinstance(condition, ParamCondition) and _impossible(condition):
            yield _finding(LintKind.VACUOUS, rule, f"no value of `{name}` can satisfy the rule")
    for obligation in rule.obligations:
        problem = obligation_problem(obligation)
        if problem is not None:
            yield _finding(LintKind.UNKNOWN_OBLIGATION, rule, f"{problem}; the rule denies")
    if rule.expires is not None:
        if rule.expires <= now:
            yield _finding(LintKind.VACUOUS, rule, f"expired on {rule.expires:%Y-%m-%d}")
        elif rule.expires - now <= EXPIRY_NOTICE and rule.effect in (Effect.DENY, Effect.REQUIRE_APPROVAL):
            yield _finding(LintKind.EXPIRY, rule, f"stops to hold on {rule.expires:%Y-%m-%d}")


def _conditions(rule: CompiledRule) -> Iterator[tuple[str, object]]:
    for part in (rule.rule.when, rule.rule.unless):
        if part is not None:
            yield from part.params.items()


def _undeclared_parameters(rule: CompiledRule, actions: list[Action]) -> Iterator[LintFinding]:
    declared = {name for action in actions for name in action.params.get("properties", {})}
    named = {pointer(name)[0] for name, _ in _conditions(rule)}
    for op in rule.rule.transform:
        named |= {pointer(op.path)[0]} if op.path else set(op.params or ())
    for name in sorted(named - declared):
        yield _finding(
            LintKind.UNDECLARED_PARAMETER, rule, f"none of its actions declares the parameter `{name}`"
        )


def _impossible(condition: ParamCondition) -> bool:
    low, high = condition.min, condition.max
    return condition.any_of == () or (low is not None and high is not None and low > high)


def _shadowed(policies: PolicySet) -> Iterator[LintFinding]:
    """Find rules that another rule, which speaks of all that they speak of, always overrules."""
    by_head: dict[tuple[object, ...], list[CompiledRule]] = {}
    bans = [r for r in policies.rules if r.rule.tier is Tier.MANDATORY and r.effect is Effect.DENY]
    for rule in policies.rules:
        head = (rule.rule.tier, rule.rule.principals, rule.rule.actions, rule.rule.resources)
        by_head.setdefault(_frozen(head), []).append(rule)
    for rule in policies.rules:
        if rule.rule.tier is not Tier.POLICY:
            continue
        ban = next((each for each in bans if _covers(each, rule)), None)
        if ban is not None:
            yield _shadow(rule, ban, "is always overruled by the mandatory rule")
            continue
        head = (rule.rule.tier, rule.rule.principals, rule.rule.actions, rule.rule.resources)
        for twin in by_head[_frozen(head)]:
            same = (twin.rule.when, twin.rule.unless, twin.rule.expires) == (
                rule.rule.when,
                rule.rule.unless,
                rule.rule.expires,
            )
            if twin.id != rule.id and same and twin.effect.rank > rule.effect.rank:
                yield _shadow(rule, twin, "speaks of the same requests as the stricter rule")
                break


def _shadow(rule: CompiledRule, other: CompiledRule, why: str) -> LintFinding:
    return LintFinding(
        kind=LintKind.SHADOWED,
        rule=rule.id,
        other=other.id,
        message=f"never wins: {why} `{other.id}`",
        location=rule.location,
    )


def _frozen(value: object) -> tuple[object, ...]:
    return (msgspec.json.encode(value),)


def _covers(ban: CompiledRule, rule: CompiledRule) -> bool:
    """Tell whether `ban` surely applies wherever `rule` does (conservative: a no may be wrong)."""
    if ban.predicates or ban.exemption:
        return False
    wide, narrow = ban.rule, rule.rule
    return all(
        mine is None or (theirs is not None and set(map(_one, theirs)) <= set(map(_one, mine)))
        for mine, theirs in (
            (wide.principals, narrow.principals),
            (wide.actions, narrow.actions),
            (wide.resources, narrow.resources),
        )
    )


def _one(pattern: object) -> bytes:
    return msgspec.json.encode(pattern)


def _conflicts(
    policies: PolicySet, reach: dict[str, list[Action]], world: KnownWorld
) -> Iterator[LintFinding]:
    rules = [rule for rule in policies.rules if rule.rule.tier is Tier.POLICY and reach[rule.id]]
    bit = {action.reference: 1 << place for place, action in enumerate(world.actions)}
    masks = [sum(bit[action.reference] for action in reach[rule.id]) for rule in rules]
    for place, one in enumerate(rules):
        mask = masks[place]
        for later in range(place + 1, len(rules)):
            other = rules[later]
            if one.effect is other.effect or not mask & masks[later] or not _may_meet(one, other):
                continue
            finding = _conflict(
                one, other, [a for a in reach[one.id] if bit[a.reference] & masks[later]], world
            )
            if finding is not None:
                yield finding


def _may_meet(one: CompiledRule, other: CompiledRule) -> bool:
    """Sort out quickly what names different things by exact ids."""
    for mine, theirs in ((one.principals, other.principals), (one.resources, other.resources)):
        left = {key for head in mine for key in head.keys}
        right = {key for head in theirs for key in head.keys}
        exact = all(key[0] == "=" for key in left | right)
        if exact and left.isdisjoint(right):
            return False
    return True


def _conflict(
    one: CompiledRule, other: CompiledRule, actions: list[Action], world: KnownWorld
) -> LintFinding | None:
    for action in actions:
        for (left_rule, left), (right_rule, right) in product(_singles(one, action), _singles(other, action)):
            if _dominates(left.vector, right.vector) or _dominates(right.vector, left.vector):
                continue
            witness = find_witness(left_rule, right_rule, action, world)
            if witness is not None:
                return _conflict_finding(left, right, witness)
    return None


def _singles(rule: CompiledRule, action: Action) -> Iterator[tuple[CompiledRule, Alternative]]:
    """Yield each alternative with a rule that consists of it alone."""
    patterns = product(rule.rule.principals or (None,), rule.rule.resources or (None,))
    for (principal, resource), (_, _, alternative) in zip(patterns, alternatives(rule, action), strict=True):
        single = msgspec.structs.replace(
            rule.rule,
            principals=None if principal is None else (principal,),
            resources=None if resource is None else (resource,),
        )
        yield compile_rule(single, rule.location), alternative


def _conflict_finding(left: Alternative, right: Alternative, witness: Witness) -> LintFinding:
    one, other = left.rule, right.rule
    winner = max((left, right), key=lambda each: (each.vector, each.rule.effect.rank)).rule
    how = "as specific" if left.vector == right.vector else "not comparable in specificity"
    effects = f"{one.effect} against {other.effect}"
    return LintFinding(
        kind=LintKind.CONFLICT,
        rule=one.id,
        other=other.id,
        message=f"overlaps `{other.id}` ({effects}) and is {how}; `{winner.id}` wins",
        location=one.location,
        witness=witness,
    )


def _dominates(one: Vector, other: Vector) -> bool:
    pairs: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        (one[0], other[0]),
        (one[1], other[1]),
        (one[2], other[2]),
        ((one[3],), (other[3],)),
    ]
    return one != other and all(mine >= theirs for mine, theirs in pairs)

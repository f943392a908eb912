"""What is wrong, or probably not meant, in a policy set."""

from __future__ import annotations

import enum
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import Effect, Location, Obligation
from agentguard.policy._conflict import Conflict, conflicts
from agentguard.policy._lint_conditions import follows, impossible, unstated
from agentguard.policy._pointer import pointer
from agentguard.policy._provenance import ANY_ARGUMENT
from agentguard.policy._rule import ParamCondition, Tier
from agentguard.policy._selectors import action_vector
from agentguard.policy._sequence_lint import doubts
from agentguard.policy._witness import Witness

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
    UNSTATED_FACT = "unstated_fact"
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
    """Return the findings, in the order of the rules; those about sequences and limits come last."""
    reach = {rule.id: _reachable(rule, world) for rule in policies.rules}
    found: list[LintFinding] = []
    for rule in policies.rules:
        found += _about_rule(rule, reach[rule.id], now, obligation_problem, world)
    found += _shadowed(policies)
    found += [_conflict_finding(each) for each in conflicts(policies, reach, world)]
    order = {rule.id: place for place, rule in enumerate(policies.rules)}
    found.sort(key=lambda each: (order[each.rule], each.kind.value, each.other or ""))
    return found + [
        LintFinding(LintKind(each.kind), each.entry.id, each.message, each.entry.location, each.other)
        for each in doubts(policies.sequences, world.actions)
    ]


def _reachable(rule: CompiledRule, world: KnownWorld) -> list[Action]:
    return [action for action in world.actions if action_vector(rule.rule.actions, action) is not None]


def _finding(kind: LintKind, rule: CompiledRule, message: str) -> LintFinding:
    return LintFinding(kind=kind, rule=rule.id, message=message, location=rule.location)


def _about_rule(
    rule: CompiledRule,
    actions: list[Action],
    now: datetime,
    obligation_problem: Callable[[Obligation], str | None],
    world: KnownWorld,
) -> Iterator[LintFinding]:
    if not actions:
        yield _finding(LintKind.UNREACHABLE, rule, "no declared action is called so")
    for pattern in rule.rule.actions or ():
        if actions and not any(action_vector((pattern,), action) for action in actions):
            yield _finding(LintKind.UNREACHABLE, rule, f"no declared action is called `{pattern}`")
    if actions:
        yield from _undeclared_parameters(rule, actions)
        for what in unstated(rule, actions, world):
            yield _finding(LintKind.UNSTATED_FACT, rule, what)
    for where, part in (("when", rule.rule.when), ("unless", rule.rule.unless)):
        for name, condition in part.params.items() if part is not None else ():
            if condition == () or (isinstance(condition, ParamCondition) and _impossible(condition)):
                yield _finding(LintKind.VACUOUS, rule, f"no value of `{name}` satisfies its `{where}`")
    for what in impossible(rule):
        yield _finding(LintKind.VACUOUS, rule, what)
    yield from _about_terms(rule, now, obligation_problem)


def _about_terms(
    rule: CompiledRule, now: datetime, obligation_problem: Callable[[Obligation], str | None]
) -> Iterator[LintFinding]:
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
            yield from ((name, each) for name, each in part.provenance.items() if name != ANY_ARGUMENT)


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
    bans = [
        (rule, _patterns(rule))
        for rule in policies.rules
        if rule.rule.tier is Tier.MANDATORY and rule.effect is Effect.DENY and not rule.exemption
    ]
    twins: dict[bytes, list[CompiledRule]] = {}
    ours = [rule for rule in policies.rules if rule.rule.tier is Tier.POLICY]
    for rule in ours:
        twins.setdefault(_scope(rule), []).append(rule)
    for rule in ours:
        narrow = _patterns(rule)
        forbids = rule.effect in (Effect.DENY, Effect.REQUIRE_APPROVAL)
        ban = next(
            (
                ban
                for ban, wide in bans
                if all(map(_covers, wide, narrow)) and follows(rule.rule.when, ban.rule.when, forbids=forbids)
            ),
            None,
        )
        if ban is not None:
            yield _shadow(rule, ban, "is always overruled by the mandatory rule")
            continue
        for twin in twins[_scope(rule)]:
            # Rewritings and obligations join those of a stricter twin; only a ban leaves nothing of them.
            joins = rule.rewrites or rule.obligations
            if twin.effect.rank > rule.effect.rank and (twin.effect is Effect.DENY or not joins):
                yield _shadow(rule, twin, "speaks of the same requests as the stricter rule")
                break


def _scope(rule: CompiledRule) -> bytes:
    """Return what a rule speaks of: equal for rules that differ in what they say of it only."""
    written = rule.rule
    heads = (written.principals, written.actions, written.resources)
    return msgspec.json.encode((heads, written.when, written.unless, written.expires), order="deterministic")


def _shadow(rule: CompiledRule, other: CompiledRule, why: str) -> LintFinding:
    return LintFinding(
        kind=LintKind.SHADOWED,
        rule=rule.id,
        other=other.id,
        message=f"never wins: {why} `{other.id}`",
        location=rule.location,
    )


Patterns = frozenset[bytes] | None


def _patterns(rule: CompiledRule) -> tuple[Patterns, Patterns, Patterns]:
    """Return the patterns of the three heads; None where anything matches."""

    def frozen(patterns: tuple[object, ...] | None) -> Patterns:
        if patterns is None or "**" in patterns:
            return None
        return frozenset(map(msgspec.json.encode, patterns))

    return frozen(rule.rule.principals), frozen(rule.rule.actions), frozen(rule.rule.resources)


def _covers(wide: Patterns, narrow: Patterns) -> bool:
    """Tell whether `wide` surely speaks of all that `narrow` does (conservative: a no may be wrong)."""
    return wide is None or (narrow is not None and narrow <= wide)


def _conflict_finding(conflict: Conflict) -> LintFinding:
    one, other = conflict.one, conflict.other
    how = "as specific" if conflict.equal else "not comparable in specificity"
    effects = f"{one.effect} against {other.effect}"
    return LintFinding(
        kind=LintKind.CONFLICT,
        rule=one.id,
        other=other.id,
        message=f"overlaps `{other.id}` ({effects}) and is {how}; `{conflict.winner.id}` wins",
        location=one.location,
        witness=conflict.witness,
    )

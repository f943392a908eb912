"""Pairs of rules that overlap, say different things, and of which neither is clearly more specific.

Two rules meet through one alternative (principal, resource) of each. Most pairs are sorted out by bit masks
over what the inventory lists; only for the rest a witness is looked for.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import Effect, Principal, Resource
from agentguard.policy._compile import CompiledRule, head_matches
from agentguard.policy._facts import Facts
from agentguard.policy._rule import PrincipalSelector, Tier
from agentguard.policy._selectors import action_vector, principal_keys, resource_keys
from agentguard.policy._witness import MAX_EACH, NO_CONTEXT, SOME_TIME, Witness, find_witness

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agentguard.core import Action
    from agentguard.policy._index import Vector
    from agentguard.policy._selectors import Head
    from agentguard.policy._set import PolicySet
    from agentguard.policy._world import KnownWorld


_NOBODY = Principal("nobody")
_NOTHING = Resource("nothing", "nothing")
_FORBIDS = frozenset((Effect.DENY, Effect.REQUIRE_APPROVAL))


class Conflict(msgspec.Struct, frozen=True):
    """Two rules that contradict each other on `witness`; `equal`: they are equally specific there."""

    one: CompiledRule
    other: CompiledRule
    winner: CompiledRule
    equal: bool
    witness: Witness


class Side(msgspec.Struct, frozen=True):
    """One alternative of a rule: `single` is the rule with it alone; masks say what it matches.

    It is open where it matches what is not listed too.
    """

    rule: CompiledRule
    single: CompiledRule
    principals: int
    resources: int
    count: int
    named: dict[str, tuple[int, int]]
    open_principal: bool
    open_resource: bool

    def vector(self, action: Action) -> Vector:
        """Return the specificity for `action`, which the rule speaks about."""
        named = self.named[action.reference]
        return self.single.principals[0].vector, named, self.single.resources[0].vector, self.count


def conflicts(policies: PolicySet, reach: dict[str, list[Action]], world: KnownWorld) -> Iterator[Conflict]:
    """Yield the conflicts among the rules of the policy tier; `reach` says which actions a rule is about."""
    rules = [rule for rule in policies.rules if rule.rule.tier is Tier.POLICY and reach[rule.id]]
    bit = {action.reference: 1 << place for place, action in enumerate(world.actions)}
    masks = [sum(bit[action.reference] for action in reach[rule.id]) for rule in rules]
    listed = _Listed(world)
    sides = listed.sides(rules, reach)
    for place, one in enumerate(rules):
        for later in range(place + 1, len(rules)):
            shared = masks[place] & masks[later]
            if not shared or one.effect is rules[later].effect:
                continue
            pairs = [pair for pair in product(sides[place], sides[later]) if _may_meet(*pair)]
            if pairs:
                actions = [action for action in reach[one.id] if bit[action.reference] & shared]
                found = _first_conflict(pairs, actions, listed)
                if found is not None:
                    yield found


def _first_conflict(
    pairs: list[tuple[Side, Side]], actions: list[Action], listed: _Listed
) -> Conflict | None:
    for left, right in pairs:
        unclear = [action for action in actions if not _clear(left.vector(action), right.vector(action))]
        if not unclear:
            continue
        witness = find_witness(
            (left.single, right.single),
            unclear,
            listed.world,
            principals=listed.principals_in(left.principals & right.principals),
            resources=listed.resources_in(left.resources & right.resources),
        )
        if witness is not None:
            action = next(each for each in unclear if each.reference == witness.action)
            return _conflict(left, right, action, witness)
    return None


def _conflict(left: Side, right: Side, action: Action, witness: Witness) -> Conflict:
    ranked = [((side.vector(action), side.rule.effect.rank), side.rule) for side in (left, right)]
    return Conflict(
        one=left.rule,
        other=right.rule,
        winner=max(ranked, key=lambda each: each[0])[1],
        equal=left.vector(action) == right.vector(action),
        witness=witness,
    )


def _may_meet(left: Side, right: Side) -> bool:
    """Tell whether something listed, or something that could exist, might bring two sides together."""
    who = left.principals & right.principals or (left.open_principal and right.open_principal)
    what = left.resources & right.resources or (left.open_resource and right.open_resource)
    return bool(who and what)


def _clear(one: Vector, other: Vector) -> bool:
    """Tell whether one of two vectors is above the other, component by component."""
    if one == other:
        return False
    pairs: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        (one[0], other[0]),
        (one[1], other[1]),
        (one[2], other[2]),
        ((one[3],), (other[3],)),
    ]
    return all(mine >= theirs for mine, theirs in pairs) or all(mine <= theirs for mine, theirs in pairs)


class _Listed:
    """Which of the listed principals and resources a head matches, as bits; each head is asked once."""

    def __init__(self, world: KnownWorld) -> None:
        self.world = world
        self._principals = [(each, principal_keys(each)) for each in world.principals.values()]
        self._resources = [(each, resource_keys(each)) for each in world.resources]
        self._known: dict[tuple[str, bool, bool], int] = {}

    def principals_in(self, mask: int) -> list[Principal]:
        """Return the first few principals whose bits are set."""
        return [self._principals[place][0] for place in _bits(mask)]

    def resources_in(self, mask: int) -> list[Resource]:
        """Return the first few resources whose bits are set."""
        return [self._resources[place][0] for place in _bits(mask)]

    def sides(self, rules: Sequence[CompiledRule], reach: dict[str, list[Action]]) -> list[list[Side]]:
        """Return the alternatives of each rule."""
        return [list(self._sides(rule, reach[rule.id])) for rule in rules]

    def _sides(self, rule: CompiledRule, actions: list[Action]) -> Iterator[Side]:
        own = rule.predicate_names()
        forbids = rule.effect in _FORBIDS
        action = actions[0]
        named = {each.reference: action_vector(rule.rule.actions, each) or (0, 0) for each in actions}
        who = [(head, self._mask(head, action, forbids, of_principal=True)) for head in rule.principals]
        what = [(head, self._mask(head, action, forbids, of_principal=False)) for head in rule.resources]
        written = rule.rule
        patterns = product(written.principals or (None,), written.resources or (None,))
        for ((principal, people), (resource, things)), (one, other) in zip(
            product(who, what), patterns, strict=True
        ):
            alone = msgspec.structs.replace(
                written,
                principals=None if one is None else (one,),
                resources=None if other is None else (other,),
            )
            single = msgspec.structs.replace(rule, rule=alone, principals=(principal,), resources=(resource,))
            count = len(own | principal.predicates | resource.predicates)
            yield Side(
                rule,
                single,
                people,
                things,
                count,
                named,
                self._is_open(one),
                not isinstance(other, str) or "*" in other or not things,
            )

    def _is_open(self, pattern: str | PrincipalSelector | None) -> bool:
        if isinstance(pattern, PrincipalSelector):
            # Roles and groups come from the inventory alone, if there is one.
            return not self._principals or (pattern.role is None and pattern.group is None)
        return pattern is None or "*" in pattern or pattern not in self.world.principals

    def _mask(self, head: Head, action: Action, forbids: bool, *, of_principal: bool) -> int:  # noqa: FBT001 - private
        key = (head.text, forbids, of_principal)
        mask = self._known.get(key)
        if mask is None:
            if of_principal:
                asked = [(keys, _facts(each, action, _NOTHING)) for each, keys in self._principals]
            else:
                asked = [(keys, _facts(_NOBODY, action, each)) for each, keys in self._resources]
            mask = sum(
                1 << place for place, (keys, facts) in enumerate(asked) if head_matches(head, keys, facts)
            )
            self._known[key] = mask
        return mask


def _bits(mask: int) -> Iterator[int]:
    """Yield the places of the first few bits that are set."""
    for _ in range(MAX_EACH):
        if not mask:
            return
        place = (mask & -mask).bit_length() - 1
        mask &= mask - 1
        yield place


def _facts(principal: Principal, action: Action, resource: Resource) -> Facts:
    return Facts(principal, action, resource, {}, NO_CONTEXT, SOME_TIME)

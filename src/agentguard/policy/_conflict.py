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
from agentguard.policy._rule import Tier
from agentguard.policy._selectors import action_vector, principal_keys, resource_keys
from agentguard.policy._witness import NO_CONTEXT, SOME_TIME, Witness, can_be_invented, find_witness

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
    """One alternative of a rule: `single` is the rule with it alone; masks say what it matches."""

    rule: CompiledRule
    single: CompiledRule
    principals: int
    resources: int
    count: int

    def vector(self, action: Action) -> Vector:
        """Return the specificity for `action`, which the rule speaks about."""
        named = action_vector(self.rule.rule.actions, action)
        assert named is not None
        return self.single.principals[0].vector, named, self.single.resources[0].vector, self.count


def conflicts(policies: PolicySet, reach: dict[str, list[Action]], world: KnownWorld) -> Iterator[Conflict]:
    """Yield the conflicts among the rules of the policy tier; `reach` says which actions a rule is about."""
    rules = [rule for rule in policies.rules if rule.rule.tier is Tier.POLICY and reach[rule.id]]
    bit = {action.reference: 1 << place for place, action in enumerate(world.actions)}
    masks = [sum(bit[action.reference] for action in reach[rule.id]) for rule in rules]
    sides = _Masks(world).sides(rules, reach)
    for place, one in enumerate(rules):
        for later in range(place + 1, len(rules)):
            shared = masks[place] & masks[later]
            if not shared or one.effect is rules[later].effect:
                continue
            actions = [action for action in reach[one.id] if bit[action.reference] & shared]
            found = _first_conflict(sides[place], sides[later], actions, world)
            if found is not None:
                yield found


def _first_conflict(
    mine: list[Side], theirs: list[Side], actions: list[Action], world: KnownWorld
) -> Conflict | None:
    for left, right in product(mine, theirs):
        if not _may_meet(left, right, world):
            continue
        open_ = [action for action in actions if not _clear(left.vector(action), right.vector(action))]
        witness = find_witness(left.single, right.single, open_, world) if open_ else None
        if witness is not None:
            action = next(each for each in open_ if each.reference == witness.action)
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


def _may_meet(left: Side, right: Side, world: KnownWorld) -> bool:
    return bool(left.principals & right.principals and left.resources & right.resources) or can_be_invented(
        left.single, right.single, world
    )


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


class _Masks:
    """Which of the listed principals and resources a head matches, as bits; each head is asked once."""

    def __init__(self, world: KnownWorld) -> None:
        self._principals = [(each, principal_keys(each)) for each in world.principals.values()]
        self._resources = [(each, resource_keys(each)) for each in world.resources]
        self._known: dict[tuple[str, bool, bool], int] = {}

    def sides(self, rules: Sequence[CompiledRule], reach: dict[str, list[Action]]) -> list[list[Side]]:
        """Return the alternatives of each rule."""
        return [list(self._sides(rule, reach[rule.id][0])) for rule in rules]

    def _sides(self, rule: CompiledRule, action: Action) -> Iterator[Side]:
        own = rule.predicate_names()
        forbids = rule.effect in _FORBIDS
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
            yield Side(rule, single, people, things, count)

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


def _facts(principal: Principal, action: Action, resource: Resource) -> Facts:
    return Facts(principal, action, resource, {}, NO_CONTEXT, SOME_TIME)

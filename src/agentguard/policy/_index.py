"""The index: which rules speak about a request, found by hashing and not by looking at each.

For every registered action the rules that name it are filed under the keys of their principals and resources
(`_selectors`), most specific first. A request has a handful of keys, so the cost of a decision grows with the
rules that could really apply and not with the size of the set. An action's part is built on its first use.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import msgspec

from agentguard.policy._compile import CompiledRule
from agentguard.policy._conditions import Test
from agentguard.policy._selectors import action_vector, head_tests

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentguard.core import Action
    from agentguard.policy._facts import Facts

Vector = tuple[tuple[int, int], tuple[int, int], tuple[int, int], int]
Bucket = dict[str, "Filed"]
# The parts of `CallOrigins` that rules look at, by the identity of the members: hashing a member is a call.
OriginKey = tuple[int, int, int, int, int, int, bool] | None

_NEVER = 1 << 60
_MAX_NARROWED = 64


class Alternative(msgspec.Struct):
    """One (principal, action, resource) of one rule. A lower `rank` is more specific.

    `origin_tests` look at the origins of the arguments and at nothing else, `tests` at all that keys leave open besides.
    """

    rule: CompiledRule
    vector: Vector
    origin_tests: tuple[Test, ...]
    tests: tuple[Test, ...]
    names_resource: bool
    rank: int = _NEVER

    def fits_origins(self, facts: Facts) -> bool:
        """Tell whether what the rule says of origins holds."""
        return all(test(facts) for test in self.origin_tests)


class Filed:
    """The alternatives under one pair of keys, most specific first.

    There are few combinations of origins, and which alternatives a combination leaves is worked out once for each.
    """

    __slots__ = ("_narrowed", "alternatives", "asks_origins")

    def __init__(self) -> None:
        self.alternatives: list[Alternative] = []
        self.asks_origins = False
        self._narrowed: dict[OriginKey, list[Alternative]] = {}

    def add(self, alternative: Alternative) -> None:
        """Add what is no more specific than what is there."""
        self.alternatives.append(alternative)
        self.asks_origins = self.asks_origins or bool(alternative.origin_tests)

    def fitting(self, facts: Facts) -> list[Alternative]:
        """Return those whose conditions on origins hold; their other tests are still to be asked."""
        if not self.asks_origins:
            return self.alternatives
        key = _origin_key(facts)
        found = self._narrowed.get(key)
        if found is None:
            found = [each for each in self.alternatives if each.fits_origins(facts)]
            if len(self._narrowed) >= _MAX_NARROWED:
                self._narrowed.clear()
            self._narrowed[key] = found
        return found


def _origin_key(facts: Facts) -> OriginKey:
    origins = facts.origins
    if origins is None:
        return None
    return (
        id(origins.targets),
        id(origins.amounts),
        id(origins.secrets),
        id(origins.asked),
        id(origins.reach),
        id(origins.access),
        origins.carries,
    )


def alternatives(
    rule: CompiledRule, action: Action
) -> Iterable[tuple[tuple[str, ...], tuple[str, ...], Alternative]]:
    """Yield each alternative of `rule` that is about `action`, with its principal and resource keys."""
    named = action_vector(rule.rule.actions, action)
    if named is None:
        return
    on_origins, rest = tuple(rule.origin_tests()), tuple(rule.other_tests())
    own = rule.predicate_names()
    for principal, resource in product(rule.principals, rule.resources):
        count = len(own | principal.predicates | resource.predicates)
        yield (
            principal.keys,
            resource.keys,
            Alternative(
                rule=rule,
                vector=(principal.vector, named, resource.vector, count),
                origin_tests=on_origins,
                tests=(*head_tests((principal, resource)), *rest),
                names_resource=resource.names,
            ),
        )


class Index:
    """The rules of one tier. Reading is safe from many threads; parts are built at most a few times over."""

    def __init__(self, rules: Iterable[CompiledRule]) -> None:
        self._by_name: dict[str, list[CompiledRule]] = {}
        self._by_prefix: dict[str, list[CompiledRule]] = {}
        for rule in rules:
            for pattern in ("*",) if rule.rule.actions is None else rule.rule.actions:
                prefix, star, _ = pattern.partition("*")
                if star:
                    self._by_prefix.setdefault(prefix, []).append(rule)
                else:
                    self._by_name.setdefault(pattern.partition("@")[0], []).append(rule)
        self._prefix_lengths = sorted({len(prefix) for prefix in self._by_prefix})
        self._parts: dict[str, dict[str, Bucket]] = {}

    def _rules_about(self, action: Action) -> Iterable[CompiledRule]:
        """Return the rules that may be about `action`, each once, without looking at the others."""
        rules = list(self._by_name.get(action.name, ()))
        for length in self._prefix_lengths:
            rules += self._by_prefix.get(action.name[:length], ())
        return {rule.id: rule for rule in rules}.values()

    def _part(self, action: Action) -> dict[str, Bucket]:
        found: list[tuple[tuple[str, ...], tuple[str, ...], Alternative]] = []
        for rule in self._rules_about(action):
            found.extend(alternatives(rule, action))
        # Ties by vector go to the stricter effect; the id makes the order the same on every machine.
        found.sort(key=lambda each: (_negated(each[2].vector), -each[2].rule.effect.rank, each[2].rule.id))
        part: dict[str, Bucket] = {}
        rank, last = -1, None
        for principal_keys, resource_keys, alternative in found:
            if alternative.vector != last:
                rank, last = rank + 1, alternative.vector
            alternative.rank = rank
            for principal_key, resource_key in product(principal_keys, resource_keys):
                part.setdefault(principal_key, {}).setdefault(resource_key, Filed()).add(alternative)
        self._parts[action.reference] = part
        return part

    def most_specific(
        self, facts: Facts, principal_keys: tuple[str, ...], resource_keys: tuple[str, ...]
    ) -> list[Alternative]:
        """Return the alternatives that apply with the highest specificity: none, one, or a tie."""
        part = self._parts.get(facts.action.reference)
        if part is None:
            part = self._part(facts.action)
        best = _NEVER
        winners: list[Alternative] = []
        for principal_key in principal_keys:
            bucket = part.get(principal_key)
            if bucket is None:
                continue
            for resource_key in resource_keys:
                filed = bucket.get(resource_key)
                if filed is None:
                    continue
                for candidate in filed.fitting(facts):
                    if candidate.rank > best:
                        break
                    for test in candidate.tests:
                        if not test(facts):
                            break
                    else:
                        if candidate.rank < best:
                            best = candidate.rank
                            winners = [candidate]
                        else:
                            winners.append(candidate)
        return winners

    def applying(
        self, facts: Facts, principal_keys: tuple[str, ...], resource_keys: tuple[str, ...]
    ) -> list[CompiledRule]:
        """Return all rules that apply, in no order; one that applies in several ways stands there for each."""
        part = self._parts.get(facts.action.reference)
        if part is None:
            part = self._part(facts.action)
        found = []
        for principal_key in principal_keys:
            bucket = part.get(principal_key)
            if bucket is None:
                continue
            for resource_key in resource_keys:
                filed = bucket.get(resource_key)
                if filed is None:
                    continue
                for candidate in filed.fitting(facts):
                    for test in candidate.tests:
                        if not test(facts):
                            break
                    else:
                        found.append(candidate.rule)
        return found

    def candidates(
        self, facts: Facts, principal_keys: tuple[str, ...], resource_keys: tuple[str, ...]
    ) -> list[Alternative]:
        """Return all alternatives filed under the request's keys, most specific first, applying or not."""
        part = self._parts.get(facts.action.reference)
        if part is None:
            part = self._part(facts.action)
        found = [
            candidate
            for principal_key in principal_keys
            for resource_key in resource_keys
            if resource_key in part.get(principal_key, {})
            for candidate in part[principal_key][resource_key].alternatives
        ]
        return sorted(found, key=lambda each: each.rank)


def _negated(vector: Vector) -> tuple[int, ...]:
    principal, action, resource, count = vector
    return (-principal[0], -principal[1], -action[0], -action[1], -resource[0], -resource[1], -count)

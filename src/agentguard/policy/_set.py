"""A policy set: all rules together, and what they say of one request."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import Effect, Obligation, PolicyError, Principal, Resource
from agentguard.policy._compile import CompiledRule
from agentguard.policy._index import Index
from agentguard.policy._rule import Tier
from agentguard.policy._selectors import principal_keys, resource_keys
from agentguard.policy._sequence_compile import Entry
from agentguard.policy._sequence_set import SequenceSet
from agentguard.policy._transform import Rewrite

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentguard.policy._facts import Facts

# An attribute of an enumeration takes as long as a call.
_DENY = Effect.DENY
MANDATORY = "mandatory"
SPECIFIC = "policy"
DEFAULT = "default"

_CACHE_LIMIT = 4096


class Ruling(msgspec.Struct, frozen=True):
    """What the rules say of one request.

    `rule` decided (None: default deny), at `stage`. `rewrites` (None entries: the read-only form) and
    `obligations` come from all rules that joined, those of mandatory rules last, so that nothing undoes
    them; `lasting` has them once more, by rule. `names_resource`: an allowing rule names the resource or a
    pattern of it.
    """

    effect: Effect
    stage: str
    reason: str
    rule: CompiledRule | None = None
    rewrites: tuple[Rewrite | None, ...] = ()
    obligations: tuple[Obligation, ...] = ()
    names_resource: bool = False
    lasting: tuple[tuple[Rewrite | None, ...], ...] = ()


class PolicySet:
    """Compiled rules, immutable. `version` is the hash of their content, whatever file they stand in.

    `rules` are about one request each, `sequences` about more than one. `digests` has the hash of each one's own
    content by its id.
    """

    def __init__(self, rules: Iterable[CompiledRule | Entry]) -> None:
        all_ = sorted(rules, key=lambda rule: rule.id)
        _refuse_duplicates(all_)
        self.rules = tuple(rule for rule in all_ if isinstance(rule, CompiledRule))
        self.sequences = SequenceSet(rule for rule in all_ if isinstance(rule, Entry))
        self.digests = {rule.id: rule.digest for rule in all_}
        self.version = "sha256:" + hashlib.sha256("".join(r.digest for r in all_).encode()).hexdigest()
        mandatory = [rule for rule in self.rules if rule.rule.tier is Tier.MANDATORY]
        # A ban that needs a fact of a family costs nothing where nothing of that family is known.
        self._by_family = {
            family: Index(rule for rule in mandatory if rule.needs_family == family)
            for family in sorted({rule.needs_family for rule in mandatory if rule.needs_family is not None})
        }
        self._mandatory = Index(rule for rule in mandatory if rule.needs_family is None)
        self.asks_facts = self.sequences.asks_facts or any(rule.asks_facts for rule in self.rules)
        self._specific = Index(rule for rule in self.rules if rule.rule.tier is Tier.POLICY)
        self._has_mandatory = any(rule.needs_family is None for rule in mandatory)
        # Keys under which nothing is filed are not kept: a hostile id can have a thousand of them.
        self._filed_principals = frozenset(
            key for r in self.rules for head in r.principals for key in head.keys
        )
        self._filed_resources = frozenset(
            key for r in self.rules for head in r.resources for key in head.keys
        )
        self._principal_keys: dict[str, tuple[Principal, tuple[str, ...]]] = {}
        self._resource_keys: dict[str, tuple[Resource, tuple[str, ...]]] = {}

    def evaluate(self, facts: Facts) -> Ruling:
        """Return the ruling: mandatory rules and the most specific others, joined; default deny."""
        who = self._keys_of_principal(facts.principal)
        what = self._keys_of_resource(facts.resource)
        mandatory: list[CompiledRule] = []
        if self._has_mandatory:
            mandatory = self._mandatory.applying(facts, who, what)
        if self._by_family and facts.facts.families:
            for family in facts.facts.families:
                index = self._by_family.get(family)
                if index is not None:
                    mandatory += index.applying(facts, who, what)
        if mandatory and any(rule.effect is _DENY for rule in mandatory):
            return _join(mandatory, [], names_resource=False)
        winners = self._specific.most_specific(facts, who, what)
        if not winners:
            return Ruling(effect=_DENY, stage=DEFAULT, reason=_default_reason(facts))
        if len(winners) == 1 and not mandatory:
            winner = winners[0]
            rule = winner.rule
            return Ruling(
                effect=rule.rule.effect,
                stage=SPECIFIC,
                reason=rule.reason,
                rule=rule,
                rewrites=rule.rewrites,
                obligations=rule.obligations,
                names_resource=winner.names_resource,
            )
        names = any(winner.names_resource for winner in winners)
        return _join(mandatory, [winner.rule for winner in winners], names_resource=names)

    def _keys_of_principal(self, principal: Principal) -> tuple[str, ...]:
        known = self._principal_keys.get(principal.id)
        if known is not None and (known[0] is principal or known[0] == principal):
            return known[1]
        filed = self._filed_principals
        keys = tuple(key for key in principal_keys(principal) if key in filed)
        if len(self._principal_keys) >= _CACHE_LIMIT:
            self._principal_keys.clear()
        self._principal_keys[principal.id] = (principal, keys)
        return keys

    def _keys_of_resource(self, resource: Resource) -> tuple[str, ...]:
        known = self._resource_keys.get(resource.id)
        if known is not None and known[0] is resource:
            return known[1]
        filed = self._filed_resources
        keys = tuple(key for key in resource_keys(resource) if key in filed)
        if len(self._resource_keys) >= _CACHE_LIMIT:
            self._resource_keys.clear()
        self._resource_keys[resource.id] = (resource, keys)
        return keys


def _refuse_duplicates(rules: list[CompiledRule | Entry]) -> None:
    for one, other in pairwise(rules):
        if one.id == other.id:
            where = f"it stands at {one.location} too; " if one.location else ""
            hint = f"{where}give one of them another id"
            raise PolicyError(f"duplicate rule id `{one.id}`", location=other.location, hint=hint)


def _default_reason(facts: Facts) -> str:
    return f"no rule allows {facts.action.name} on {facts.resource.id} for {facts.principal.id}"


def _join(mandatory: list[CompiledRule], winners: list[CompiledRule], *, names_resource: bool) -> Ruling:
    """Join what several rules say: the strictest effect; all rewritings and obligations, in order of id."""
    unique = {rule.id: rule for rule in (*mandatory, *winners)}
    in_order = sorted(unique.values(), key=lambda rule: (rule.rule.tier is Tier.POLICY, rule.id))
    mandates = [rule for rule in in_order if rule.rule.tier is Tier.MANDATORY]
    others = in_order[len(mandates) :]
    decisive = max(in_order, key=lambda rule: rule.effect.rank)
    obligations: list[Obligation] = []
    for rule in in_order:
        obligations += [each for each in rule.obligations if each not in obligations]
    return Ruling(
        effect=decisive.effect,
        stage=MANDATORY if decisive.rule.tier is Tier.MANDATORY else SPECIFIC,
        reason=decisive.reason,
        rule=decisive,
        rewrites=tuple(rewrite for rule in (*others, *mandates) for rewrite in rule.rewrites),
        lasting=tuple(rule.rewrites for rule in mandates if rule.rewrites),
        obligations=tuple(obligations),
        names_resource=names_resource,
    )

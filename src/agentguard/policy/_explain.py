"""Why a rule did not apply: the first predicate of it that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentguard.core import NearMiss
from agentguard.policy._compile import CompiledRule, head_matches
from agentguard.policy._rule import Tier
from agentguard.policy._selectors import action_vector, principal_keys, resource_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentguard.policy._facts import Facts
    from agentguard.policy._set import PolicySet

LIMIT = 20


def near_misses(
    policies: PolicySet, facts: Facts, *, limit: int = LIMIT, history: bool = False, conceal: bool = True
) -> tuple[NearMiss, ...]:
    """Return the rules about this action that did not apply, those that came closest first.

    With `history` also the sequences and limits whose last step this request is, whatever happened before: for a
    request that came as far as them. With `conceal` no text from inside an argument is repeated: for actions that
    have a secret parameter.
    Closest means that the first failing predicate comes latest: principal, resource, conditions, `unless`.
    Looks at every rule: for denials and explanations, not for the hot path.
    """
    found: list[tuple[int, NearMiss]] = []
    for rule in policies.rules:
        if action_vector(rule.rule.actions, facts.action) is None:
            continue
        needs = rule.needs_family if rule.rule.tier is Tier.MANDATORY else None
        if needs is not None and needs not in facts.facts.families:
            continue  # a ban about arguments that this request does not have is no near miss
        failed = first_failure(rule, facts, conceal=conceal)
        if failed is not None:
            depth, predicate = failed
            found.append((depth, NearMiss(rule=rule.id, effect=rule.effect, predicate=predicate)))
    if history:
        found += _of_sequences(policies, facts)
    found.sort(key=lambda each: (-each[0], each[1].rule))
    return tuple(miss for _, miss in found[:limit])


def _of_sequences(policies: PolicySet, facts: Facts) -> Iterator[tuple[int, NearMiss]]:
    """Yield what would have stopped the request, had something else happened before."""
    matched = policies.sequences.match(facts)
    for entry, _ in matched.stops if matched is not None else ():
        yield 900, NearMiss(rule=entry.id, effect=entry.effect, predicate=entry.told)


def first_failure(rule: CompiledRule, facts: Facts, *, conceal: bool = True) -> tuple[int, str] | None:
    """Return how far a rule got and the first of its predicates that failed; None if all hold.

    `conceal` is as of `near_misses`.
    """
    who, what = principal_keys(facts.principal), resource_keys(facts.resource)
    if not any(head_matches(head, who, facts) for head in rule.principals):
        return 0, "principals: " + " or ".join(head.text for head in rule.principals)
    if not any(head_matches(head, what, facts) for head in rule.resources):
        return 1, "resources: " + " or ".join(head.text for head in rule.resources)
    if rule.expires is not None and facts.now >= rule.expires:
        return 2, f"expired on {rule.expires:%Y-%m-%d %H:%M} UTC"
    for depth, predicate in enumerate(rule.predicates, start=3):
        if not predicate.test(facts):
            found = predicate.found
            return depth, f"when: {predicate.text if found is None else found(facts, conceal)}"
    if rule.exemption and all(predicate.test(facts) for predicate in rule.exemption):
        return 1000, "unless: " + " and ".join(predicate.text for predicate in rule.exemption)
    return None

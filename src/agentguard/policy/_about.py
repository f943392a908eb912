"""Which rules can be about a principal and an action, whatever the resource."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentguard.core import Context, Resource
from agentguard.policy._facts import Facts
from agentguard.policy._selectors import action_vector, principal_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from agentguard.core import Action, Principal
    from agentguard.policy._compile import CompiledRule


def rules_about(
    rules: Iterable[CompiledRule], principal: Principal, action: Action, now: datetime
) -> Iterator[CompiledRule]:
    """Yield the rules whose principals and actions include these, and that have not expired.

    What they say of resources and conditions is left to the caller.
    """
    keys = frozenset(principal_keys(principal))
    facts = Facts(principal, action, Resource(id="none", type="none"), {}, Context(), now)
    for rule in rules:
        if rule.expires is not None and rule.expires <= now:
            continue
        if action_vector(rule.rule.actions, action) is None:
            continue
        if any(
            not keys.isdisjoint(head.keys) and (head.test is None or head.test(facts))
            for head in rule.principals
        ):
            yield rule

"""The rules of a session with an intent: the template `intent`, and what of the project's rules holds there too."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from agentguard.policy._load import parse_rules
from agentguard.policy._rule import Tier
from agentguard.policy._set import PolicySet
from agentguard.policy._templates import find_template

if TYPE_CHECKING:
    from agentguard.policy._compile import CompiledRule
    from agentguard.policy._sequence_compile import Entry

TEMPLATE = "intent"


def session_policies(project: PolicySet) -> PolicySet:
    """Return the rules of a session with an intent in a project of these rules.

    That is the built-in template, in which a rule of the project takes the place of the one with its id, and all
    that is mandatory or about more than one request. What the project's other rules allow is not for such a session.
    """
    ours = {rule.id: rule for rule in _built_in()}
    own = {rule.id: rule for rule in project.rules if rule.id in ours}
    mandatory = [r for r in project.rules if r.rule.tier is Tier.MANDATORY and r.id not in ours]
    return PolicySet((*(ours | own).values(), *mandatory, *project.sequences.entries))


@cache
def _built_in() -> tuple[CompiledRule | Entry, ...]:
    return parse_rules(find_template(TEMPLATE).text, file=f"template {TEMPLATE}")

"""The rules of a session with an intent: the template `intent`, and what of the project's rules holds there too."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from msgspec.structs import replace

from agentguard.policy._load import parse_rules
from agentguard.policy._rule import Tier
from agentguard.policy._sequence_compile import (
    CompiledLimit,
    CompiledSequence,
    compile_limit,
    compile_sequence,
)
from agentguard.policy._sequence_rule import Scope
from agentguard.policy._set import PolicySet
from agentguard.policy._shipped import shipped_rules
from agentguard.policy._templates import find_template

if TYPE_CHECKING:
    from agentguard.policy._compile import CompiledRule
    from agentguard.policy._sequence_compile import Entry

TEMPLATE = "intent"


def session_policies(project: PolicySet) -> PolicySet:
    """Return the rules of a session with an intent in a project of these rules.

    That is the built-in template, in which a rule of the project takes the place of the one with its id, and all
    that is mandatory or about more than one request. What the project's other rules allow is not for such a session.
    What ships about more than one request looks at each such session alone: the host program opens them, so no agent
    begins another one to escape a count, and many sessions of one agent are no burst.
    """
    ours = {rule.id: rule for rule in _built_in()}
    own = {rule.id: rule for rule in project.rules if rule.id in ours}
    mandatory = [r for r in project.rules if r.rule.tier is Tier.MANDATORY and r.id not in ours]
    alone = _shipped_in_session()
    entries = (alone.get(each.id, each) for each in project.sequences.entries)
    return PolicySet((*(ours | own).values(), *mandatory, *entries))


@cache
def _shipped_in_session() -> dict[str, Entry]:
    """Return by id the sequences and limits that ship, each for one session."""
    found: dict[str, Entry] = {}
    for each in shipped_rules():
        if isinstance(each, CompiledSequence):
            found[each.id] = compile_sequence(replace(each.rule, scope=Scope.SESSION), each.location)
        elif isinstance(each, CompiledLimit):
            found[each.id] = compile_limit(replace(each.rule, scope=Scope.SESSION), each.location)
    return found


@cache
def _built_in() -> tuple[CompiledRule | Entry, ...]:
    return parse_rules(find_template(TEMPLATE).text, file=f"template {TEMPLATE}")

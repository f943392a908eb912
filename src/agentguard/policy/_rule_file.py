"""The shape of a rule file as it is written."""

from __future__ import annotations

from agentguard.policy._rule import Rule  # noqa: TC001 - a field's type, which is looked at when a file is read
from agentguard.policy._sequence_rule import SequenceRules


class RuleFile(SequenceRules, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One file of rules; `version` is that of the rule language."""

    version: int
    rules: tuple[Rule, ...] = ()

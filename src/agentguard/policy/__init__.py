"""The rule language: reads rules, compiles them, and says what they say of a request.

Enters: rule files, and `Facts` (a request whose names are resolved). Leaves: a `PolicySet`, its `Ruling`, near
misses, lint findings. Called by: the PDP, and the command line for validating and explaining. It decides
nothing alone: risk and evidence come later, and can only make a ruling stricter.
"""

from agentguard.policy._about import rules_about
from agentguard.policy._compile import CompiledRule, compile_rule
from agentguard.policy._describe import (
    Concern,
    PolicyCounts,
    PolicyDescription,
    concerns,
    count_policies,
    describe,
)
from agentguard.policy._explain import near_misses
from agentguard.policy._facts import Facts
from agentguard.policy._found import shown_facts
from agentguard.policy._lint import LintFinding, LintKind, lint
from agentguard.policy._load import compile_policies, load_policies, parse_policies, policy_files
from agentguard.policy._rule import (
    OriginCondition,
    ParamCondition,
    PrincipalSelector,
    ProvenanceCondition,
    ResourceSelector,
    RiskRange,
    Rule,
    SensitivityRange,
    Tier,
    TimeWindow,
    TransformOp,
    Unless,
    When,
)
from agentguard.policy._rule_file import RuleFile
from agentguard.policy._sequence_compile import span
from agentguard.policy._sequence_history import History, Reservation, SequenceRuling
from agentguard.policy._sequence_rule import (
    Breaker,
    CumulativeRisk,
    Limit,
    Scope,
    Sequence,
    SequenceRules,
    Step,
)
from agentguard.policy._sequence_set import SequenceSet
from agentguard.policy._session_rules import session_policies
from agentguard.policy._set import PolicySet, Ruling
from agentguard.policy._shipped import shipped_rules
from agentguard.policy._store import PolicyStore, PolicyWatcher
from agentguard.policy._templates import Template, find_template, templates
from agentguard.policy._transform import Rewrite
from agentguard.policy._witness import Witness
from agentguard.policy._world import KnownWorld

__all__ = [
    "Breaker",
    "CompiledRule",
    "Concern",
    "CumulativeRisk",
    "Facts",
    "History",
    "KnownWorld",
    "Limit",
    "LintFinding",
    "LintKind",
    "OriginCondition",
    "ParamCondition",
    "PolicyCounts",
    "PolicyDescription",
    "PolicySet",
    "PolicyStore",
    "PolicyWatcher",
    "PrincipalSelector",
    "ProvenanceCondition",
    "Reservation",
    "ResourceSelector",
    "Rewrite",
    "RiskRange",
    "Rule",
    "RuleFile",
    "Ruling",
    "Scope",
    "SensitivityRange",
    "Sequence",
    "SequenceRules",
    "SequenceRuling",
    "SequenceSet",
    "Step",
    "Template",
    "Tier",
    "TimeWindow",
    "TransformOp",
    "Unless",
    "When",
    "Witness",
    "compile_policies",
    "compile_rule",
    "concerns",
    "count_policies",
    "describe",
    "find_template",
    "lint",
    "load_policies",
    "near_misses",
    "parse_policies",
    "policy_files",
    "rules_about",
    "session_policies",
    "shipped_rules",
    "shown_facts",
    "span",
    "templates",
]

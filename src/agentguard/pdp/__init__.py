"""The decision point (PDP): gathers what each layer says of a request into one Decision.

Enters: a `Request` whose principal is vouched for, and the `World` (registry, inventory, policies, risk).
Leaves: a `Decision`, recorded before it is returned. Called by: PEPs, through the port `Decider`. It must
never raise, never allow on an error, and never let a later stage loosen what an earlier one said; what needs a
person is let through by people alone.
"""

from agentguard.pdp._approval import ApprovalDesk, edit_problem
from agentguard.pdp._cases import CaseResult, run_cases
from agentguard.pdp._cost import ActionCosts
from agentguard.pdp._evaluate import World
from agentguard.pdp._keeper import Keeper
from agentguard.pdp._known import concerns_of, facts_of, lint_policies
from agentguard.pdp._pdp import PolicyDecisionPoint
from agentguard.pdp._replay import ReplayedArgument, ReplayedCall, ReplayedSession, replay
from agentguard.pdp._risk import RiskPolicy, Thresholds
from agentguard.pdp._trace import read_trace

__all__ = [
    "ActionCosts",
    "ApprovalDesk",
    "CaseResult",
    "Keeper",
    "PolicyDecisionPoint",
    "ReplayedArgument",
    "ReplayedCall",
    "ReplayedSession",
    "RiskPolicy",
    "Thresholds",
    "World",
    "concerns_of",
    "edit_problem",
    "facts_of",
    "lint_policies",
    "read_trace",
    "replay",
    "run_cases",
]

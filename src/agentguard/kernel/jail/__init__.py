"""The jail: what a kernel holds of the policy for an agent's processes, put on before the agent runs, and proven.

Enters: a `KernelPolicy`, compiled from the project's policy set and signed, and a command. Leaves: a child process
confined for good, the verdicts of its self-test, and a `Denial` for each thing refused. Called by: `agentguard run`,
the sensor. It must never let the command run with less than was asked for and not given up by name, or allow what no
rule allows where something cannot be expressed.
"""

from agentguard.kernel._rules import KernelMode, KernelPolicy, NetRule
from agentguard.kernel.jail._canaries import Canary, Verdict
from agentguard.kernel.jail._compile import Compiled, Sources, Wanted, compile_policy
from agentguard.kernel.jail._confine import MOST_PROCESSES
from agentguard.kernel.jail._denials import Denial, Explainer
from agentguard.kernel.jail._enforcement import PROTECTIONS, Enforcement, Protection
from agentguard.kernel.jail._landlock import keeps_abstract_sockets
from agentguard.kernel.jail._order import IssuedPolicy, Place, PolicyOrder, this_place
from agentguard.kernel.jail._probe import Tier, probe_jail, tier_of_jail
from agentguard.kernel.jail._profiles import DEFAULT_PROFILE, PROFILES, Profile, find_profile
from agentguard.kernel.jail._seccomp import SocketPolicy
from agentguard.kernel.jail._signed import (
    Acceptance,
    SignedPolicy,
    content_of,
    issue_policy,
    sign_policy,
    verify_policy,
)
from agentguard.kernel.jail._supervisor import Denied

__all__ = [
    "DEFAULT_PROFILE",
    "MOST_PROCESSES",
    "PROFILES",
    "PROTECTIONS",
    "Acceptance",
    "Canary",
    "Compiled",
    "Denial",
    "Denied",
    "Enforcement",
    "Explainer",
    "IssuedPolicy",
    "KernelMode",
    "KernelPolicy",
    "NetRule",
    "Place",
    "PolicyOrder",
    "Profile",
    "Protection",
    "SignedPolicy",
    "SocketPolicy",
    "Sources",
    "Tier",
    "Verdict",
    "Wanted",
    "compile_policy",
    "content_of",
    "find_profile",
    "issue_policy",
    "keeps_abstract_sockets",
    "probe_jail",
    "sign_policy",
    "this_place",
    "tier_of_jail",
    "verify_policy",
]

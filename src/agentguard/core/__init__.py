"""The vocabulary that every room speaks, and the ports between them.

Enters: nothing. Leaves: immutable structs (`Principal`, `Action`, `Resource`, `Request`, `Decision`,
`Event` ...), the ports that adapters implement, the one error family. Called by: everyone. It is pure: no
files, no clock, no randomness, no network, and no library but msgspec.
"""

from agentguard.core.action import Action, Flow, Sink
from agentguard.core.decision import Decision, Finding, NearMiss, Obligation, Outcome, RiskScore, Severity
from agentguard.core.effect import Effect
from agentguard.core.errors import (
    ActionDenied,
    AgentGuardError,
    ApprovalRequired,
    AuditError,
    ConfigError,
    DocumentError,
    ExecutionError,
    IdentityError,
    IntegrityError,
    KernelError,
    Location,
    PolicyError,
    RegistryError,
    RequestError,
)
from agentguard.core.event import Event, EventKind
from agentguard.core.fact import (
    FACT_SOURCES,
    FACTS,
    NO_FACTS,
    SQL_DIALECTS,
    ArgumentFacts,
    FactKind,
    FactMerge,
    FactSpec,
)
from agentguard.core.glob import Glob
from agentguard.core.label import Integrity, Label
from agentguard.core.names import (
    action_reference,
    normalise_action,
    normalise_resource_id,
    resource_type_of,
)
from agentguard.core.observation import Observation
from agentguard.core.ports import (
    AuditLog,
    Clock,
    Decider,
    Signer,
    SystemClock,
)
from agentguard.core.principal import Principal, PrincipalKind
from agentguard.core.provenance import Match, Provenance
from agentguard.core.request import Context, Request
from agentguard.core.resource import Resource, Risk, Sensitivity
from agentguard.core.snapshot import snapshot
from agentguard.core.wire import (
    TOKEN_PRINCIPAL,
    CheckCall,
    CheckReply,
    ErrorBody,
    ErrorDetail,
    ObserveCall,
    PlanCall,
    PlanReply,
    PlanStep,
    RequestId,
)

__all__ = [
    "FACTS",
    "FACT_SOURCES",
    "NO_FACTS",
    "SQL_DIALECTS",
    "TOKEN_PRINCIPAL",
    "Action",
    "ActionDenied",
    "AgentGuardError",
    "ApprovalRequired",
    "ArgumentFacts",
    "AuditError",
    "AuditLog",
    "CheckCall",
    "CheckReply",
    "Clock",
    "ConfigError",
    "Context",
    "Decider",
    "Decision",
    "DocumentError",
    "Effect",
    "ErrorBody",
    "ErrorDetail",
    "Event",
    "EventKind",
    "ExecutionError",
    "FactKind",
    "FactMerge",
    "FactSpec",
    "Finding",
    "Flow",
    "Glob",
    "IdentityError",
    "Integrity",
    "IntegrityError",
    "KernelError",
    "Label",
    "Location",
    "Match",
    "NearMiss",
    "Obligation",
    "Observation",
    "ObserveCall",
    "Outcome",
    "PlanCall",
    "PlanReply",
    "PlanStep",
    "PolicyError",
    "Principal",
    "PrincipalKind",
    "Provenance",
    "RegistryError",
    "Request",
    "RequestError",
    "RequestId",
    "Resource",
    "Risk",
    "RiskScore",
    "Sensitivity",
    "Severity",
    "Signer",
    "Sink",
    "SystemClock",
    "action_reference",
    "normalise_action",
    "normalise_resource_id",
    "resource_type_of",
    "snapshot",
]

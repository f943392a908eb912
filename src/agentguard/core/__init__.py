"""The vocabulary that every room speaks, and the ports between them.

Enters: nothing. Leaves: immutable structs (`Principal`, `Action`, `Resource`, `Request`, `Decision`,
`Event` ...), the ports that adapters implement, the one error family. Called by: everyone. It is pure: no
files, no clock, no randomness, no network, and no library but msgspec.
"""

from agentguard.core.action import ARGUMENT_KINDS, Access, Action, Argument, Flow, Role, Sink
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
from agentguard.core.intent import ArgumentOrigin, Asked, CallOrigins, OriginKind, Reach
from agentguard.core.label import Integrity, Label
from agentguard.core.names import (
    action_reference,
    normalise_action,
    normalise_resource_id,
    resource_type_of,
)
from agentguard.core.observation import Observation
from agentguard.core.opening import OpenedSession, SessionOpening
from agentguard.core.ports import (
    AuditLog,
    Clock,
    Decider,
    LabelKeeper,
    SessionOpener,
    Signer,
    SystemClock,
)
from agentguard.core.principal import Principal, PrincipalKind
from agentguard.core.provenance import Match, Provenance
from agentguard.core.regrade import DECLASSIFY, ENDORSE, REGRADES, Regrade, Vouched
from agentguard.core.request import Context, Request
from agentguard.core.resource import Resource, Risk, Sensitivity
from agentguard.core.snapshot import snapshot
from agentguard.core.spelling import fold_spelling
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
    RegradeCall,
    RequestId,
    VouchCall,
)

__all__ = [
    "ARGUMENT_KINDS",
    "DECLASSIFY",
    "ENDORSE",
    "FACTS",
    "FACT_SOURCES",
    "NO_FACTS",
    "REGRADES",
    "SQL_DIALECTS",
    "TOKEN_PRINCIPAL",
    "Access",
    "Action",
    "ActionDenied",
    "AgentGuardError",
    "ApprovalRequired",
    "Argument",
    "ArgumentFacts",
    "ArgumentOrigin",
    "Asked",
    "AuditError",
    "AuditLog",
    "CallOrigins",
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
    "Label",
    "LabelKeeper",
    "Location",
    "Match",
    "NearMiss",
    "Obligation",
    "Observation",
    "OpenedSession",
    "ObserveCall",
    "OriginKind",
    "Outcome",
    "PlanCall",
    "PlanReply",
    "PlanStep",
    "PolicyError",
    "Principal",
    "PrincipalKind",
    "Provenance",
    "Reach",
    "RegistryError",
    "Regrade",
    "RegradeCall",
    "Request",
    "RequestError",
    "RequestId",
    "Resource",
    "Risk",
    "RiskScore",
    "Role",
    "Sensitivity",
    "SessionOpener",
    "SessionOpening",
    "Severity",
    "Signer",
    "Sink",
    "SystemClock",
    "VouchCall",
    "Vouched",
    "action_reference",
    "fold_spelling",
    "normalise_action",
    "normalise_resource_id",
    "resource_type_of",
    "snapshot",
]

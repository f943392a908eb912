"""AgentGuard: zero-trust runtime security for AI agents.

    from agentguard import Guard, Effect, ActionDenied

`Guard.open(folder, principal=...)` decides in this process, `Guard.connect(url, token)` in the sidecar. Names are
loaded when they are first used, so importing the package costs next to nothing. An executor that acts on tickets
needs `TicketVerifier` and `TicketStore`, or `SidecarTickets`. `GuardedOpenAI` and its like are the models' own clients,
guarded; `wrap` guards one that exists, `install` all of a process.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentguard._front import Guard
    from agentguard.clients import (
        GuardedAnthropic,
        GuardedAsyncAnthropic,
        GuardedAsyncAzureOpenAI,
        GuardedAsyncOpenAI,
        GuardedAzureOpenAI,
        GuardedOpenAI,
        LlmGuard,
        SidecarTickets,
        ToolAction,
        install,
        uninstall,
        wrap,
    )
    from agentguard.core import (
        ActionDenied,
        AgentGuardError,
        ApprovalRequired,
        Context,
        Decision,
        Effect,
        ExecutionError,
        Obligation,
        OriginKind,
        PlanStep,
        Principal,
        Ticket,
        TicketError,
    )
    from agentguard.enforcement import TicketStore, TicketVerifier, carry_out

__all__ = [
    "ActionDenied",
    "AgentGuardError",
    "ApprovalRequired",
    "Context",
    "Decision",
    "Effect",
    "ExecutionError",
    "Guard",
    "GuardedAnthropic",
    "GuardedAsyncAnthropic",
    "GuardedAsyncAzureOpenAI",
    "GuardedAsyncOpenAI",
    "GuardedAzureOpenAI",
    "GuardedOpenAI",
    "LlmGuard",
    "Obligation",
    "OriginKind",
    "PlanStep",
    "Principal",
    "SidecarTickets",
    "Ticket",
    "TicketError",
    "TicketStore",
    "TicketVerifier",
    "ToolAction",
    "__version__",
    "carry_out",
    "install",
    "uninstall",
    "wrap",
]

__version__ = "0.1.0"

_ENFORCEMENT = frozenset(("TicketStore", "TicketVerifier", "carry_out"))

_LLM = frozenset(("LlmGuard", "ToolAction", "install", "uninstall", "wrap"))


def __getattr__(name: str) -> object:
    if name == "Guard":
        from agentguard import _front

        return _front.Guard
    if name == "SidecarTickets":
        from agentguard import clients

        return clients.SidecarTickets
    if name in _LLM or (name.startswith("Guarded") and name in __all__):
        from agentguard import clients

        return getattr(clients, name)
    if name in _ENFORCEMENT:
        from agentguard import enforcement

        return getattr(enforcement, name)
    if name in __all__:
        from agentguard import core

        return getattr(core, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

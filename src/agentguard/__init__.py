"""AgentGuard: zero-trust runtime security for AI agents.

    from agentguard import Guard, Effect, ActionDenied

`Guard.open(folder, principal=...)` decides in this process, `Guard.connect(url, token)` in the sidecar. Names are
loaded when they are first used, so importing the package costs next to nothing.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentguard._front import Guard
    from agentguard.core import (
        ActionDenied,
        AgentGuardError,
        ApprovalRequired,
        Context,
        Decision,
        Effect,
        Obligation,
        OriginKind,
        PlanStep,
        Principal,
    )
    from agentguard.enforcement import carry_out

__all__ = [
    "ActionDenied",
    "AgentGuardError",
    "ApprovalRequired",
    "Context",
    "Decision",
    "Effect",
    "Guard",
    "Obligation",
    "OriginKind",
    "PlanStep",
    "Principal",
    "__version__",
    "carry_out",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name == "Guard":
        from agentguard import _front

        return _front.Guard
    if name == "carry_out":
        from agentguard import enforcement

        return enforcement.carry_out
    if name in __all__:
        from agentguard import core

        return getattr(core, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

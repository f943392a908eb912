"""The deny that an enforcement point makes itself, when no decision point's answer can be had or used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentguard.core import Decision, Effect

if TYPE_CHECKING:
    from agentguard.core import Request

MAX_ECHO = 2048


def deny(request: Request, reason: str) -> Decision:
    """Return a deny of `request`; its params are left out, which may be what was wrong with it."""
    return refuse(
        reason,
        action=request.action,
        resource=request.resource,
        principal=request.principal.id,
        correlation_id=request.context.correlation_id,
    )


def refuse(
    reason: str, *, action: Any, resource: Any, principal: Any = "", correlation_id: Any = ""
) -> Decision:
    """Return a deny about whatever was asked, which need not be well formed."""
    return Decision(
        effect=Effect.DENY,
        reason=reason,
        principal=_text(principal),
        action=_text(action),
        resource=_text(resource),
        stage="client",
        correlation_id=_text(correlation_id),
    )


def _text(value: Any) -> str:
    return value[:MAX_ECHO] if type(value) is str else ""

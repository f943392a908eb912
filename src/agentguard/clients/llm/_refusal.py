"""What a caller gets in place of an answer: HTTP errors as the provider would send them, not to be retried."""

from __future__ import annotations

import importlib
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import Effect

if TYPE_CHECKING:
    from agentguard.core import Decision
    from agentguard.spend import Admission

FORBIDDEN, TOO_MANY, BAD_GATEWAY = 403, 429, 502
# What a later attempt may find otherwise.
_LIMITS = frozenset(("budget", "breaker"))
# What no later attempt finds otherwise, unless people say so.
_PEOPLE = frozenset(("approval_required", "budget_approval"))
_ANTHROPIC = {FORBIDDEN: "permission_error", TOO_MANY: "rate_limit_error", BAD_GATEWAY: "api_error"}


class Refusal(msgspec.Struct, frozen=True):
    """Why a caller gets no answer. `code` tells the reasons apart; `tool` is the proposed tool that was denied."""

    status: int
    code: str
    reason: str
    decision_id: str = ""
    rule: str | None = None
    tool: str | None = None

    @property
    def message(self) -> str:
        """The reason, and where to look it up."""
        about = [f"rule `{self.rule}`"] if self.rule else []
        about += [f"decision {self.decision_id}"] if self.decision_id else []
        return f"{self.reason} ({', '.join(about)})" if about else self.reason

    def body(self, *, is_anthropic: bool) -> dict[str, Any]:
        """Return the body of the HTTP error, in the shape of the provider's own."""
        detail = {
            "message": self.message,
            "type": _ANTHROPIC[self.status] if is_anthropic else "agentguard_denied",
            "param": None,
            "code": self.code,
            "reason": self.reason,
            "decision_id": self.decision_id,
            "rule": self.rule,
        }
        if self.tool is not None:
            detail["tool"] = self.tool
        return {"type": "error", "error": detail} if is_anthropic else {"error": detail}


def refuse_decision(decision: Decision, *, tool: str | None = None) -> Refusal:
    """Return the refusal for a decision that lets nothing pass."""
    about: dict[str, Any] = {
        "reason": decision.reason,
        "decision_id": decision.audit_id,
        "rule": decision.rule,
        "tool": tool,
    }
    if decision.effect is Effect.REQUIRE_APPROVAL:
        if decision.approval:
            about["reason"] = f"{decision.reason} (approval {decision.approval})"
        return Refusal(403, code="approval_required", **about)
    if tool is not None:
        return Refusal(403, code="tool_call_denied", **about)
    if decision.stage in _LIMITS:
        return Refusal(429, code="action_denied", **about)
    return Refusal(403, code="action_denied", **about)


def refuse_spending(admission: Admission, decision: Decision) -> Refusal:
    """Return the refusal for a call that the budgets do not let pass."""
    status = FORBIDDEN if admission.code in _PEOPLE else TOO_MANY
    code = admission.code or "budget_exceeded"
    reason = f"{admission.reason} (approval {admission.approval})" if admission.approval else admission.reason
    return Refusal(status, code, reason, decision.audit_id, admission.budget or None)


def response_of(refusal: Refusal, request: Any, *, is_anthropic: bool) -> Any:
    """Return the refusal as a response of the HTTP library that `request` is of, httpx or httpx2."""
    library = sys.modules[type(request).__module__.partition(".")[0]]
    headers = {
        "content-type": "application/json",
        "x-should-retry": "false",
        "x-agentguard-decision": refusal.decision_id or "none",
    }
    content = msgspec.json.encode(refusal.body(is_anthropic=is_anthropic))
    response = library.Response(refusal.status, headers=headers, content=content, request=request)
    response.elapsed = timedelta(0)
    return response


def error_of(refusal: Refusal, request: Any, sdk: str) -> Exception:
    """Return the error that the SDK itself raises for such a response; for streams, whose response has left."""
    is_anthropic = sdk == "anthropic"
    library = importlib.import_module(sdk)
    kind = library.PermissionDeniedError if refusal.status == FORBIDDEN else library.InternalServerError
    body = refusal.body(is_anthropic=is_anthropic)
    response = response_of(refusal, request, is_anthropic=is_anthropic)
    message = f"Error code: {refusal.status} - {body}"
    error: Exception = kind(message, response=response, body=body if is_anthropic else body["error"])
    return error

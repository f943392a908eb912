"""Refusals in the provider's own shape, so that the exceptions of its SDK say them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import Effect

if TYPE_CHECKING:
    from agentguard.core import Decision
    from agentguard.spend import Admission

# What a later attempt may find otherwise.
_LIMITS = frozenset(("budget", "breaker"))
# What no later attempt finds otherwise, unless people say so.
_PEOPLE = frozenset(("approval_required", "budget_approval"))

_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


class RefusalError(Exception):
    """An answer of the gateway's own; `code` tells the reasons apart.

    `retry` tells the SDK whether to try again, `retry_after_s` when. `rule` and `decision_id` say where to look
    it up; `approval` is the id of what the call waits for: sent back as `x-agentguard-approval` with the same call, it is
    used up.
    """

    def __init__(
        self,
        status: int,
        code: str,
        reason: str,
        *,
        decision_id: str = "",
        rule: str | None = None,
        retry: bool = False,
        retry_after_s: int | None = None,
        approval: str = "",
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.code = code
        self.reason = reason
        self.decision_id = decision_id
        self.rule = rule
        self.retry = retry
        self.retry_after_s = retry_after_s
        self.approval = approval

    @property
    def message(self) -> str:
        """The reason, and where to look it up."""
        about = [f"rule `{self.rule}`"] if self.rule else []
        about += [f"decision {self.decision_id}"] if self.decision_id else []
        about += [f"approval {self.approval}"] if self.approval else []
        return f"{self.reason} ({', '.join(about)})" if about else self.reason

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers of the answer: both SDKs honour `x-should-retry`, else they retry 429 and 5xx."""
        headers = [
            (b"content-type", b"application/json"),
            (b"x-should-retry", b"true" if self.retry else b"false"),
        ]
        if self.decision_id:
            headers.append((b"x-agentguard-decision", self.decision_id.encode()))
        if self.approval:
            headers.append((b"x-agentguard-approval", self.approval.encode()))
        if self.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % self.retry_after_s))
        if self.status in (408, 413):
            # The rest of the body is not read, so the connection cannot carry another request.
            headers.append((b"connection", b"close"))
        return headers

    def body(self, path: str) -> bytes:
        """Return the error as the provider whose path was asked for shapes it."""
        return msgspec.json.encode(self._shape(is_anthropic=path.startswith("/anthropic/")))

    def event(self, path: str) -> bytes:
        """Return the error as an event of a stream that has begun."""
        return (
            (b"event: error\n" if path.startswith("/anthropic/") else b"")
            + b"data: "
            + self.body(path)
            + b"\n\n"
        )

    def _shape(self, *, is_anthropic: bool) -> dict[str, Any]:
        own = "agentguard_denied" if self.status in (403, 429) else "agentguard_error"
        error = {
            "message": self.message,
            "type": _ANTHROPIC_TYPES.get(self.status, "api_error") if is_anthropic else own,
            "param": None,
            "code": self.code,
            "reason": self.reason,
            "decision_id": self.decision_id,
            "rule": self.rule,
            **({"approval": self.approval} if self.approval else {}),
        }
        return {"type": "error", "error": error} if is_anthropic else {"error": error}


def refuse_decision(decision: Decision) -> RefusalError:
    """Return the refusal for a decision that lets nothing pass."""
    needs_person = decision.effect is Effect.REQUIRE_APPROVAL
    return RefusalError(
        429 if decision.stage in _LIMITS and not needs_person else 403,
        "approval_required" if needs_person else "action_denied",
        decision.reason,
        decision_id=decision.audit_id,
        rule=decision.rule,
        approval=decision.approval if needs_person else "",
    )


def refuse_spending(admission: Admission, decision: Decision) -> RefusalError:
    """Return the refusal for a call that the budgets do not let pass; it says when a window ends that is full."""
    is_full = admission.code == "budget_exceeded"
    wait = admission.retry_at - datetime.now(UTC) if is_full and admission.retry_at is not None else None
    return RefusalError(
        403 if admission.code in _PEOPLE else 429,
        admission.code or "budget_exceeded",
        admission.reason,
        decision_id=decision.audit_id,
        rule=admission.budget or None,
        approval=admission.approval,
        retry_after_s=max(1, int(wait.total_seconds()) + 1) if wait is not None else None,
    )

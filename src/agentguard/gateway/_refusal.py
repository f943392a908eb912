"""Refusals in the provider's own shape, so that the exceptions of its SDK say them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from agentguard.core import Decision

_OPENAI_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}
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
    """An answer of the gateway's own. `retry` tells the SDK whether to try again; `retry_after_s` when."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        decision: Decision | None = None,
        retry: bool = False,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.decision = decision
        self.retry = retry
        self.retry_after_s = retry_after_s

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers of the answer: both SDKs honour `x-should-retry`, else they retry 429 and 5xx."""
        headers = [(b"x-should-retry", b"true" if self.retry else b"false")]
        if self.decision is not None and self.decision.audit_id:
            headers.append((b"x-agentguard-decision-id", self.decision.audit_id.encode()))
        if self.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % self.retry_after_s))
        if self.status == 413:  # noqa: PLR2004 - the rest of the body is not read
            headers.append((b"connection", b"close"))
        return headers

    def body(self, path: str) -> bytes:
        """Return the error as the provider whose path was asked for shapes it."""
        return msgspec.json.encode(self._shape(is_anthropic=path.startswith("/anthropic/")))

    def event(self, path: str) -> bytes:
        """Return the error as an event of a stream that has begun."""
        is_anthropic = path.startswith("/anthropic/")
        data = msgspec.json.encode(self._shape(is_anthropic=is_anthropic))
        return (b"event: error\n" if is_anthropic else b"") + b"data: " + data + b"\n\n"

    def _shape(self, *, is_anthropic: bool) -> dict[str, Any]:
        error: dict[str, Any] = {"message": self.message}
        if is_anthropic:
            error["type"] = _ANTHROPIC_TYPES.get(self.status, "api_error")
        else:
            error |= {"type": _OPENAI_TYPES.get(self.status, "server_error"), "param": None}
        error["code"] = self.code
        if self.decision is not None:
            error["decision_id"] = self.decision.audit_id
            error["rule"] = self.decision.rule
        if not is_anthropic:
            return {"error": error}
        return {"type": "error", "error": error, "request_id": None}

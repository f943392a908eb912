"""Holds a caller until people have said: decides, waits, and decides again with what they approved."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from agentguard.core import AgentGuardError, ApprovalState, ApprovalWaiter, Decision, Effect

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.core import Decider, Request

_SLICE_S, _SHORT_SLICE_S = 20.0, 1.0
# A sidecar that restarts is waited for.
_PATIENCE_S, _PAUSE_S = 30.0, 0.5


class Hold:
    """Asks `decider`, and holds who asks up to `timeout_s` seconds while people decide.

    For who cannot be told to come back: a process that is frozen, a connection that is open. Each `ask` blocks its
    thread. Safe to use from many threads.
    """

    def __init__(self, decider: Decider, *, timeout_s: float) -> None:
        self._decider = decider
        self._timeout_s = timeout_s

    def ask(self, request: Request) -> Decision:
        """Return the decision on `request` once people have said; `require_approval` if they did not in time.

        What lets it through has used their approval up, so act on it, and record the outcome.
        """
        return self.wait(request, self._decider.decide(request))

    def wait(
        self, request: Request, decision: Decision, *, is_over: Callable[[], bool] | None = None
    ) -> Decision:
        """Return what becomes of a decision on `request`; the same one where nobody is waited for.

        Asked about once a second, `is_over` tells that nobody needs to know any more.
        """
        until = time.monotonic() + self._timeout_s
        while decision.effect is Effect.REQUIRE_APPROVAL and decision.approval:
            known = decision.approval
            if not isinstance(self._decider, ApprovalWaiter):
                break
            if not self._is_decided(known, request, until, is_over):
                break
            decision = self._decider.decide(replace(request, approval=known))
            if decision.approval == known:
                break
        return decision

    def _is_decided(
        self, approval: str, request: Request, until: float, is_over: Callable[[], bool] | None
    ) -> bool:
        """Wait until people have said, and tell whether they did in time."""
        assert isinstance(self._decider, ApprovalWaiter)
        failing_since: float | None = None
        slice_s = _SLICE_S if is_over is None else _SHORT_SLICE_S
        while is_over is None or not is_over():
            now = time.monotonic()
            try:
                # A sidecar holds nobody for hours on one connection.
                status = self._decider.wait_approval(
                    approval,
                    principal=request.principal,
                    timeout_s=max(0.0, min(slice_s, until - now)),
                )
            except AgentGuardError:
                failing_since = now if failing_since is None else failing_since
                if now - failing_since > _PATIENCE_S or now >= until:
                    return False
                time.sleep(max(0.0, min(_PAUSE_S, until - now)))
                continue
            failing_since = None
            if status.state is not ApprovalState.PENDING:
                return True
            if time.monotonic() >= until:
                return False
        return False

"""Holds a caller until people have said: decides, waits, and decides again with what they approved."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from agentguard.core import AgentGuardError, ApprovalState, ApprovalWaiter, Decision, Effect

if TYPE_CHECKING:
    from agentguard.core import Decider, Request


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

    def wait(self, request: Request, decision: Decision) -> Decision:
        """Return what becomes of a decision on `request`; the same one where nobody is waited for."""
        until = time.monotonic() + self._timeout_s
        while decision.effect is Effect.REQUIRE_APPROVAL and decision.approval:
            known = decision.approval
            if not isinstance(self._decider, ApprovalWaiter):
                break
            try:
                status = self._decider.wait_approval(
                    known, principal=request.principal, timeout_s=max(0.0, until - time.monotonic())
                )
            except AgentGuardError:
                break
            if status.state is ApprovalState.PENDING:
                break
            decision = self._decider.decide(replace(request, approval=known))
            if decision.approval == known:
                break
        return decision

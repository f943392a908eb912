"""A decider in memory, that answers as its test says: an implementation of the port like any other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentguard.core import Decision, Effect, Request, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentguard.core import Observation, Outcome, Regrade, Vouched


def decided(request: Request, **changes: Any) -> Decision:
    """An allow of exactly this request, with changes."""
    action = request.action if "@" in request.action else f"{request.action}@1"
    fields: dict[str, Any] = {
        "effect": Effect.ALLOW,
        "reason": "rule `all`",
        "principal": request.principal.id,
        "action": action,
        "resource": request.resource,
        "params": snapshot(request.params),
        "audit_id": "event-1",
    }
    return Decision(**(fields | changes))


@dataclass
class ScriptedDecider:
    """Remembers what it is asked and told."""

    answer: Callable[[Request], Any] = decided
    plan_answer: Callable[[Sequence[Request]], Any] | None = None
    on_outcome: Callable[[Outcome], Any] | None = None
    on_observe: Callable[[Observation], Any] | None = None
    requests: list[Request] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)
    regrades: list[Regrade] = field(default_factory=list)
    vouched: list[Vouched] = field(default_factory=list)
    is_closed: bool = False

    def decide(self, request: Request, *, trace: bool = False) -> Decision:
        self.requests.append(request)
        if self.is_closed:
            return decided(request, effect=Effect.DENY, reason=f"closed, trace {trace}")
        decision: Decision = self.answer(request)
        return decision

    def decide_plan(self, requests: Sequence[Request]) -> list[Decision]:
        if self.plan_answer is not None:
            plan: list[Decision] = self.plan_answer(requests)
            return plan
        return [self.decide(request) for request in requests]

    def record_outcome(self, outcome: Outcome) -> None:
        if self.on_outcome is not None:
            self.on_outcome(outcome)
        self.outcomes.append(outcome)

    def observe(self, observation: Observation) -> None:
        if self.on_observe is not None:
            self.on_observe(observation)
        self.observations.append(observation)

    def regrade(self, regrade: Regrade) -> Decision:
        self.regrades.append(regrade)
        return self.answer(Request(regrade.by, regrade.kind, f"flow/{regrade.principal}/{regrade.session}"))  # type: ignore[no-any-return]  # a script answers anything

    def vouch(self, words: Vouched) -> None:
        self.vouched.append(words)

    def close(self) -> None:
        self.is_closed = True

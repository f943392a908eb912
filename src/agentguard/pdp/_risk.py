"""Risk = what the action can do x what the resource is worth."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from agentguard.core import Effect, Resource, RiskScore


class Thresholds(msgspec.Struct, frozen=True):
    """Scores (1-16) from which a request needs a person, and from which it is denied."""

    approval_from: int = 9
    deny_from: int = 16


class RiskPolicy(msgspec.Struct, frozen=True):
    """The thresholds, and those of single environments."""

    default: Thresholds = Thresholds()
    environments: dict[str, Thresholds] = {}

    def score(self, action_weight: int, resource: Resource) -> RiskScore:
        """Return the score of an action (weight 1-4) on `resource`, and the effect that it calls for."""
        limits = self.environments.get(resource.environment, self.default)
        return _scored(action_weight, resource.weight, limits.approval_from, limits.deny_from)


@lru_cache(maxsize=1024)
def _scored(action_weight: int, resource_weight: int, approval_from: int, deny_from: int) -> RiskScore:
    score = action_weight * resource_weight
    if score >= deny_from:
        effect = Effect.DENY
    elif score >= approval_from:
        effect = Effect.REQUIRE_APPROVAL
    else:
        effect = Effect.ALLOW
    return RiskScore(action_weight, resource_weight, score, effect)


def risk_reason(risk: RiskScore, resource: Resource) -> str:
    """Return in words why the risk made a decision stricter."""
    worth = "unknown" if resource.sensitivity is None else resource.sensitivity.value
    what = "is too high" if risk.effect is Effect.DENY else "needs a person"
    return f"risk {risk.score} of 16 (action {risk.action} x {worth} resource {risk.resource}) {what}"

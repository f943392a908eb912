from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentguard.core import Effect, Resource, Sensitivity
from agentguard.pdp import RiskPolicy, Thresholds

LEVELS = st.sampled_from([None, *Sensitivity])


@given(action=st.integers(1, 4), level=LEVELS)
def test_score_is_the_product_and_an_unknown_resource_is_critical(
    action: int, level: Sensitivity | None
) -> None:
    risk = RiskPolicy().score(action, Resource("a/b", "a", sensitivity=level, listed=True))
    assert risk.score == action * (4 if level is None else level.weight)
    expected = (
        Effect.DENY if risk.score >= 16 else Effect.REQUIRE_APPROVAL if risk.score >= 9 else Effect.ALLOW
    )
    assert risk.effect is expected


@given(action=st.integers(1, 3), level=LEVELS)
def test_more_risk_is_never_a_looser_effect(action: int, level: Sensitivity | None) -> None:
    policy = RiskPolicy(Thresholds(4, 8), {"prod": Thresholds(2, 3)})
    for environment in ("", "prod"):
        resource = Resource("a/b", "a", environment, level, listed=True)
        assert policy.score(action + 1, resource).effect.rank >= policy.score(action, resource).effect.rank

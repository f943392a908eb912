"""Effects form a lattice whose join is the stricter one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.core import Effect

effects = st.sampled_from(list(Effect))


@given(effects, effects, effects)
def test_join_is_a_semilattice(one: Effect, two: Effect, three: Effect) -> None:
    assert one.join(one) is one
    assert one.join(two) is two.join(one)
    assert one.join(two.join(three)) is one.join(two).join(three)
    assert one.join(two).rank == max(one.rank, two.rank)


def test_order_is_from_allow_to_deny() -> None:
    assert [effect.value for effect in sorted(Effect, key=lambda effect: effect.rank)] == [
        "allow",
        "transform",
        "require_approval",
        "deny",
    ]


@given(effects)
def test_allow_is_neutral_and_deny_absorbs(effect: Effect) -> None:
    assert Effect.ALLOW.join(effect) is effect
    assert Effect.DENY.join(effect) is Effect.DENY


@pytest.mark.parametrize("effect", list(Effect))
def test_effect_has_no_truth_value(effect: Effect) -> None:
    with pytest.raises(TypeError, match="no truth value"):
        bool(effect)
    assert str(effect) == effect.value

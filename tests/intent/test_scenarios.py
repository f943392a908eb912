"""Sessions with an intent, by scenario."""

from __future__ import annotations

import msgspec
import pytest

from intent_scenarios import Scenario, Session, content, worst


@pytest.mark.parametrize("scenario", content().scenarios, ids=lambda each: each.name)
def test_session_decides_as_the_scenario_says(scenario: Scenario) -> None:
    session = Session(scenario.prompt, subject=scenario.subject)
    for number, step in enumerate(scenario.steps):
        if step.saw is not msgspec.UNSET:
            session.saw(step.tool, step.args, step.saw)
            continue
        decision = session.check(step.tool, step.args)
        told = f"step {number}: {decision.rule}: {decision.reason} {decision.origins}"
        assert decision.effect.value == step.effect, told
        assert step.rule in ("", decision.rule), told
        assert step.origin in ("", worst(decision)), told

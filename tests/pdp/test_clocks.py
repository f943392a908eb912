"""Clocks that jump, through the decision point: back gives nothing free, forward lets time pass, none is an error."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.core import (
    Action,
    Context,
    Effect,
    Flow,
    Integrity,
    Label,
    Observation,
    Principal,
    Request,
    Risk,
    Sensitivity,
    Sink,
)
from agentguard.pdp import Keeper, PolicyDecisionPoint, RiskPolicy, Thresholds, World
from agentguard.policy import parse_policies
from agentguard.registry import ActionRegistry, Inventory, ResourceEntry

if TYPE_CHECKING:
    from pathlib import Path

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
AGENT = Principal("agent")
EXTREMES = [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)]
RULES = """
version: 1
rules: [{id: all, effect: allow}, {id: never, effect: deny, actions: [wipe]}]
sequences: [{id: s, effect: deny, after: {actions: [open]}, then: {actions: [shut]}, within: 10m}]
limits: [{id: two, effect: deny, of: {actions: [probe]}, count: 2, per: 1h}]
breaker: {denials: 2, within: 5m, pause: 10m}
"""


class Jumping:
    def __init__(self) -> None:
        self.moment = NOON

    def now(self) -> datetime:
        return self.moment


def point(clock: Jumping, keeper: Keeper | None = None) -> PolicyDecisionPoint:
    worst = Label(Integrity.UNTRUSTED, Sensitivity.RESTRICTED)
    names = [Action(name, 1, "x", Risk.LOW) for name in ("probe", "wipe", "open", "shut")]
    names += [
        Action("read", 1, "x", Risk.LOW, flow=Flow(source=worst)),
        Action("send", 1, "x", Risk.LOW, flow=Flow(sink=Sink.EXTERNAL)),
    ]
    inventory = Inventory.build([ResourceEntry("a/b", "a", "", Sensitivity.PUBLIC)], [])
    loose = RiskPolicy(Thresholds(17, 17))
    world = World(ActionRegistry.build(names), inventory, parse_policies(RULES), loose)
    if keeper is None:
        return PolicyDecisionPoint(world, clock=clock)
    return PolicyDecisionPoint(world, clock=clock, history=keeper.history, flow=keeper.flow)


def ask(pdp: PolicyDecisionPoint, action: str) -> Effect:
    return pdp.decide(Request(AGENT, action, "a/b", {}, Context(session="s"))).effect


@pytest.mark.parametrize("jump", [timedelta(hours=-2), timedelta(days=-4000)])
def test_clock_that_goes_back_gives_nothing_free(jump: timedelta) -> None:
    clock = Jumping()
    pdp = point(clock)
    assert [ask(pdp, each) for each in ("probe", "probe", "open")] == [Effect.ALLOW] * 3
    pdp.observe(Observation(AGENT, "read", "a/b", "s", "text"))
    clock.moment += jump
    assert ask(pdp, "probe") is Effect.DENY
    assert ask(pdp, "send") is Effect.REQUIRE_APPROVAL


def test_sequence_still_holds_when_the_clock_goes_back() -> None:
    clock = Jumping()
    pdp = point(clock)
    ask(pdp, "open")
    clock.moment -= timedelta(days=1)
    assert ask(pdp, "shut") is Effect.DENY


def test_clock_that_jumps_forward_lets_time_pass_and_keeps_labels() -> None:
    clock = Jumping()
    pdp = point(clock)
    for _ in range(2):
        ask(pdp, "probe")
    pdp.observe(Observation(AGENT, "read", "a/b", "s", "text"))
    clock.moment += timedelta(days=2)
    assert ask(pdp, "probe") is Effect.ALLOW
    assert ask(pdp, "send") is Effect.REQUIRE_APPROVAL


def test_pause_does_not_end_because_the_clock_goes_back_and_forward_again() -> None:
    clock = Jumping()
    pdp = point(clock)
    for _ in range(2):
        ask(pdp, "wipe")
    for minutes in (-600, 5, -5):
        clock.moment = NOON + timedelta(minutes=minutes)
        assert ask(pdp, "probe") is Effect.DENY
    clock.moment = NOON + timedelta(minutes=11)
    assert ask(pdp, "probe") is Effect.ALLOW


@given(st.lists(st.datetimes(timezones=st.just(UTC)) | st.sampled_from(EXTREMES), max_size=12))
def test_no_time_is_an_error(moments: list[datetime]) -> None:
    clock = Jumping()
    pdp = point(clock)
    pdp.observe(Observation(AGENT, "read", "a/b", "s", "text"))
    for moment in moments:
        clock.moment = moment
        pdp.observe(Observation(AGENT, "read", "a/b", "t", "text"))
        for action in ("open", "shut", "probe", "wipe", "send"):
            decision = pdp.decide(Request(AGENT, action, "a/b", {}, Context(session="t")))
            assert decision.stage != "error"
            assert action != "send" or decision.effect is not Effect.ALLOW


def test_sessions_saved_in_the_future_hold_after_a_restart_in_the_past(tmp_path: Path) -> None:
    clock = Jumping()
    clock.moment = NOON + timedelta(days=365)
    keeper = Keeper(tmp_path)
    pdp = point(clock, keeper)
    for _ in range(2):
        ask(pdp, "probe")
    pdp.observe(Observation(AGENT, "read", "a/b", "s", "text"))
    keeper.close()
    clock.moment = NOON
    again = Keeper(tmp_path)
    pdp = point(clock, again)
    assert ask(pdp, "probe") is Effect.DENY
    assert ask(pdp, "send") is Effect.REQUIRE_APPROVAL
    again.close()

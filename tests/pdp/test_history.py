"""The decision point and its history: what is used up, by whom, and what is given back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from agentguard.audit import MemoryLog
from agentguard.core import Action, Context, Decision, Effect, Principal, Request, Risk, Sensitivity, Severity
from agentguard.pdp import PolicyDecisionPoint, RiskPolicy, Thresholds, World
from agentguard.policy import History, PolicySet, parse_policies, shipped_rules
from agentguard.registry import ActionRegistry, Inventory, ResourceEntry, load_actions

RULES = """
version: 1
rules: [{id: all, effect: allow}, {id: never, effect: deny, actions: [wipe]}]
limits: [{id: two, effect: deny, of: {actions: [probe]}, count: 2, per: 1h, severity: critical}]
"""
BREAKER = "breaker: {denials: 2, within: 5m, pause: 10m}\n"


class Moving:
    def __init__(self) -> None:
        self.moment = datetime(2026, 1, 5, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment


def world(text: str = RULES) -> World:
    registry = ActionRegistry.build([Action(name, 1, "x", Risk.LOW) for name in ("probe", "wipe")])
    inventory = Inventory.build([ResourceEntry("a/b", "a", "", Sensitivity.PUBLIC)], [])
    return World(registry, inventory, parse_policies(text))


def ask(action: str = "probe", *, chain: tuple[str, ...] = (), **context: Any) -> Request:
    return Request(Principal("bob", on_behalf_of=chain), action, "a/b", {}, Context(**context))


def test_decision_names_the_limit_and_its_severity() -> None:
    log = MemoryLog()
    point = PolicyDecisionPoint(world(), audit=log)
    decisions = [point.decide(ask()) for _ in range(3)]
    assert [each.effect.value for each in decisions] == ["allow", "allow", "deny"]
    last = decisions[-1]
    assert (last.stage, last.rule) == ("budget", "two")
    (finding,) = last.findings
    assert (finding.detector, finding.severity.value) == ("two", "critical")
    assert finding.explanation.startswith("2 of 2 so far in 1h; free again in ")
    assert list(log.read())[-1]["findings"] == [{"detector": "two", "score": 1.0, "severity": "critical"}]


def test_what_was_observed_counts_for_nothing_and_is_marked() -> None:
    log, history = MemoryLog(), History()
    point = PolicyDecisionPoint(world(RULES + BREAKER), audit=log, history=history)
    seen = [point.decide(msgspec.structs.replace(ask(name), observed=True)) for name in ["wipe", "probe"] * 4]
    assert [each.effect.value for each in seen] == ["deny", "allow"] * 4
    assert all(record["observed"] is True for record in log.read())
    assert len(history) == 0
    assert [point.decide(ask()).effect.value for _ in range(3)] == ["allow", "allow", "deny"]
    assert all("observed" not in record for record in list(log.read())[8:])


def test_what_was_observed_is_judged_by_what_was_asked_for_before() -> None:
    point = PolicyDecisionPoint(world())
    real = [point.decide(ask()) for _ in range(2)]
    assert [each.effect.value for each in real] == ["allow", "allow"]
    seen = point.decide(msgspec.structs.replace(ask(), observed=True))
    assert (seen.effect.value, seen.rule) == ("deny", "two")


def test_what_was_observed_gets_no_ticket() -> None:
    request = msgspec.structs.replace(ask(), observed=True, ticket_for="executor")
    decision = PolicyDecisionPoint(world()).decide(request)
    assert (decision.effect.value, decision.stage, decision.ticket) == ("deny", "request", "")
    assert decision.reason == "what was observed needs no ticket"


def test_what_could_not_be_recorded_uses_nothing_up() -> None:
    history = History()
    closed = MemoryLog()
    closed.close()
    failing = PolicyDecisionPoint(world(), audit=closed, history=history)
    assert [failing.decide(ask()).stage for _ in range(5)] == ["audit"] * 5
    point = PolicyDecisionPoint(world(), history=history)
    assert [point.decide(ask()).effect.value for _ in range(3)] == ["allow", "allow", "deny"]


def test_plan_sees_its_own_steps_and_uses_nothing_up() -> None:
    point = PolicyDecisionPoint(world())
    for _ in range(3):
        plan = point.decide_plan([ask()] * 3)
        assert [each.effect.value for each in plan] == ["allow", "allow", "deny"]
    assert point.decide(ask()).effect is Effect.ALLOW


def test_new_policy_goes_on_with_the_history() -> None:
    point = PolicyDecisionPoint(world())
    for _ in range(2):
        point.decide(ask())
    point.world = world(RULES.replace("effect: allow}", "effect: allow, reason: new}"))
    assert point.decide(ask()).rule == "two"


def test_time_that_a_request_claims_moves_no_window() -> None:
    clock = Moving()
    point = PolicyDecisionPoint(world(), clock=clock)
    claimed = clock.moment + timedelta(days=2)
    effects = [point.decide(ask(time=claimed)).effect.value for _ in range(3)]
    assert effects == ["allow", "allow", "deny"]
    clock.moment += timedelta(minutes=61)
    assert point.decide(ask()).effect is Effect.ALLOW


@pytest.mark.parametrize("action", ["wipe", "no-such-action", "?"])
def test_denials_of_every_kind_pause(action: str) -> None:
    clock = Moving()
    point = PolicyDecisionPoint(world(RULES + BREAKER), clock=clock)
    for _ in range(2):
        assert point.decide(ask(action)).stage != "breaker"
    paused = point.decide(ask())
    assert (paused.stage, paused.rule, paused.effect) == ("breaker", "breaker", Effect.DENY)
    clock.moment += timedelta(minutes=11)
    assert point.decide(ask()).effect is Effect.ALLOW


def test_denial_that_cannot_be_counted_is_still_a_denial() -> None:
    class Broken(History):
        def denied(self, *_args: object) -> None:
            raise RuntimeError

    point = PolicyDecisionPoint(world(RULES + BREAKER), history=Broken())
    assert point.decide(ask("wipe")).effect is Effect.DENY


def test_history_that_fails_denies() -> None:
    class Broken(History):
        def reserve(self, *_args: object, **_more: object) -> None:
            raise RuntimeError

    decision = PolicyDecisionPoint(world(RULES + BREAKER), history=Broken()).decide(ask())
    assert (decision.effect, decision.stage) == (Effect.DENY, "error")


@pytest.mark.parametrize(
    ("chain", "reason"),
    [
        (("bob",), "the delegation chain names `bob` twice"),
        (("ann", "joe", "ann"), "the delegation chain names `ann` twice"),
        (("",), "the request's delegation chain is malformed"),
        ((7,), "the request's delegation chain is malformed"),
    ],
)
def test_delegation_that_leads_back_to_itself_is_denied(chain: tuple[str, ...], reason: str) -> None:
    decision = PolicyDecisionPoint(world()).decide(ask(chain=chain))
    assert (decision.effect, decision.reason) == (Effect.DENY, reason)
    assert PolicyDecisionPoint(world()).decide(ask(chain=("ann", "joe"))).effect is Effect.ALLOW


def test_sensitive_file_that_was_read_and_then_data_that_leaves_need_a_person() -> None:
    own = parse_policies(
        "version: 1\nrules: [{id: all, effect: allow, resources: ['file:/**', 'https://**']}]"
    )
    shipped = shipped_rules(without=["shipped.path-sensitive"])
    policies = PolicySet((*shipped, *own.rules))
    registry, risk = ActionRegistry.build(load_actions([])), RiskPolicy(Thresholds(17, 17))
    point = PolicyDecisionPoint(World(registry, Inventory.build([], []), policies, risk))

    def asked(action: str, resource: str) -> Decision:
        return point.decide(Request(Principal("bob"), action, resource))

    assert asked("file.read", "file:/workspace/.env").effect is Effect.ALLOW
    stopped = asked("http.post", "https://api.github.com/gists")
    assert (stopped.effect, stopped.rule) == (Effect.REQUIRE_APPROVAL, "shipped.sensitive-then-egress")
    assert stopped.findings[0].severity is Severity.HIGH
    assert asked("http.post", "https://api.openai.com/v1/chat").effect is Effect.ALLOW

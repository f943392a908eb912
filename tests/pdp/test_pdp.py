from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from agentguard.core import (
    Action,
    AuditError,
    Context,
    Decision,
    Effect,
    Obligation,
    Outcome,
    Principal,
    Request,
    Resource,
    Risk,
    Sensitivity,
)
from agentguard.pdp import PolicyDecisionPoint, World
from agentguard.policy import Rule, compile_policies
from agentguard.registry import ActionRegistry, Inventory, ResourceEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SECRET = "hunter2-very-secret"
ANN = Principal("ann", roles=("dev",), on_behalf_of=("boss",))
PARAMS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "password": {"type": "string", "secret": True, "pattern": "^[a-z0-9-]*$"},
        "n": {"type": "integer"},
        "deep": {"type": "object", "additionalProperties": True},
    },
}
REGISTRY = ActionRegistry.build(
    [
        Action("login", 1, "log in", Risk.LOW, PARAMS, prechecks=("is up",), required_privileges=("root",)),
        Action("probe", 1, "probe", Risk.LOW, {"type": "object", "additionalProperties": True}),
    ]
)
INVENTORY = Inventory.build([ResourceEntry("prod/api", "deployment", "prod", Sensitivity.PUBLIC)], [])


class MemoryLog:
    """The port `AuditLog` over a list, which can be told to fail."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.records: list[Mapping[str, Any]] = []
        self.failure = failure
        self.closed = False

    def append(self, record: Mapping[str, Any]) -> str:
        if self.failure is not None:
            raise self.failure
        msgspec.json.encode(record)
        self.records.append(record)
        return f"event-{len(self.records)}"

    def read(self, *, after: int = 0, limit: int | None = None) -> Iterable[Mapping[str, Any]]:
        return self.records[after:limit]

    def close(self) -> None:
        self.closed = True


def world(*written: dict[str, Any], registry: Any = REGISTRY) -> World:
    rules = [{"id": f"r{at}", **each} for at, each in enumerate(written or ({"effect": "allow"},))]
    return World(registry, INVENTORY, compile_policies(msgspec.convert(rules, list[Rule])))


def ask(action: Any = "login", resource: Any = "prod/api", params: Any = None, **more: Any) -> Request:
    return Request(more.pop("principal", ANN), action, resource, {} if params is None else params, **more)


def test_benign_request_is_allowed_with_what_stands_beside_it() -> None:
    log = MemoryLog()
    context = Context(
        session="s", correlation_id="c", time=datetime(2026, 1, 5, tzinfo=UTC), attributes={"a": 1}
    )
    point = PolicyDecisionPoint(world({"effect": "allow", "obligations": [{"max_bytes": 9}]}), audit=log)
    decision = point.decide(ask(params={"n": 1}, context=context))
    assert decision.effect is Effect.ALLOW
    assert (decision.prechecks, decision.required_privileges) == (("is up",), ("root",))
    assert (decision.audit_id, decision.correlation_id) == ("event-1", "c")
    assert decision.latency_us > 0
    (record,) = log.records
    assert record["context"] == {"session": "s", "time": "2026-01-05T00:00:00+00:00", "attributes": {"a": 1}}
    assert (record["roles"], record["on_behalf_of"]) == (("dev",), ("boss",))
    assert record["obligations"] == [{"max_bytes": 9}]
    assert record["risk"] == {"action": 1, "resource": 1, "score": 1}


WRONG: list[Any] = [None, 5, 2.5, b"x", [], {}, object(), "\ud800", "x" * 5000, True, ("a",)]


class Sly(str):
    __slots__ = ()

    def __getitem__(self, _key: Any) -> str:
        raise RuntimeError(SECRET)


HOSTILE = [
    *[ask(action=each) for each in (*WRONG, Sly("login"), "", "login@0", "*")],
    *[ask(resource=each) for each in (*WRONG[:-4], Sly("prod/api"), "\ud800", "x" * 5000, True)],
    *[Request(ANN, "login", "prod/api", each) for each in (*WRONG, Sly("x")) if each != {}],
    *[ask(principal=each) for each in (*WRONG, Principal(""), Principal("\ud800"))],
    *[ask(principal=Principal(each)) for each in WRONG if each != "x" * 5000],
    *[ask(principal=Principal("ann", roles=each)) for each in WRONG if each != ("a",)],
    *[ask(principal=Principal("ann", groups=each)) for each in WRONG if each != ("a",)],
    *[ask(context=each) for each in WRONG],
    *[ask(context=Context(correlation_id=each)) for each in WRONG if each != "x" * 5000],
    *[ask(context=Context(attributes=each)) for each in WRONG if each != {}],
    *[ask(context=Context(time=each)) for each in WRONG if each is not None],
    ask(context=Context(time=datetime(2026, 1, 1))),  # noqa: DTZ001 - the point of the case
    ask(context=Context(attributes={"a": float("nan")})),
    *[
        ask("probe", params={"x": each})
        for each in (
            float("nan"),
            float("inf"),
            2**70,
            -(2**70),
            "\ud800",
            b"x",
            {1},
            object(),
            {5: 1},
            {"\ud800": 1},
        )
    ],
    *WRONG,
]


@pytest.mark.parametrize("request_", HOSTILE, ids=lambda each: ascii(each)[:60])
@pytest.mark.parametrize("recorded", [False, True])
def test_malformed_request_is_denied_and_never_raises(request_: Any, recorded: bool) -> None:  # noqa: FBT001
    log = MemoryLog()
    decision = PolicyDecisionPoint(world(), audit=log if recorded else None).decide(request_, trace=True)
    assert decision.effect is Effect.DENY
    assert decision.stage in ("request", "error")
    msgspec.json.encode(decision)
    assert len(log.records) == int(recorded)


def deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize("levels", [33, 5000])
def test_deep_nesting_is_denied(levels: int) -> None:
    assert PolicyDecisionPoint(world()).decide(ask("probe", params=deep(levels))).effect is Effect.DENY


def test_parameters_that_hold_themselves_are_denied() -> None:
    params: dict[str, Any] = {}
    params["again"] = params
    assert PolicyDecisionPoint(world()).decide(ask("probe", params=params)).effect is Effect.DENY


class Crashing:
    """A registry whose schema check crashes, quoting what it was given."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def resolve(self, _reference: str) -> Any:
        raise self.error


@pytest.mark.parametrize("error", [RuntimeError(SECRET), KeyError(SECRET), RecursionError(), MemoryError()])
def test_crash_in_a_layer_is_a_deny_whose_log_tells_no_secret(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    log = MemoryLog()
    with caplog.at_level(logging.DEBUG):
        decision = PolicyDecisionPoint(world(registry=Crashing(error)), audit=log).decide(ask())
    assert (decision.effect, decision.stage) == (Effect.DENY, "error")
    assert decision.reason == f"a layer failed: {type(error).__name__}"
    assert "test_pdp.py" in caplog.text
    assert SECRET not in caplog.text + repr(decision) + repr(log.records)


@pytest.mark.parametrize("error", [AuditError("disk full"), OSError(SECRET), RuntimeError(SECRET)])
def test_decision_that_cannot_be_recorded_is_a_deny(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    point = PolicyDecisionPoint(
        world({"effect": "allow", "obligations": [{"max_bytes": 9}]}), audit=MemoryLog(error)
    )
    decision = point.decide(ask(params={"n": 1}))
    assert (decision.effect, decision.stage, decision.audit_id) == (Effect.DENY, "audit", "")
    assert decision.obligations == ()
    assert SECRET not in caplog.text + repr(decision)


def test_outcome_is_recorded_and_its_failure_raised() -> None:
    log = MemoryLog()
    PolicyDecisionPoint(world(), audit=log).record_outcome(
        Outcome("event-1", "failed", "x" * 900, "deploy-agent")
    )
    assert log.records == [
        {
            "type": "outcome",
            "decision": "event-1",
            "principal": "deploy-agent",
            "status": "failed",
            "detail": "x" * 500,
        }
    ]
    PolicyDecisionPoint(world()).record_outcome(Outcome("event-1", "succeeded"))
    with pytest.raises(AuditError):
        PolicyDecisionPoint(world(), audit=MemoryLog(AuditError("full"))).record_outcome(
            Outcome("e", "failed")
        )


def test_parameters_of_the_decision_are_a_copy() -> None:
    params: dict[str, Any] = {"n": 1, "deep": {"list": [1]}}
    decision = PolicyDecisionPoint(world()).decide(ask(params=params))
    params["n"] = 2
    params["deep"]["list"].append(2)
    assert decision.params == {"n": 1, "deep": {"list": [1]}}


def test_changing_a_decision_changes_no_rule() -> None:
    rule = {"effect": "transform", "transform": [{"op": "set", "path": "/deep", "value": {"safe": True}}]}
    point = PolicyDecisionPoint(world(rule))
    point.decide(ask()).params["deep"]["safe"] = False
    assert point.decide(ask()).params == {"deep": {"safe": True}}


def test_attributes_that_change_while_deciding_are_recorded_as_decided() -> None:
    attributes: dict[str, Any] = {"frozen": False}
    log = MemoryLog()
    PolicyDecisionPoint(world(), audit=log).decide(ask(context=Context(attributes=attributes)))
    attributes["frozen"] = True
    assert log.records[0]["context"]["attributes"] == {"frozen": False}


@pytest.mark.parametrize(
    ("written", "effect"),
    [
        ({"effect": "allow"}, Effect.ALLOW),
        ({"effect": "deny"}, Effect.DENY),
        ({"effect": "require_approval"}, Effect.REQUIRE_APPROVAL),
        ({"effect": "allow", "when": {"params": {"password": "other"}}}, Effect.DENY),
        ({"effect": "transform", "transform": [{"op": "redact", "path": "/password"}]}, Effect.DENY),
        ({"effect": "transform", "transform": [{"op": "drop", "path": "/password"}]}, Effect.TRANSFORM),
        ({"effect": "transform", "transform": [{"op": "clamp", "path": "/password", "max": 1}]}, Effect.DENY),
    ],
)
def test_secret_value_stands_nowhere_but_in_the_parameters(written: dict[str, Any], effect: Effect) -> None:
    log = MemoryLog()
    point = PolicyDecisionPoint(world(written), audit=log, commit=lambda _value: {"c": "0"})
    decision = point.decide(ask(params={"password": SECRET, "n": 1}), trace=True)
    assert decision.effect is effect
    shown = msgspec.structs.replace(decision, params={})
    assert SECRET not in repr(shown) + repr(log.records)


@pytest.mark.parametrize(
    "params",
    [{"password": SECRET.upper()}, {"password": [SECRET]}, {"pasword": SECRET}, {"n": SECRET}],
)
def test_refused_secret_stands_nowhere_either(params: dict[str, Any]) -> None:
    log = MemoryLog()
    decision = PolicyDecisionPoint(world(), audit=log).decide(ask(params=params), trace=True)
    assert (decision.effect, decision.stage) == (Effect.DENY, "schema")
    said = (repr(msgspec.structs.replace(decision, params={})) + repr(log.records)).lower()
    assert SECRET not in said


def test_rewritten_request_is_recorded_with_what_was_asked() -> None:
    log = MemoryLog()
    rule = {"effect": "transform", "transform": [{"op": "clamp", "path": "/n", "max": 5}]}
    PolicyDecisionPoint(world(rule), audit=log).decide(ask(params={"n": 9, "password": SECRET}))
    (record,) = log.records
    assert record["params"] == {"n": 5, "password": "[withheld]"}
    assert record["requested"] == {"action": "login@1", "params": {"n": 9, "password": "[withheld]"}}


def test_decision_has_no_truth_value() -> None:
    decision = PolicyDecisionPoint(world()).decide(ask())
    with pytest.raises(TypeError, match=r"decision\.effect"):
        bool(decision)


def test_plan_is_decided_in_its_order() -> None:
    steps = [ask("probe"), ask("gone"), ask()]
    decisions = PolicyDecisionPoint(world()).decide_plan(steps)
    assert [each.action for each in decisions] == ["probe@1", "gone", "login@1"]
    assert [each.effect for each in decisions] == [Effect.ALLOW, Effect.DENY, Effect.ALLOW]


def test_closed_point_denies_and_closes_its_log() -> None:
    log = MemoryLog()
    point = PolicyDecisionPoint(world(), audit=log)
    point.close()
    assert log.closed
    assert point.decide(ask()).reason == "the decision point is closed"
    unlogged = PolicyDecisionPoint(world())
    unlogged.close()
    assert unlogged.decide(ask()).effect is Effect.DENY


def test_near_misses_are_told_when_asked_for() -> None:
    point = PolicyDecisionPoint(world({"effect": "allow", "principals": ["bob"]}))
    assert point.decide(ask()).near_misses == ()
    (miss,) = point.decide(ask(), trace=True).near_misses
    assert (miss.rule, miss.predicate) == ("r0", "principals: principal bob")


def test_world_that_is_swapped_while_deciding_gives_one_of_the_two() -> None:
    worlds = [world(), world({"effect": "deny"})]
    expected = {
        each.policies.version: effect
        for each, effect in zip(worlds, (Effect.ALLOW, Effect.DENY), strict=True)
    }
    point = PolicyDecisionPoint(worlds[0])
    stop = threading.Event()
    seen: list[Decision] = []

    def swap() -> None:
        at = 0
        while not stop.is_set():
            at += 1
            point.world = worlds[at % 2]

    def work() -> None:
        seen.extend(point.decide(ask(params={"n": 1})) for _ in range(500))

    swapper = threading.Thread(target=swap)
    workers = [threading.Thread(target=work) for _ in range(4)]
    for thread in (swapper, *workers):
        thread.start()
    for thread in workers:
        thread.join(30)
    stop.set()
    swapper.join(30)
    assert len(seen) == 2000
    assert all(each.effect is expected[each.policy_version] for each in seen)


def test_hostile_ids_do_not_fill_the_memory_with_keys() -> None:
    policies = world({"effect": "allow", "resources": ["prod/**"]}).policies
    keys = policies._keys_of_resource(Resource("/".join("a" * 1000), "a"))
    assert keys == ()
    assert policies._keys_of_resource(Resource("prod/a/b", "prod")) == ("^prod/",)


def test_obligations_reach_the_decision() -> None:
    rule = {"effect": "allow", "obligations": [{"log_level": "error"}]}
    assert PolicyDecisionPoint(world(rule)).decide(ask()).obligations == (Obligation("log_level", "error"),)


def test_request_for_a_pattern_of_resources_is_denied() -> None:
    decision = PolicyDecisionPoint(world()).decide(ask(resource="prod/*"))
    assert decision.effect is Effect.DENY
    assert "one resource" in decision.reason

from __future__ import annotations

import http.client
import json
import threading
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from agentguard.core import CheckReply, Effect, PlanReply
from sidecar import REQUEST_ID, World, running

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with running(World()) as made:
        yield made


def test_check_returns_the_decision_and_the_request_id(world: World) -> None:
    reply = world.check(params={"n": 1})
    assert reply.status == 200
    decoded = msgspec.json.decode(reply.body, type=CheckReply)
    assert decoded.request_id == REQUEST_ID
    assert decoded.decision.effect is Effect.ALLOW
    assert decoded.decision.principal == "deploy-agent"
    assert world.log.records[-1]["event_id"] == decoded.decision.audit_id


@pytest.mark.parametrize(
    ("resource", "effect"),
    [("prod/api", "require_approval"), ("other/api", "deny"), ("scale/api", "transform")],
)
def test_a_decision_that_is_no_allow_is_an_answer(world: World, resource: str, effect: str) -> None:
    reply = world.check(resource)
    assert reply.status == 200
    assert reply.json()["decision"]["effect"] == effect


@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        ({"principal": "deploy-agent"}, 200, ""),
        ({"principal": "root"}, 403, "principal_not_vouched"),
        ({"context": {"session": "s", "correlation_id": "c", "task": "t"}}, 200, ""),
        ({"context": {"ticket": "T-1"}}, 403, "context_not_vouched"),
        ({"context": {"provenance": {"to": "web"}}}, 403, "context_not_vouched"),
        ({"context": {"attributes": {"change_window": True}}}, 403, "context_not_vouched"),
        ({"context": {"time": "2026-01-01T00:00:00Z"}}, 403, "context_not_vouched"),
        ({"context": {"user": "root"}}, 400, "shape_invalid"),
        ({"observed": False}, 200, ""),
        ({"observed": True}, 403, "context_not_vouched"),
    ],
)
def test_what_an_agents_token_may_claim(world: World, more: dict[str, Any], status: int, code: str) -> None:
    before = len(world.log.records)
    reply = world.check(**more)
    assert reply.status == status
    if code:
        assert reply.code == code
        assert len(world.log.records) == before


@pytest.mark.parametrize(
    ("more", "status", "principal"),
    [
        ({"principal": "known-agent", "context": {"ticket": "T-1"}}, 200, "known-agent"),
        ({}, 200, "gateway"),
        ({"principal": "stranger"}, 403, ""),
        ({"context": {"time": "2026-01-01T00:00:00Z"}}, 403, ""),
    ],
)
def test_what_an_enforcement_points_token_may_claim(
    world: World, more: dict[str, Any], status: int, principal: str
) -> None:
    reply = world.check(token="pep-token", **more)
    assert reply.status == status
    if principal:
        assert reply.json()["decision"]["principal"] == principal


def test_plan_decides_each_step(world: World) -> None:
    steps = [{"action": "restart-deployment", "resource": name} for name in ("staging/a", "prod/b")]
    reply = world.ask("POST", "/v1/check/plan", {"request_id": REQUEST_ID, "steps": steps}, "agent-token")
    decided = msgspec.json.decode(reply.body, type=PlanReply)
    assert [each.effect for each in decided.decisions] == [Effect.ALLOW, Effect.REQUIRE_APPROVAL]


def test_plan_that_is_too_long_is_refused(world: World) -> None:
    steps = [{"action": "a", "resource": "b/c"}] * 101
    reply = world.ask("POST", "/v1/check/plan", {"request_id": REQUEST_ID, "steps": steps}, "agent-token")
    assert (reply.status, reply.code) == (400, "plan_too_long")


def test_outcome_is_recorded_with_an_empty_answer(world: World) -> None:
    reply = world.ask("POST", "/v1/outcome", {"audit_id": "event-1", "status": "succeeded"}, "agent-token")
    assert (reply.status, reply.body) == (204, b"")
    assert world.log.records[-1]["kind"] == "outcome"


def test_a_decider_that_raises_is_a_500_without_details(world: World) -> None:
    reply = world.check("boom")
    assert (reply.status, reply.code) == (500, "internal_error")
    assert b"secret" not in reply.body


def test_a_log_that_cannot_take_an_outcome_is_a_503() -> None:
    with running(World()) as world:
        world.log.healthy = False
        reply = world.ask("POST", "/v1/outcome", {"audit_id": "e", "status": "failed"}, "agent-token")
        assert (reply.status, reply.code) == (503, "audit_unavailable")


def test_a_blocking_decider_does_not_hold_up_others() -> None:
    with running(World(blocking=True)) as world:
        slow: list[int] = []
        thread = threading.Thread(target=lambda: slow.append(world.check("slow/thing").status))
        thread.start()
        assert world.decider.entered.wait(10)
        assert world.check().status == 200
        assert not slow
        world.decider.gate.set()
        thread.join(10)
        assert slow == [200]


def test_one_connection_carries_many_requests(world: World) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", world.port, timeout=10)
    call = json.dumps({"request_id": REQUEST_ID, "action": "a", "resource": "staging/x"})
    for _ in range(3):
        connection.request("POST", "/v1/check", call, {"Authorization": "Bearer agent-token"})
        answer = connection.getresponse()
        assert answer.status == 200
        answer.read()
    connection.close()


def test_call_by_hand_without_a_request_id_is_answered(world: World) -> None:
    reply = world.ask(
        "POST", "/v1/check", {"action": "restart-deployment", "resource": "staging/api"}, "agent-token"
    )
    assert reply.status == 200
    assert reply.json()["request_id"] is None


def test_observation_counts_for_whom_the_token_may_speak(world: World) -> None:
    seen = {"action": "file.read", "result": "text"}
    assert world.ask("POST", "/v1/observe", seen, "agent-token").status == 204
    assert world.log.records[-1]["principal"] == "deploy-agent"
    assert world.ask("POST", "/v1/observe", {**seen, "principal": "known-agent"}, "pep-token").status == 204
    assert world.log.records[-1]["principal"] == "known-agent"
    refused = world.ask("POST", "/v1/observe", {**seen, "principal": "another"}, "agent-token")
    assert (refused.status, refused.code) == (403, "principal_not_vouched")

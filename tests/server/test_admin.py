from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from agentguard.core import Decision, Effect
from agentguard.gateway import is_gateway_path
from agentguard.server import AgentsSeen, openapi
from sidecar import ADMIN, AGENT, World, running

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    made = World()
    with running(made):
        for number in range(5):
            made.check("staging/api", context={"correlation_id": f"c{number}"})
        made.check("other/api", action="file.read@2")
        made.check("staging/api", token="pep-token", principal="known-agent")
        made.log.append({"kind": "recovered", "bytes": 3})
        yield made


def get(world: World, path: str) -> Any:
    reply = world.ask("GET", path, token=ADMIN)
    assert reply.status == 200, reply.body
    return reply.json()


def test_actions_and_policies_are_described(world: World) -> None:
    assert get(world, "/v1/actions")["actions"][0]["name"] == "restart-deployment"
    policies = get(world, "/v1/policies")
    assert (policies["problem"], len(policies["version"])) == (None, 71)
    places = {each["id"]: (each.get("file"), each.get("line")) for each in policies["rules"]}
    assert places == {
        "table": ("policy.yaml", 4),
        "shipped.sql-drop": (None, None),
        "no-planted-recipients": ("policy.yaml", 6),
    }
    assert [each["shipped"] for each in policies["rules"] if "shipped" in each] == [True]
    (sequence,), (limit,) = policies["sequences"], policies["limits"]
    assert (sequence["line"], sequence["then"]) == (11, {"actions": ["mail.send"]})
    assert (limit["line"], limit["reason"]) == (13, "more than 5 times of restart-deployment in 1h")
    assert policies["breaker"] == {
        "denials": 20,
        "within": "5m",
        "pause": "10m",
        "file": "policy.yaml",
        "line": 14,
    }
    assert policies["cumulative_risk"]["line"] == 15


@pytest.mark.parametrize(
    ("query", "seqs", "following"),
    [
        ("", [1, 2, 3, 4, 5, 6, 7, 8], None),
        ("principal=known-agent", [7], None),
        ("effect=deny", [6], None),
        ("action=file.read", [6], None),
        ("action=file.read@2", [6], None),
        ("action=file.read@1", [], None),
        ("principal=*-agent&action=restart-*&after=5", [7], None),
        ("correlation_id=c3", [4], None),
        ("after=6", [7, 8], None),
        ("limit=2", [1, 2], 2),
        ("limit=2&after=2&effect=allow", [3, 4], 4),
        ("since=2000-01-01T00:00:00Z&until=2001-01-01T00:00:00Z", [], None),
        ("since=2000-01-01T00:00:00%2B00:00", [1, 2, 3, 4, 5, 6, 7, 8], None),
    ],
)
def test_audit_is_filtered_and_paged(
    world: World, query: str, seqs: list[int], following: int | None
) -> None:
    found = get(world, f"/v1/audit?{query}")
    assert [record["seq"] for record in found["records"]] == seqs
    assert found["next"] == following


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "after=-1", "after=1e3", "since=yesterday", "colour=red"]
)
def test_a_query_that_is_not_understood_is_refused(world: World, query: str) -> None:
    reply = world.ask("GET", f"/v1/audit?{query}", token=ADMIN)
    assert (reply.status, reply.code) == (400, "query_invalid")


def test_agents_are_listed_with_their_last_decision(world: World) -> None:
    agents = {each["principal"]: each for each in get(world, "/v1/agents")["agents"]}
    assert set(agents) == {"deploy-agent", "known-agent"}
    assert agents["deploy-agent"]["last"]["effect"] == "deny"
    assert agents["deploy-agent"]["first_seen"] < agents["deploy-agent"]["last"]["time"]


def test_agents_of_before_the_start_and_of_other_processes_are_listed() -> None:
    made = World()
    made.decider.log.append({"kind": "decision", "principal": {"id": "earlier"}, "effect": "deny"})
    with running(made):
        assert [each["principal"] for each in get(made, "/v1/agents")["agents"]] == ["earlier"]
        made.log.append({"kind": "decision", "principal": "another", "effect": "allow"})
        assert [each["principal"] for each in get(made, "/v1/agents")["agents"]] == ["another", "earlier"]


def test_readiness_lists_problems_and_health_does_not_depend_on_it(world: World) -> None:
    assert world.ask("GET", "/readyz").json() == {"ready": True, "problems": []}
    world.problems.append("the audit log takes no records")
    reply = world.ask("GET", "/readyz")
    assert (reply.status, reply.json()["problems"]) == (503, ["the audit log takes no records"])
    assert world.ask("GET", "/healthz").json() == {"status": "up"}
    world.problems.clear()


def test_metrics_count_without_naming_anybody(world: World) -> None:
    world.ask("POST", "/v1/check", b"{", token=AGENT)
    world.ask("GET", "/who/knows/deploy-agent")
    text = world.ask("GET", "/metrics").body.decode()
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert lines['agentguard_decisions_total{effect="allow",stage="policy"}'] == "6.0"
    assert lines['agentguard_decisions_total{effect="deny",stage="policy"}'] == "1.0"
    assert lines['agentguard_http_requests_total{route="/v1/check",status="200"}'] == "7.0"
    assert lines['agentguard_http_requests_total{route="unknown",status="404"}'] == "1.0"
    assert lines['agentguard_rejected_requests_total{kind="json_invalid"}'] == "1.0"
    assert lines["agentguard_decide_seconds_count"] == "7.0"
    assert lines['agentguard_decide_seconds_bucket{le="+Inf"}'] == "7.0"
    assert lines["agentguard_audit_seq"] == "8.0"
    assert lines["agentguard_audit_healthy"] == "1.0"
    assert "deploy-agent" not in text
    assert "staging" not in text


def test_openapi_is_served_and_names_every_route(world: World) -> None:
    served = world.ask("GET", "/openapi.json").json()
    assert served == json.loads(msgspec.json.encode(openapi()))
    for path, methods in served["paths"].items():
        # This sidecar names no upstreams, and takes no clicks from Slack.
        is_elsewhere = is_gateway_path(path) or path == "/v1/slack/interactions"
        for method in () if is_elsewhere else methods:
            assert world.ask(method.upper(), path, b"{}").status != 404, path


def test_seen_agents_are_bounded_and_keep_the_order_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentguard.server._agents.MAX_AGENTS", 2)
    seen = AgentsSeen(now=lambda: datetime(2026, 1, 2, tzinfo=UTC))
    for name in ("a", "b", "c"):
        seen.decided(Decision(Effect.DENY, "no", name, "x", "y" * 1000))
    assert sorted(each.principal for each in seen.list()) == ["b", "c"]
    assert len(seen.list()[0].last.resource) == 300
    seen.recorded({"effect": "allow", "principal": "c", "timestamp": "2026-01-01T00:00:00Z", "reason": "old"})
    [c] = [each for each in seen.list() if each.principal == "c"]
    assert (c.first_seen.day, c.last.reason) == (1, "no")


@pytest.mark.parametrize(
    "record",
    [
        {"kind": "outcome", "principal": "a", "timestamp": "2026-01-01T00:00:00Z"},
        {"effect": "allow", "principal": None, "timestamp": "2026-01-01T00:00:00Z"},
        {"effect": "allow", "principal": {"id": 3}, "timestamp": "2026-01-01T00:00:00Z"},
        {"effect": "allow", "principal": "a", "timestamp": "soon"},
        {"effect": "allow", "principal": "a"},
    ],
)
def test_records_that_are_no_decision_of_anybody_are_passed_over(record: dict[str, Any]) -> None:
    seen = AgentsSeen()
    seen.recorded(record)
    assert seen.list() == []

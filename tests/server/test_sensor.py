"""The sensor's figures, which the sidecar serves: `/v1/sensor` and `/metrics`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from agentguard.kernel import Check
from agentguard.sensor import Agent, Health, LinkState
from agentguard.sensor._stream import Buffer
from sidecar import ADMIN, AGENT, World, running

if TYPE_CHECKING:
    from collections.abc import Iterator

HEALTH = Health(
    version="0.1.0", uptime_s=12.5, tier="observe", checks=[Check("files", ok=True, detail="", needed=True)],
    missing={}, runs=1, records=1000, repeated=7, dropped={"vital": 0, "file": 3, "io": 0}, errors=2, backlog=4,
    latency_mean_ms=3.5, latency_max_ms=9.0, agents=1, sidecar=True,
    buffer=Buffer("b-1", 2048, 4096, 5, 9, {"vital": 0, "ordinary": 1}),
)  # fmt: skip
STATE = LinkState(
    connected=True, problem="", sensor="s-1", age_s=1.5, connections=2, reports=9,
    decisions={"allow": 6, "deny": 3}, health=HEALTH,
    agents=[Agent("support-bot", "x", "/agents.slice", datetime(2026, 1, 31, tzinfo=UTC), {"pod": "p"})],
)  # fmt: skip
NEVER = LinkState(
    connected=False, problem="no sensor", sensor="", age_s=0, connections=0, reports=0, decisions={}, agents=[], health=None
)  # fmt: skip
FIGURES = """
agentguard_sensor_connected 1.0
agentguard_sensor_connections_total 2.0
agentguard_sensor_reports_total 9.0
agentguard_sensor_decisions_total{effect="deny"} 3.0
agentguard_sensor_age_seconds 1.5
agentguard_sensor_up_seconds 12.5
agentguard_sensor_runs 1.0
agentguard_sensor_agents 1.0
agentguard_sensor_records_total 1000.0
agentguard_sensor_repeated_records_total 7.0
agentguard_sensor_dropped_records_total{kind="file"} 3.0
agentguard_sensor_errors_total 2.0
agentguard_sensor_backlog 4.0
agentguard_sensor_latency_seconds{of="mean"} 0.0035
agentguard_sensor_latency_seconds{of="most"} 0.009
agentguard_sensor_buffer_bytes 2048.0
agentguard_sensor_buffer_max_bytes 4096.0
agentguard_sensor_buffer_waiting 5.0
"""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    made = World(sensor=lambda: STATE)
    with running(made):
        yield made


@pytest.mark.parametrize("line", FIGURES.split("\n")[1:-1])
def test_figures_are_in_the_metrics(world: World, line: str) -> None:
    assert line in world.ask("GET", "/metrics").body.decode().splitlines()


def test_state_is_the_admins(world: World) -> None:
    body = world.ask("GET", "/v1/sensor", token=ADMIN).json()
    assert (body["connected"], body["agents"][0]["principal"]) == (True, "support-bot")
    assert body["health"]["buffer"]["waiting"] == 5
    assert world.ask("GET", "/v1/sensor", token=AGENT).status == 403
    assert world.ask("GET", "/v1/sensor?x=1", token=ADMIN).code == "query_invalid"


def test_sensor_that_was_never_met_has_no_figures() -> None:
    with running(World(sensor=lambda: NEVER)) as world:
        figures = world.ask("GET", "/metrics").body.decode()
        assert "agentguard_sensor_connected 0.0" in figures
        assert "agentguard_sensor_up_seconds" not in figures


def test_sidecar_without_a_link_says_so() -> None:
    with running(World()) as world:
        reply = world.ask("GET", "/v1/sensor", token=ADMIN)
        assert (reply.status, reply.code) == (404, "sensor_missing")
        assert "agentguard_sensor" not in world.ask("GET", "/metrics").body.decode()

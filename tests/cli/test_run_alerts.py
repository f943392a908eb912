"""What an agent claims and what the kernel saw, end to end: a real agent that lies, under `agentguard run`."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from command_line import environment, sidecar
from kernel_lab import why_not

if TYPE_CHECKING:
    from command_line import Command

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.slow,
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
]

RULES = """
version: 1
rules:
  - {id: reports, effect: allow, actions: [file.read], resources: ["file:report.txt"], owner: ops, reason: Reports are read}
"""
# It asks for one file and opens what its third argument says.
AGENT = """
import os, sys
from agentguard import Guard
where, token, really = sys.argv[1:]
guard = Guard.connect(where, token) if token else Guard.open(where, principal="deploy-agent")
with guard:
    decision = guard.check("file.read", resource="file:report.txt", params={"path": "report.txt"})
    assert decision.effect.value == "allow", decision.reason
    open(really).read()
"""


@pytest.fixture
def lying(agentguard: Command) -> Command:
    (agentguard.folder / "policies" / "reports.yaml").write_text(RULES)
    (agentguard.folder / "report.txt").write_text("fine")
    (agentguard.folder / "agent.py").write_text(AGENT)
    return agentguard


def run(agentguard: Command, where: str, token: str, really: str) -> tuple[Any, str]:
    target = agentguard.folder / "report.json"
    agent = [sys.executable, "agent.py", where, token, really]
    done = subprocess.run(
        [sys.executable, "-m", "agentguard", "run", "--principal", "deploy-agent",
         "--report", "json", "--report-to", str(target), "--", *agent],
        cwd=agentguard.folder, env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(target.read_text()), done.stderr


def of_shadow(alerts: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(each["severity"], each["reason"]) for each in alerts if "/etc/shadow" in each["reason"]]


LIE = [("critical", "claimed `file.read@1` of file:report.txt, but opened file:/etc/shadow")]


def test_lie_is_told_in_the_terminal_the_report_and_the_events(lying: Command) -> None:
    report, said = run(lying, ".", "", "/etc/shadow")
    assert of_shadow(report["alerts"]) == LIE
    assert f"alert: {': '.join(LIE[0])}" in said
    assert "not as it was decided" in said
    events = lying("events", "query", "--kind", "alert", "--session", report["run"], "--json").json()
    [found] = [each for each in events if each["payload"]["resource"] == "file:/etc/shadow"]
    assert found["payload"]["done"]["path"] == "/etc/shadow"
    [claim] = found["payload"]["claims"]
    decided = [each for each in lying.records() if each.get("event_id") == claim["audit_id"]]
    assert decided[0]["context"]["attributes"]["claimed_run"] == report["run"]


def test_honest_agent_raises_no_alert_about_files(lying: Command) -> None:
    report, _ = run(lying, ".", "", "report.txt")
    assert [each for each in report["alerts"] if "opened" in each["reason"]] == []


def test_sidecar_tells_of_an_agent_that_asked_it(lying: Command) -> None:
    token = lying("token", "issue", "deploy-agent").out.split()[-1]
    config = lying.folder / "agentguard.yaml"
    with sidecar(lying.folder) as running:
        config.write_text(config.read_text() + f"server: {{port: {running.url.rpartition(':')[2]}}}\n")
        report, _ = run(lying, running.url, token, "/etc/shadow")
    assert report["decided_by"] == "sidecar"
    assert of_shadow(report["alerts"]) == LIE
    assert [each for each in report["alerts"] if "host:" in each["reason"]] == []

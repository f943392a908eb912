"""An agent under `agentguard run` calls models through the gateway, and a budget's hard stop reaches it."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from command_line import environment, sidecar, spawn, wait_for
from kernel_lab import why_not
from llm_upstream import KEY, Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command_line import Command

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.slow,
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
]

# Calls a model until it is refused, then writes a dot every now and then, and so does its child.
AGENT = """
import http.client, json, os, subprocess, sys, time, urllib.parse
assert "PROVIDER_KEY" not in os.environ
url = urllib.parse.urlsplit(os.environ["OPENAI_BASE_URL"])
body = json.dumps({"model": "gpt-4o", "max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}]})
dot = "import time\\nwhile True:\\n    open('child', 'a').write('.'); time.sleep(0.02)"
child = subprocess.Popen([sys.executable, "-c", dot])
status = 200
while status == 200:
    connection = http.client.HTTPConnection(url.netloc, timeout=10)
    headers = {"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"], "Content-Type": "application/json"}
    connection.request("POST", url.path + "/chat/completions", body, headers)
    answer = connection.getresponse()
    status = answer.status
    print(status, answer.read().decode(), flush=True)
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    time.sleep(0.02)
child.kill()
"""
RULES = """
version: 1
rules:
  - {id: models, effect: allow, actions: [llm.chat], resources: ["llm/**"], owner: ops, reason: Models may be asked}
"""
SETTINGS = """
server: {{port: {server}}}
gateway:
  upstreams:
    openai: {{kind: openai, base_url: "http://127.0.0.1:{upstream}/v1", key: "env:PROVIDER_KEY", models: ["gpt-*"], local: true}}
"""
BUDGETS = """
version: 1
budgets:
  - {{id: few, scope: agent, window: total, unit: calls, limit: 2, stop: {stop}}}
"""


@contextlib.contextmanager
def world(agentguard: Command, stop: str) -> Iterator[dict[str, str]]:
    """A project with a gateway, up; yields the environment to run in."""
    environ = {**environment(), "PROVIDER_KEY": KEY}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    agentguard.write("policies/models.yaml", RULES)
    agentguard.write("budgets.yaml", BUDGETS.format(stop=stop))
    agentguard.write("agent.py", AGENT)
    config = agentguard.folder / "agentguard.yaml"
    with Upstream() as upstream:
        config.write_text(config.read_text() + SETTINGS.format(server=port, upstream=upstream.port))
        with sidecar(agentguard.folder, "--port", str(port), env=environ) as running:
            assert running.url.endswith(str(port))
            yield environ


def dots(agentguard: Command) -> int:
    path = agentguard.folder / "child"
    return path.stat().st_size if path.exists() else 0


def phases(agentguard: Command) -> list[str]:
    return [each["phase"] for each in agentguard.records() if each.get("type") == "run"]


def test_agent_calls_through_the_gateway_and_is_ended_at_the_hard_stop(agentguard: Command) -> None:
    with world(agentguard, "end") as environ:
        process = spawn(
            agentguard.folder,
            "run",
            "-p",
            "deploy-agent",
            "--",
            sys.executable,
            "agent.py",
            "60",
            env=environ,
        )
        out, said = process.communicate(timeout=60)
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == ["200", "200", "429"]
    assert json.loads(lines[2].partition(" ")[2])["error"]["code"] == "budget_exceeded"
    assert process.returncode == 128 + signal.SIGKILL
    assert "stop: the agent is ended: budget `few` of the agent `deploy-agent` has no room" in said
    (record,) = [each for each in agentguard.records() if each.get("phase") == "stopped"]
    assert (record["by"], record["budget"]) == ("cgroup.kill", "budget/few")
    assert phases(agentguard) == ["started", "stopped", "ended"]


def test_agent_is_frozen_at_the_hard_stop_and_goes_on_when_it_is_told_to(agentguard: Command) -> None:
    with world(agentguard, "freeze") as environ:
        process = spawn(
            agentguard.folder, "run", "-p", "deploy-agent", "--", sys.executable, "agent.py", "3", env=environ
        )
        wait_for(lambda: "frozen" in phases(agentguard))
        before = dots(agentguard)
        with pytest.raises(AssertionError, match="in time"):
            wait_for(lambda: dots(agentguard) > before, seconds=0.5)
        process.send_signal(signal.SIGCONT)
        wait_for(lambda: dots(agentguard) > before)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "stop: the agent is frozen" in said
    assert "kill -CONT" in said


def test_budget_that_only_denies_leaves_the_agent_running(agentguard: Command) -> None:
    with world(agentguard, "deny") as environ:
        process = spawn(
            agentguard.folder,
            "run",
            "-p",
            "deploy-agent",
            "--",
            sys.executable,
            "agent.py",
            "0.5",
            env=environ,
        )
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "stop:" not in said
    assert phases(agentguard) == ["started", "ended"]


def test_agent_is_told_that_the_gateway_is_not_up(agentguard: Command) -> None:
    config = agentguard.folder / "agentguard.yaml"
    config.write_text(config.read_text() + SETTINGS.format(server=9, upstream=9))
    code = "import os; print(os.environ['OPENAI_BASE_URL'], len(os.environ['OPENAI_API_KEY']) > 100)"
    process = spawn(agentguard.folder, "run", "-p", "deploy-agent", "--", sys.executable, "-c", code)
    out, said = process.communicate(timeout=60)
    assert out == "http://127.0.0.1:9/openai/v1 True\n"
    assert "the gateway is not up" in said

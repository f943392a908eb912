"""An agent that claims one thing and does another is stopped: frozen until a person says, or ended."""

from __future__ import annotations

import contextlib
import os
import pty
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from agentguard.cli import _approve
from agentguard.cli._output import Output
from agentguard.cli._run_alerts import AlertBrake
from agentguard.core import AuditError
from agentguard.kernel import AlertSeen, Brake
from agentguard.kernel.jail._landlock import abi
from command_line import environment, sidecar, wait_for
from egress_lab import Site, Zone
from kernel_lab import why_not

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command_line import Command

kernel = [
    pytest.mark.kernel,
    pytest.mark.slow,
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
    pytest.mark.skipif(abi() < 6, reason="this kernel has no Landlock with scopes"),
]
# It asks for a host, is refused by the rules, and goes there all the same, as an option lets it; then it works on.
AGENT = """
import http.client, json, socket, sys, time
sidecar, port, token = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
connection = http.client.HTTPConnection("127.0.0.1", sidecar, timeout=10)
call = {"request_id": "0" * 32, "action": "net.connect", "resource": f"host:other.example.com:{port}",
        "params": {"host": "other.example.com", "port": port}}
connection.request("POST", "/v1/check", json.dumps(call), {"Authorization": "Bearer " + token, "Content-Type": "application/json"})
print(connection.getresponse().read().decode(), flush=True)
socket.create_connection(("other.example.com", port), 5).close()
for _ in range(40):
    time.sleep(0.05)
print("still here", flush=True)
"""


@pytest.fixture
def world(agentguard: Command, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Command, list[str]]]:
    """A project with a sidecar that is up; yields the command of the agent that lies, too."""
    site, zone = Site(), Zone()
    zone.records["other.example.com", "A"] = ["127.0.0.1"]
    monkeypatch.setenv("AGENTGUARD_EGRESS_RESOLVERS", f"127.0.0.1:{zone.place[1]}")
    monkeypatch.setenv("AGENTGUARD_EGRESS_PRIVATE", "127.0.0.0/8")
    with contextlib.closing(site), contextlib.closing(zone):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        there = site.port
        config = agentguard.folder / "agentguard.yaml"
        config.write_text(config.read_text() + f"server: {{port: {port}}}\n")
        agentguard.write("agent.py", AGENT)
        token = agentguard("token", "issue", "deploy-agent").out.split()[-1]
        with sidecar(agentguard.folder, "--port", str(port)) as running:
            assert running.url.endswith(str(port))
            options = ["-p", "deploy-agent", "--allow-domain", f"other.example.com:{there}", "--"]
            yield agentguard, [*options, "/usr/bin/python3", "-I", "agent.py", str(port), str(there), token]


def phases(agentguard: Command) -> list[str]:
    return [each["phase"] for each in agentguard.records() if each.get("type") == "run"]


class TestRun:
    pytestmark = kernel

    def test_mode_that_kills_ends_the_liar(self, world: tuple[Command, list[str]]) -> None:
        agentguard, agent = world
        done = subprocess.run(
            [sys.executable, "-m", "agentguard", "run", "--mode", "kill", *agent],
            cwd=agentguard.folder, env=environment(), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 137, done.stdout + done.stderr
        assert "still here" not in done.stdout
        assert "stop: the agent is ended: " in done.stderr
        assert "stopped" in phases(agentguard)

    @pytest.mark.parametrize(("typed", "code"), [(b"g\n" * 9, 0), (b"k\n", 137)])
    def test_mode_that_freezes_asks_whether_the_liar_goes_on(
        self, world: tuple[Command, list[str]], typed: bytes, code: int
    ) -> None:
        agentguard, agent = world
        ours, theirs = pty.openpty()

        def take_terminal() -> None:
            os.setsid()
            os.close(os.open(os.ttyname(theirs), os.O_RDWR))

        process = subprocess.Popen(
            [sys.executable, "-m", "agentguard", "run", "--mode", "freeze", *agent],
            cwd=agentguard.folder, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, preexec_fn=take_terminal,  # noqa: PLW1509 - the terminal must be this child's
        )  # fmt: skip
        wait_for(lambda: "frozen" in phases(agentguard) or process.poll() is not None)
        os.write(ours, typed)
        out, said = process.communicate(timeout=60)
        os.close(theirs)
        os.close(ours)
        assert process.returncode == code, out + said
        assert ("still here" in out) is (code == 0)
        assert ("thawed" if code == 0 else "stopped") in phases(agentguard)


class Log:
    """Takes what is recorded, or fails."""

    def __init__(self, *, fails: bool = False) -> None:
        self.phases: list[str] = []
        self._fails = fails

    def __call__(self, phase: str, **_facts: object) -> None:
        if self._fails:
            raise AuditError("the disk is full", code="audit_unwritable")
        self.phases.append(phase)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        yield process
        process.kill()


def alert(severity: str) -> AlertSeen:
    return AlertSeen(severity, "claimed a, but opened b", "event")


@pytest.mark.parametrize("severity", ["low", "medium"])
def test_alert_that_is_not_grave_stops_nothing(severity: str, sleeper: subprocess.Popen[bytes]) -> None:
    log = Log()
    AlertBrake("kill", Brake(sleeper.pid), Output(as_json=False, quiet=True), log, asks=lambda _: False).note(
        alert(severity)
    )
    assert log.phases == []
    assert sleeper.poll() is None


@pytest.mark.parametrize("mode", ["kill", "freeze"])
@pytest.mark.parametrize("fails", [False, True])
def test_grave_alert_ends_it_where_nobody_lets_it_go_on(
    mode: str, sleeper: subprocess.Popen[bytes], *, fails: bool
) -> None:
    log = Log(fails=fails)
    brake = AlertBrake(mode, Brake(sleeper.pid), Output(as_json=False, quiet=True), log, asks=lambda _: False)
    brake.note(alert("high"))
    assert sleeper.wait(20) == -9
    if not fails:
        wait_for(lambda: log.phases == (["stopped"] if mode == "kill" else ["frozen", "stopped"]))


def test_each_new_alert_stops_it_again_after_a_person_let_it_go_on(sleeper: subprocess.Popen[bytes]) -> None:
    log, answers = Log(), iter((True, False))
    brake = AlertBrake(
        "freeze", Brake(sleeper.pid), Output(as_json=False, quiet=True), log, asks=lambda _: next(answers)
    )
    brake.note(alert("critical"))
    wait_for(lambda: log.phases == ["frozen", "thawed"])

    def stops_again() -> bool:
        # It may be a moment until it takes the next one.
        brake.note(alert("critical"))
        return "stopped" in log.phases

    wait_for(stops_again)
    assert sleeper.wait(20) == -9


@pytest.mark.parametrize(("typed", "goes"), [(b"g\n", True), (b"k\n", False), (b"x\ny\nz\n", False)])
def test_person_lets_it_go_on_or_not(typed: bytes, *, goes: bool) -> None:
    ours, theirs = pty.openpty()
    os.write(ours, typed)
    assert _approve.goes_on("claimed \x1b a", os.ttyname(theirs)) is goes
    os.close(ours)
    os.close(theirs)


def test_without_a_terminal_nothing_goes_on() -> None:
    assert _approve.goes_on("why", "/nonexistent") is False

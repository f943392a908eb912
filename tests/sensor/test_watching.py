"""The whole way: a real sensor, a real sidecar, and an agent in a cgroup that neither of them made."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agentguard.config import load_config
from agentguard.kernel import PARENT, Cgroup, find_mount
from agentguard.sensor._discovery import LABEL
from command_line import SOURCE, Command, environment, sidecar, spawn, wait_for
from kernel_lab import why_not

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.slow,
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
]
UID = "0b5e2c1a-1111-4222-8333-444455556666"
KEPT = 1 << 5 | 1 << 12 | 1 << 39  # CAP_KILL, CAP_NET_ADMIN, CAP_BPF
_JOIN = 'read -r _ && exec "$@"'


@dataclass
class Site:
    """A project whose sensor watches agents, and the cgroups of those."""

    command: Command
    socket: Path
    name: str = field(default_factory=lambda: f"agt{secrets.token_hex(4)}")
    cgroups: list[Cgroup] = field(default_factory=list)

    @property
    def unit(self) -> str:
        return f"{self.name}.slice"

    @contextlib.contextmanager
    def sensor(self, *before: str) -> Iterator[subprocess.Popen[str]]:
        """Run the sensor until the block ends."""
        command = [*before, sys.executable, "-m", "agentguard", "sensor", "--json"]
        with subprocess.Popen(
            command, cwd=self.command.folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:  # fmt: skip
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                assert process.stderr is not None
                raise AssertionError(process.stderr.read())
            assert json.loads(line)["socket"] == str(self.socket)
            try:
                yield process
            finally:
                process.kill()

    def cgroup(self, path: str) -> Cgroup:
        """Make a cgroup, as systemd or a container engine would."""
        folder = find_mount()
        for name in path.split("/"):
            folder /= name
            if not folder.exists():
                folder.mkdir()
                self.cgroups.append(Cgroup(folder))
        return next(each for each in self.cgroups if each.path == folder)

    def run(self, cgroup: Cgroup, *argv: str) -> None:
        """Run a program in a cgroup, its start included."""
        with subprocess.Popen(["/bin/sh", "-c", _JOIN, "sh", *argv], stdin=subprocess.PIPE) as process:
            cgroup.add(process.pid)
            process.communicate(b"\n", timeout=20)
            assert process.returncode == 0

    def records(self, phase: str = "") -> list[dict[str, Any]]:
        """Return what the audit log says of the sensor."""
        found = [each for each in self.command.records() if each["type"] == "sensor"]
        return [each for each in found if not phase or each["phase"] == phase]

    def watched(self, count: int = 1) -> None:
        """Wait until so many agents are watched."""
        wait_for(lambda: self.health()["agents"] == count)

    def health(self) -> Any:
        return self.command("sensor", "health", "--json").json()

    def events(self, **wanted: str) -> list[dict[str, Any]]:
        found = self.command("events", "query", "--last", "1000", "--json").json()
        return [
            each
            for each in found
            if all(each["payload"].get(name) == value for name, value in wanted.items())
        ]


@pytest.fixture
def site(agentguard: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    made = Site(agentguard, Path("/tmp") / f"ag-{secrets.token_hex(6)}.sock")
    pods = {
        "items": [
            {"metadata": {"uid": UID, "name": "bot-0", "namespace": "agents", "labels": {"app": made.name}}}
        ]
    }
    (tmp_path / "pods.json").write_text(json.dumps(pods))
    config = agentguard.folder / "agentguard.yaml"
    config.write_text(
        config.read_text()
        + f"""
sensor:
  socket: {made.socket}
  buffer_folder: {tmp_path}/buffer
  pods: file:{tmp_path}/pods.json
  watch:
    by-unit: {{units: [{made.unit}]}}
    by-label: {{labels: ["{made.name}-*"]}}
    by-pod: {{pods: ["agents/app={made.name}"]}}
"""
    )
    monkeypatch.setenv("COLUMNS", "200")
    yield made
    for each in reversed(made.cgroups):
        each.remove()
    made.socket.unlink(missing_ok=True)


def test_agents_of_all_kinds_are_found_and_what_they_do_is_decided(site: Site, tmp_path: Path) -> None:
    early = site.cgroup(site.unit)
    with site.sensor(), sidecar(site.command.folder) as up:
        token = site.command("token", "admin").out.strip()
        site.watched()
        labelled, pod = (
            site.cgroup(f"{site.name}-x"),
            site.cgroup(f"kubepods-{site.name}.slice/{_pod_slice()}"),
        )
        os.setxattr(labelled.path, LABEL, f"{site.name}-7".encode())
        site.watched(3)
        for name, cgroup in (("unit", early), ("label", labelled), ("pod", pod)):
            (tmp_path / name).write_text("x")
            site.run(cgroup, "/bin/cat", str(tmp_path / name))
        site.run(early, "/bin/cat", "/etc/shadow")
        for name in ("unit", "label", "pod"):
            (event,) = wait_for(lambda: site.events(action="file.read", path=str(tmp_path / name)))  # noqa: B023 - asked at once
            assert (event["principal"], event["payload"]["effect"]) == (f"by-{name}", "deny")
            assert event["payload"]["program"].endswith("cat")
        (event,) = site.events(action="file.read", path=str(tmp_path / "pod"))
        assert event["payload"]["pod"] == UID
        assert (event["payload"]["namespace"], event["payload"]["pod_name"]) == ("agents", "bot-0")
        (shadow,) = wait_for(lambda: site.events(path="/etc/shadow", action="file.read"))
        assert shadow["payload"]["rule"] == "shipped.path-secret"
        assert {"cgroup", "program", "parents"} <= shadow["payload"].keys() | {"parents"}
        watched = {each["principal"]: each for each in up.ask("GET", "/v1/sensor", token=token)[1]["agents"]}
        assert watched["by-label"]["labels"] == {"label": f"{site.name}-7"}
        assert watched["by-unit"]["cgroup"] == f"/{site.unit}"
        found = up.ask("GET", "/v1/events?action=process.exec&principal=by-unit", token=token)[1]["events"]
        assert "/usr/bin/cat" in {each["payload"]["path"] for each in found}
        figures = urllib.request.urlopen(f"{up.url}/metrics", timeout=10).read().decode()  # noqa: S310 - ours
        assert "agentguard_sensor_connected 1.0" in figures
        assert "agentguard_sensor_agents 3.0" in figures
    decision = next(each for each in site.command.records() if each.get("resource") == "file:/etc/shadow")
    assert decision["context"]["attributes"] == {"pep": "kernel", "observed": True}
    assert decision["context"]["session"] == shadow["session"]


def _pod_slice() -> str:
    return f"kubepods-burstable-pod{UID.replace('-', '_')}.slice"


def test_rights_are_given_up_by_every_thread(site: Site) -> None:
    with site.sensor() as process:
        site.health()
        tasks = list(Path(f"/proc/{process.pid}/task").iterdir())
        assert len(tasks) > 3
        for task in tasks:
            try:
                lines = (task / "status").read_text().splitlines()
            except FileNotFoundError:
                continue  # it has ended meanwhile
            facts = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
            assert [int(facts[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")] == [KEPT] * 3
            assert (int(facts["CapInh"], 16), int(facts["CapAmb"], 16)) == (0, 0)
            assert facts["NoNewPrivs"] == "1"


def test_rights_of_the_systemd_unit_are_enough(site: Site) -> None:
    unit = (SOURCE.parent / "deploy" / "systemd" / "agentguard-sensor.service").read_text()
    (line,) = [each for each in unit.splitlines() if each.startswith("CapabilityBoundingSet=")]
    names = [name.removeprefix("CAP_").lower() for name in line.partition("=")[2].split()]
    cgroup = site.cgroup(site.unit)
    with site.sensor(
        "setpriv", "--bounding-set", ",".join(["-all", *(f"+{name}" for name in names)])
    ) as process:
        site.watched()
        site.run(cgroup, "/bin/true")
        wait_for(lambda: site.health()["buffer"]["waiting"] > 2)
        for _ in range(2):
            done = site.command.folder
            with spawn(done, "run", "--quiet", "--sensor", site.socket, "--", "/bin/true") as run:
                assert run.wait(30) == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert _left_of(process.pid) == []


def _left_of(pid: int) -> list[str]:
    parent = find_mount() / PARENT
    return sorted(each.name for each in parent.glob(f"*-{pid}-*")) if parent.is_dir() else []


def test_what_was_seen_while_the_sidecar_was_away_is_told_later(site: Site, tmp_path: Path) -> None:
    cgroup = site.cgroup(site.unit)
    for name in ("before", "between", "after"):
        (tmp_path / name).write_text("x")
    with site.sensor():
        site.watched()
        site.run(cgroup, "/bin/cat", str(tmp_path / "before"))
        wait_for(lambda: site.health()["buffer"]["waiting"] > 3)
        with sidecar(site.command.folder) as up:
            wait_for(lambda: site.events(path=str(tmp_path / "before"), action="file.read"))
            # In the middle of whatever it does.
            up.process.kill()
            up.process.wait(20)
        wait_for(lambda: not site.health()["sidecar"])
        site.run(cgroup, "/bin/cat", str(tmp_path / "between"))
        with sidecar(site.command.folder):
            wait_for(lambda: site.events(path=str(tmp_path / "between"), action="file.read"))
            site.run(cgroup, "/bin/cat", str(tmp_path / "after"))
            wait_for(lambda: site.events(path=str(tmp_path / "after"), action="file.read"))
            wait_for(lambda: site.health()["buffer"]["waiting"] == 0)
    assert [each["phase"] for each in site.records()].count("attached") == 2
    assert site.command("audit", "verify").code == 0


def test_sensor_that_is_killed_loses_nothing_that_it_had_accepted(site: Site, tmp_path: Path) -> None:
    cgroup = site.cgroup(site.unit)
    (tmp_path / "seen").write_text("x")
    (tmp_path / "again").write_text("x")
    with site.sensor() as first:
        site.watched()
        session = _session(site)
        site.run(cgroup, "/bin/cat", str(tmp_path / "seen"))
        waiting = wait_for(lambda: (found := site.health()["buffer"]["waiting"]) > 5 and found)
        first.kill()
        first.wait(20)
    wait_for(lambda: _left_of(first.pid) == [])
    assert site.socket.exists()
    with site.sensor() as second, sidecar(site.command.folder):
        site.watched()
        site.run(cgroup, "/bin/cat", str(tmp_path / "again"))
        wait_for(lambda: site.events(path=str(tmp_path / "again"), action="file.read"))
        (event,) = site.events(path=str(tmp_path / "seen"), action="file.read")
        assert event["session"] == session == _session(site)
        second.send_signal(signal.SIGTERM)
        assert second.wait(20) == 0
        wait_for(lambda: site.records("stopped"))
    started = site.records("started")
    assert [(each["tier"], each["after_crash"]) for each in started] == [
        ("observe", False),
        ("observe", True),
    ]
    assert all(all(each["self_test"].values()) for each in started)
    assert started[1]["waiting"] >= waiting
    assert started[0]["rights"] == ["CAP_KILL", "CAP_NET_ADMIN", "CAP_BPF"]
    assert not site.socket.exists()
    assert list(Path(site.command.folder.parent, "buffer").glob("*.spool")) == []


def _session(site: Site) -> str:
    from agentguard.sensor._account import session_of

    return session_of((find_mount() / site.unit).stat().st_ino)


def test_agent_that_ran_before_the_sensor_is_known_by_its_program(site: Site, tmp_path: Path) -> None:
    cgroup = site.cgroup(site.unit)
    (tmp_path / "late").write_text("x")
    script = "import sys; sys.stdin.readline(); open(sys.argv[1]).read(); print('read', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "late")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as agent:  # fmt: skip
        cgroup.add(agent.pid)
        with site.sensor(), sidecar(site.command.folder):
            site.watched()
            assert agent.stdin is not None
            assert agent.stdout is not None
            agent.stdin.write("\n")
            agent.stdin.flush()
            assert agent.stdout.readline() == "read\n"
            (event,) = wait_for(lambda: site.events(path=str(tmp_path / "late"), action="file.read"))
            assert event["payload"]["program"] == sys.executable
            (watching,) = site.records("watching")
            assert (watching["principal"], watching["processes"]) == ("by-unit", 1)
            agent.stdin.close()


INSIDER = """
import socket, sys, os
from agentguard.sensor._frames import send
from agentguard.sensor._protocol import Watch, receive_told
from agentguard.sensor._stream import Attach
child = os.fork()
if child == 0:
    os.read(0, 1)
    os._exit(0)
for asked in (Watch(child), Attach(sys.argv[2])):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(sys.argv[1])
        send(connection, asked)
        assert receive_told(connection).code == "sensor_denied"
os.kill(child, 9)
"""


def test_agent_cannot_take_itself_or_its_traces_out_of_sight(site: Site) -> None:
    cgroup = site.cgroup(f"{site.unit}/below")
    project = load_config(site.command.folder, {}).project.id
    with site.sensor():
        site.watched()
        site.run(
            cgroup,
            "/usr/bin/env",
            f"PYTHONPATH={SOURCE}",
            sys.executable,
            "-c",
            INSIDER,
            str(site.socket),
            project,
        )
        # It can ask how the sensor is, as anybody can.
        assert site.health()["tier"] == "observe"


def test_buffer_that_is_full_says_what_was_dropped(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTGUARD_SENSOR_BUFFER_BYTES", str(1 << 20))
    cgroup = site.cgroup(site.unit)
    with site.sensor():
        site.watched()
        script = "import os\nfor n in range(6000): os.close(os.open(f'/tmp/{os.getpid()}-{n}', os.O_CREAT | os.O_WRONLY, 0o600)); os.unlink(f'/tmp/{os.getpid()}-{n}')"
        site.run(cgroup, sys.executable, "-c", script)
        wait_for(lambda: site.health()["dropped"]["file"] > 0)
        assert site.command("sensor", "health").code == 1
        with sidecar(site.command.folder):
            dropped = wait_for(lambda: site.records("dropped"), seconds=60)[0]
            assert (dropped["kind"], dropped["count"]) == ("buffer", dropped["ordinary"] + dropped["vital"])
            assert dropped["agents"] == [
                {"principal": "by-unit", "session": _session(site), "count": dropped["count"]}
            ]
            (alert,) = wait_for(lambda: site.events(action="events.dropped"))[:1]
            assert (alert["kind"], alert["payload"]["count"]) == ("alert", dropped["count"])


def test_sensor_tells_systemd_that_it_is_ready(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        place = f"agt-{secrets.token_hex(4)}"
        systemd.bind("\0" + place)
        systemd.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + place)
        with site.sensor() as process:
            assert systemd.recv(100) == b"READY=1"
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0


def test_settings_are_read_again_on_sighup(site: Site, tmp_path: Path) -> None:
    config = site.command.folder / "agentguard.yaml"
    before = config.read_text()
    first, second = site.cgroup(site.unit), site.cgroup(f"new-{site.unit}")
    (tmp_path / "late").write_text("x")
    with site.sensor() as process, sidecar(site.command.folder) as up:
        token = site.command("token", "admin").out.strip()

        def principals() -> dict[str, str]:
            agents = up.ask("GET", "/v1/sensor", token=token)[1]["agents"]
            return {each["cgroup"].lstrip("/"): each["principal"] for each in agents}

        wait_for(lambda: principals() == {site.unit: "by-unit"})
        config.write_text(before.replace(f"units: [{site.unit}]", "units: 7"))
        process.send_signal(signal.SIGHUP)
        (failed,) = wait_for(lambda: site.records("reload-failed"))
        assert "agentguard.yaml" in failed["reason"]
        changed = before.replace("by-unit:", "renamed:").replace(
            "by-label:", f"added: {{units: [new-{site.unit}]}}\n    by-label:"
        )
        config.write_text(changed.replace("/buffer\n", "/elsewhere\n"))
        process.send_signal(signal.SIGHUP)
        (told,) = wait_for(lambda: site.records("reloaded"))
        assert wait_for(lambda: site.events(action="sensor.reload-failed"))
        assert told["watches"] == ["renamed", "added", "by-label", "by-pod"]
        assert told["after_restart"] == ["sensor.buffer_folder"]
        wait_for(lambda: principals() == {site.unit: "renamed", f"new-{site.unit}": "added"})
        site.run(second, "/bin/cat", str(tmp_path / "late"))
        site.run(first, "/bin/cat", str(tmp_path / "late"))
        found = wait_for(
            lambda: len(seen := site.events(path=str(tmp_path / "late"), action="file.read")) == 2 and seen
        )
        assert {each["principal"] for each in found} == {"renamed", "added"}
        config.write_text(changed.replace(f"    renamed: {{units: [{site.unit}]}}\n", ""))
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: principals() == {f"new-{site.unit}": "added"})
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_sensor_without_a_project_outlives_sighup(tmp_path: Path) -> None:
    path = Path("/tmp") / f"ag-{secrets.token_hex(6)}.sock"
    command = [sys.executable, "-m", "agentguard", "sensor", "--socket", str(path), "--json"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        assert process.stderr is not None
        assert "no settings of a project" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_settings_that_cannot_be_meant_end_the_sensor_with_a_reason(site: Site) -> None:
    config = site.command.folder / "agentguard.yaml"
    config.write_text(config.read_text().replace(f"units: [{site.unit}]", ""))
    with spawn(site.command.folder, "sensor") as process:
        _, said = process.communicate(timeout=20)
    assert process.returncode == 3
    assert "by-unit" in said
    assert "Traceback" not in said

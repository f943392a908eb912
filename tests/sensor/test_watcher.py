"""Agents in cgroups that we did not launch, watched by a sensor in this process, told to a link in this process."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agentguard.backends import MemoryEventStore
from agentguard.config import WatchSettings
from agentguard.core import Event, EventFilter, KernelError, Principal
from agentguard.events import InProcessBus
from agentguard.kernel import Cgroup, Drop, Kind, Seen, find_mount
from agentguard.sensor import Sensor, SensorLink, Watching, ask_health
from agentguard.sensor import _account as account_module
from agentguard.sensor import _outlet as outlet_module
from agentguard.sensor import _watcher as watcher_module
from agentguard.sensor._account import Account
from agentguard.sensor._discovery import LABEL, Found, Rules
from command_line import wait_for
from kernel_lab import SMALL, why_not
from scripted_decider import ScriptedDecider
from sidecar import MemoryLog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentguard.sensor._pods import Pod
    from agentguard.sensor._stream import Report

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]
_JOIN = 'read -r _ && exec "$@"'
NAME = f"agw{secrets.token_hex(4)}"


class NoPods:
    """A source of pods that has none to give at first."""

    broken = False

    def pods(self) -> list[Pod]:
        if self.broken:
            raise KernelError("the kubelet is away", code="sensor_pods")
        return []


@dataclass
class Place:
    """A sensor and a link to it, each in threads."""

    sensor: Sensor
    link: SensorLink
    log: MemoryLog
    store: MemoryEventStore
    pods: NoPods
    socket: Path
    cgroups: list[Cgroup] = field(default_factory=list)

    def cgroup(self, path: str) -> Cgroup:
        folder = find_mount()
        for name in path.split("/"):
            folder /= name
            folder.mkdir(exist_ok=True)
        self.cgroups.append(Cgroup(folder))
        return self.cgroups[-1]

    def run(self, cgroup: Cgroup, *argv: str) -> None:
        with subprocess.Popen(["/bin/sh", "-c", _JOIN, "sh", *argv], stdin=subprocess.PIPE) as process:
            cgroup.add(process.pid)
            process.communicate(b"\n", timeout=20)
            assert process.returncode == 0

    def watched(self, cgroup: Cgroup) -> None:
        path = f"/{cgroup.path.relative_to(find_mount())}"
        wait_for(lambda: path in {each.cgroup for each in self.link.state().agents})

    def events(self, **wanted: Any) -> list[Event]:
        found = [each.event for each in self.store.read(EventFilter(), limit=1_000_000)]
        return [
            each for each in found if all(each.payload.get(name) == value for name, value in wanted.items())
        ]

    def records(self, phase: str, **wanted: Any) -> list[dict[str, Any]]:
        found = [each for each in self.log.records if each["phase"] == phase]
        return [each for each in found if all(each.get(name) == value for name, value in wanted.items())]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    path = Path(tempfile.mkdtemp(prefix="ag-")) / "sensor.sock"
    watch = {
        "by-unit": WatchSettings(units=(f"{NAME}*.service",)),
        "by-label": WatchSettings(labels=(f"{NAME}-*",)),
    }
    pods = NoPods()
    agents = Watching(
        "my-project",
        Rules(watch),
        frozenset((os.geteuid(),)),
        tmp_path_factory.mktemp("buffer"),
        1 << 24,
        pods,
    )
    hurry = pytest.MonkeyPatch()
    hurry.setattr(outlet_module, "STANDING_EVERY_S", 0.05)
    hurry.setattr(watcher_module, "_COLLECT_EVERY_S", 0.2)
    hurry.setattr(watcher_module, "_LOOK_EVERY_S", 0.3)
    sensor = Sensor(path, SMALL, agents=agents)
    thread = threading.Thread(target=sensor.serve)
    thread.start()
    log, store = MemoryLog(), MemoryEventStore()
    link = SensorLink(
        path, project="my-project", decider=ScriptedDecider(), audit=log, store=store, bus=InProcessBus(),
        principal_named=Principal,
    )  # fmt: skip
    link.start()
    wait_for(lambda: link.state().connected)
    yield Place(sensor, link, log, store, pods, path)
    sensor.stop()
    thread.join(20)
    assert not thread.is_alive()
    wait_for(lambda: any(each["phase"] == "stopped" for each in log.records))
    link.close()
    assert not path.exists()
    path.parent.rmdir()
    hurry.undo()


@pytest.fixture
def place(running: Place) -> Iterator[Place]:
    yield running
    while running.cgroups:
        running.cgroups.pop().remove()


def test_file_program_and_attempt_are_told(place: Place, tmp_path: Path) -> None:
    cgroup = place.cgroup(f"{NAME}-1.service")
    place.watched(cgroup)
    (tmp_path / "data").write_text("x")
    script = f"import os; open({str(tmp_path / 'data')!r}).read(); os.close(os.memfd_create('hidden'))"
    place.run(cgroup, sys.executable, "-c", script)
    (read,) = wait_for(lambda: place.events(path=str(tmp_path / "data"), action="file.read"))
    assert (read.principal, read.payload["effect"], read.payload["cgroup"]) == (
        "by-unit",
        "allow",
        f"/{NAME}-1.service",
    )
    program = next(each for each in place.events(action="process.exec") if each.session == read.session)
    assert program.payload["argv"][1:] == ["-c", script]
    assert wait_for(lambda: [each for each in place.events(what="memfd") if each.session == read.session])


def test_udp_counts_once_something_is_sent(place: Place) -> None:
    cgroup = place.cgroup(f"{NAME}-2.service")
    place.watched(cgroup)
    with contextlib.ExitStack() as stack:
        ports = []
        for _ in range(3):
            receiver = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            receiver.bind(("127.0.0.1", 0))
            ports.append(receiver.getsockname()[1])
        script = (
            "import socket, sys; a, b, c = [socket.socket(2, 2) for _ in range(3)]\n"
            "for each, port in zip((a, b, c), sys.argv[1:]): each.connect(('127.0.0.1', int(port)))\n"
            "a.send(b'x'); print('sent', flush=True); sys.stdin.readline(); b.send(b'x')"
        )
        command = ["/bin/sh", "-c", _JOIN, "sh", sys.executable, "-c", script, *map(str, ports)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as agent:
            cgroup.add(agent.pid)
            assert agent.stdin is not None
            assert agent.stdout is not None
            agent.stdin.write(b"\n")
            agent.stdin.flush()
            assert agent.stdout.readline() == b"sent\n"
            # It runs on, and what it sent is told all the same.
            wait_for(lambda: place.events(action="net.connect", port=ports[0]))
            agent.stdin.write(b"\n")
            agent.stdin.flush()
            agent.wait(20)
        wait_for(lambda: place.events(action="net.connect", port=ports[1]))
        assert place.events(action="net.connect", port=ports[2]) == []


def test_successor_of_a_cgroup_is_another_session(place: Place) -> None:
    path = f"/{NAME}-3.service"
    for count in (1, 2):
        cgroup = place.cgroup(path[1:])
        wait_for(lambda: len(place.records("watching", cgroup=path)) == count)  # noqa: B023 - asked at once
        place.run(cgroup, "/bin/true")
        place.cgroups.pop().remove()
        wait_for(lambda: len(place.records("gone", cgroup=path)) == count)  # noqa: B023 - asked at once
    sessions = [each["session"] for each in place.records("watching", cgroup=path)]
    assert len(set(sessions)) == 2
    assert sessions == [each["session"] for each in place.records("gone", cgroup=path)]


def test_many_that_go_together_leave_the_others_watched(place: Place) -> None:
    several = [place.cgroup(f"{NAME}-x{number}") for number in range(4)]
    for each in several:
        os.setxattr(each.path, LABEL, f"{NAME}-7".encode())
    # More than the programs have quick slots for, and one on another level.
    deep = place.cgroup(f"{NAME}-x/below/{NAME}-4.service")
    for each in (*several, deep):
        place.watched(each)
    for each in several:
        each.path.rmdir()
    wait_for(lambda: len(place.link.state().agents) == 1)
    place.run(deep, "/bin/true")
    (event, *_) = wait_for(lambda: place.events(cgroup=f"/{NAME}-x/below/{NAME}-4.service"))
    assert event.principal == "by-unit"
    assert ask_health(place.socket).errors == 0
    (find_mount() / f"{NAME}-x/below/{NAME}-4.service").rmdir()
    for name in (f"{NAME}-x/below", f"{NAME}-x"):
        (find_mount() / name).rmdir()


def test_cgroup_that_is_too_deep_is_refused_on_record(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher_module, "MAX_DEPTH", 12)
    path = "/".join([NAME, *"abcdefg", f"{NAME}-5.service"])
    place.cgroup(path)
    (refused,) = wait_for(lambda: place.records("refused", cgroup=f"/{path}"))
    assert "levels deep" in refused["reason"]
    (alert,) = wait_for(lambda: place.events(action="sensor.refused"))
    assert alert.payload["principal"] == "by-unit"
    for folder in (find_mount() / path, *list((find_mount() / path).parents)[:8]):
        folder.rmdir()


def test_more_agents_than_are_watched_are_refused_on_record(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher_module, "MAX_AGENTS", 0)
    place.cgroup(f"{NAME}-6.service")
    (refused,) = wait_for(lambda: place.records("refused", cgroup=f"/{NAME}-6.service"))
    assert "more than 0 agents" in refused["reason"]


def test_pods_that_cannot_be_had_are_on_record_once(place: Place) -> None:
    place.pods.broken = True
    watcher = place.sensor._watcher
    assert watcher is not None
    assert watcher.pods is not None
    watcher.pods.find(uid="unknown")
    (degraded,) = wait_for(lambda: place.records("degraded"))
    assert degraded["reason"] == "the kubelet is away"
    assert ask_health(place.socket).pods == "the kubelet is away"
    place.pods.broken = False


def test_loss_in_the_kernel_is_told(place: Place) -> None:
    place.watched(place.cgroup(f"{NAME}-7.service"))
    place.sensor._note_drop(Drop.VITAL, 3)
    (dropped,) = wait_for(lambda: place.records("dropped", kind="vital"))
    assert dropped["count"] == 3
    (alert,) = wait_for(lambda: place.events(action="events.dropped", kind="vital"))
    assert alert.payload["count"] == 3


def test_what_fails_is_counted_and_the_rest_goes_on(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    cgroup = place.cgroup(f"{NAME}-8.service")
    place.watched(cgroup)
    before = ask_health(place.socket).errors
    with monkeypatch.context() as patched:
        patched.setattr(Account, "note", None)
        place.run(cgroup, "/bin/true")
        wait_for(lambda: ask_health(place.socket).errors > before)
    with monkeypatch.context() as patched:
        now = ask_health(place.socket).errors
        patched.setattr(watcher_module, "look", None)
        wait_for(lambda: ask_health(place.socket).errors > now)
    place.run(cgroup, "/bin/echo", "again")
    wait_for(
        lambda: [each for each in place.events(action="process.exec") if "again" in each.payload["argv"]]
    )


@pytest.fixture
def account() -> Iterator[tuple[Account, list[tuple[Report, bool]]]]:
    cgroup = Cgroup.make(f"test-{os.getpid()}-{secrets.token_hex(4)}")
    told: list[tuple[Report, bool]] = []
    found = Found(cgroup.path, "/x", "agent", 1, {"pod": "p"})
    yield Account(found, cgroup, lambda report, is_vital: told.append((report, is_vital))), told
    cgroup.remove()


def opened(path: str, time_ns: int, *, pid: int = 7, start_ns: int = 1) -> Seen:
    return Seen(Kind.OPEN, time_ns, 1, pid, start_ns, path=path)


def executed(path: str, time_ns: int, *argv: str) -> Seen:
    return Seen(Kind.EXEC, time_ns, 1, 7, 1, path=path, argv=argv)


def test_same_thing_is_told_again_after_a_while(account: tuple[Account, list[tuple[Report, bool]]]) -> None:
    made, told = account
    second = 1_000_000_000
    for time_ns in (0, 1, second, 3601 * second):
        made.note(opened("/data", time_ns))
    assert [is_vital for _, is_vital in told] == [False, False]
    told.clear()
    for time_ns in (0, 1, second):
        made.note(executed("/bin/a", time_ns, "a"))
    made.note(executed("/bin/a", second + 1, "a", "other"))
    assert [is_vital for _, is_vital in told] == [True, True, True]
    events = [report.event for report, _ in told]
    assert len({each.event_id for each in events if each is not None}) == 3
    assert all(each is not None and each.payload["pod"] == "p" for each in events)


def test_account_of_a_busy_agent_stays_small(
    account: tuple[Account, list[tuple[Report, bool]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_module, "MAX_KNOWN", 20)
    monkeypatch.setattr(account_module, "MAX_LISTED", 30)
    made, told = account
    for number in range(200):
        made.note(opened(f"/data/{number}", number))
    assert len(told) == 200
    assert made._tally.size <= 30
    assert len(made._teller._known) <= 20


@pytest.mark.parametrize("whose", ["its own", "another's"])
def test_program_that_ran_before_is_what_it_was_started_as(
    account: tuple[Account, list[tuple[Report, bool]]], whose: str
) -> None:
    made, told = account
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    start_ns = ticks * 10_000_000 + (5_000_000 if whose == "its own" else 10**12)
    made.note(opened("/data", time.time_ns(), pid=os.getpid(), start_ns=start_ns))
    event = told[0][0].event
    assert event is not None
    started_as = Path("/proc/self/cmdline").read_bytes().partition(b"\0")[0].decode()
    comm = Path("/proc/self/comm").read_text().strip()
    expected = started_as if started_as.startswith("/") else comm
    assert event.payload["program"] == (expected if whose == "its own" else "?")


def test_process_that_is_gone_is_nobody(account: tuple[Account, list[tuple[Report, bool]]]) -> None:
    made, told = account
    made.note(opened("/data", 1, pid=(1 << 22) + 5))
    event = told[0][0].event
    assert event is not None
    assert event.payload["program"] == "?"

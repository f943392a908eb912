"""A real sensor: in a thread for what is said on its socket, as a process of its own for whole runs."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agentguard.core import KernelError
from agentguard.kernel._cgroups import PARENT, find_mount
from agentguard.kernel._layout import Kind
from agentguard.sensor import Sensor, ask_health
from agentguard.sensor._frames import send
from agentguard.sensor._protocol import Batch, Finish, Finished, Told, Watch, Watching, receive_told
from agentguard.sensor._stream import Attach, Refused
from command_line import environment, spawn, wait_for
from kernel_lab import SMALL, why_not

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentguard.kernel import Seen
    from command_line import Command

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]


@pytest.fixture(scope="module")
def sensor() -> Iterator[Path]:
    # In a folder that other users can reach, which pytest's own are not.
    path = Path(tempfile.mkdtemp(prefix="ag-")) / "sensor.sock"
    path.parent.chmod(0o755)
    made = Sensor(path, SMALL)
    thread = threading.Thread(target=made.serve)
    thread.start()
    yield path
    made.stop()
    thread.join(20)
    assert not thread.is_alive()
    assert not path.exists()
    path.parent.rmdir()


@contextlib.contextmanager
def connected(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        yield connection


@contextlib.contextmanager
def waiting_child(*argv: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a child that runs `argv` after a line on its standard input."""
    command = ["/bin/sh", "-c", 'read -r _ && exec "$@"', "sh", *argv]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as child:
        try:
            yield child
        finally:
            child.kill()


def told_until(connection: socket.socket, kind: type) -> list[Told]:
    found: list[Told] = []
    while not found or not isinstance(found[-1], kind):
        told = receive_told(connection)
        assert told is not None, found
        found.append(told)
    return found


def test_own_child_is_watched_to_its_end(sensor: Path, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("x" * 50)
    with connected(sensor) as connection, waiting_child("/bin/cat", str(tmp_path / "data")) as child:
        send(connection, Watch(child.pid))
        watching = receive_told(connection)
        assert isinstance(watching, Watching)
        assert all(each.ok for each in watching.checks)
        child.communicate(b"\n", timeout=10)
        send(connection, Finish())
        told = told_until(connection, Finished)
    seen: list[Seen] = [each for part in told if isinstance(part, Batch) for each in part.seen]
    assert str(tmp_path / "data") in {each.path for each in seen if each.kind == Kind.OPEN}
    last = told[-1]
    assert isinstance(last, Finished)
    assert sum(each.read_bytes for each in last.traffic if each.path == str(tmp_path / "data")) == 50


def test_child_of_somebody_else_is_refused(sensor: Path) -> None:
    for pid in (os.getpid(), 1, 1 << 22):
        with connected(sensor) as connection:
            send(connection, Watch(pid))
            told = receive_told(connection)
            assert isinstance(told, Refused)
            assert told.code == "sensor_denied"


def test_client_that_is_gone_takes_its_child_along(sensor: Path) -> None:
    with waiting_child("/bin/sleep", "60") as child:
        with connected(sensor) as connection:
            send(connection, Watch(child.pid))
            assert isinstance(receive_told(connection), Watching)
        assert child.wait(20) in {-signal.SIGTERM, -signal.SIGKILL}
    wait_for(lambda: ask_health(sensor).runs == 0)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x01", b"\xff\xff\xff\xff", b"\x03\0\0\0abc", b"\x05\0\0\0hi", b"GET / HTTP/1.1\r\n\r\n"],
    ids=["nothing", "half a length", "huge", "no MessagePack", "half a frame", "HTTP"],
)
def test_nonsense_is_refused_and_the_sensor_lives(sensor: Path, data: bytes) -> None:
    with connected(sensor) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(KernelError, OSError):
            told = receive_told(connection)
            assert told is None or isinstance(told, Refused)
    assert ask_health(sensor).tier == "observe"


def test_very_many_connections_of_one_user_are_not_served(
    sensor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentguard.sensor._server.MAX_CONNECTIONS_OF_A_USER", 2)
    with contextlib.ExitStack() as stack:
        open_ones = [stack.enter_context(connected(sensor)) for _ in range(3)]
        # The last one is closed, and the others wait to be asked.
        assert open_ones[-1].recv(1) == b""
    wait_for(lambda: _answers(sensor))


def _answers(sensor: Path) -> bool:
    try:
        return ask_health(sensor).tier == "observe"
    except (KernelError, OSError):
        return False


def test_health_counts(sensor: Path) -> None:
    health = ask_health(sensor)
    assert all(each.ok for each in health.checks)
    assert (health.errors, set(health.dropped)) == (0, {"vital", "file", "io"})


def test_sensor_without_a_project_tells_no_sidecar(sensor: Path) -> None:
    with connected(sensor) as connection:
        send(connection, Attach("some-project"))
        told = receive_told(connection)
        assert isinstance(told, Refused)
        assert (told.code, "no project" in told.message) == ("sensor_denied", True)


def test_second_sensor_at_one_socket_is_refused(sensor: Path) -> None:
    with pytest.raises(KernelError, match="already") as caught:
        Sensor(sensor, SMALL)
    assert caught.value.code == "sensor_socket"


def test_socket_that_cannot_be_made_is_an_error() -> None:
    with pytest.raises(KernelError, match="cannot listen") as caught:
        Sensor(Path("/proc/none/sensor.sock"), SMALL)
    assert caught.value.code == "sensor_socket"


def test_missing_sensor_is_said(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match="no sensor") as caught:
        ask_health(tmp_path / "sensor.sock")
    assert caught.value.code == "sensor_missing"


AS_NOBODY = """
import json, os, sys
from pathlib import Path
from agentguard.kernel import Judge, Tally, tell
from agentguard.sensor import SensorRun
from agentguard.core import Principal
import agentguard.kernel._launch, agentguard.sensor._client, ctypes, shutil
os.setgroups([]); os.setgid(65534); os.setuid(65534)
run = SensorRun(["/bin/sh", "-c", "cat /etc/hostname > /dev/null; exit 12"], Path(sys.argv[1]))
around = run.observe()
tally = Tally(Judge(None, principal=Principal("user"), run=run.id))
ended = run.run(tally)
run.close()
print(json.dumps([ended.exit_code, sorted(tally.files), ended.drops, os.getuid()]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_ordinary_user_has_the_full_view_through_the_sensor(sensor: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(sensor)],
        cwd="/", env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    code, files, drops, uid = json.loads(done.stdout)
    assert (code, drops, uid) == (12, {}, 65534)
    assert "/etc/hostname" in files


@pytest.fixture
def process(
    agentguard: Command, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    path = Path("/tmp") / f"ag-{secrets.token_hex(6)}.sock"
    monkeypatch.setenv("AGENTGUARD_SENSOR_BUFFER_FOLDER", str(agentguard.folder / "buffer"))
    with spawn(agentguard.folder, "sensor", "--socket", path) as running:
        assert running.stdout is not None
        assert "listens at" in running.stdout.readline()
        try:
            yield path, running
        finally:
            running.kill()
            path.unlink(missing_ok=True)


@pytest.mark.slow
def test_run_uses_the_sensor_and_health_says_so(
    agentguard: Command, process: tuple[Path, subprocess.Popen[str]]
) -> None:
    path, running = process
    done = subprocess.run(
        [sys.executable, "-m", "agentguard", "run", "--json", "--sensor", str(path), "--", "/bin/sh", "-c", "cat /etc/hostname >&2; exit 8"],
        cwd=agentguard.folder, env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    report: dict[str, Any] = json.loads(done.stdout)
    assert (done.returncode, report["tier"], report["decided_by"]) == (8, "observe", "process")
    assert "/etc/hostname" in {each["path"] for each in report["files"]}
    health = agentguard("sensor", "health", "--socket", path, "--json")
    assert health.code == 0
    assert health.json()["records"] > 0
    assert "watching 0 runs" in agentguard("sensor", "health", "--socket", path).out
    running.send_signal(signal.SIGTERM)
    assert running.wait(20) == 0
    assert agentguard("sensor", "health", "--socket", path).code == 5


@pytest.mark.slow
def test_sensor_that_is_killed_leaves_a_report_that_says_it_is_not_complete(
    agentguard: Command, process: tuple[Path, subprocess.Popen[str]]
) -> None:
    path, running = process
    arguments = ("run", "--json", "--sensor", path, "--", "/bin/sh", "-c", "echo ready >&2; read _; exit 3")
    with spawn(agentguard.folder, *arguments, stdin=subprocess.PIPE) as run:
        assert run.stderr is not None
        assert run.stderr.readline() == "ready\n"
        running.kill()
        running.wait(20)
        out, _ = run.communicate("\n", timeout=30)
    report = json.loads(out)
    assert (report["exit_code"], report["errors"]) == (3, 1)
    assert report["dropped"]["vital"] >= 1
    # What the dead sensor could not remove, the next one does.
    with spawn(agentguard.folder, "sensor", "--socket", path) as second:
        assert second.stdout is not None
        second.stdout.readline()
        parent = find_mount() / PARENT
        left = [each.name for each in parent.glob(f"run-{running.pid}-*")] if parent.is_dir() else []
        assert left == []
        second.send_signal(signal.SIGINT)
        assert second.wait(20) == 0


def test_many_runs_at_once_are_kept_apart(sensor: Path, tmp_path: Path) -> None:
    found: dict[int, set[str]] = {}

    def one(number: int) -> None:
        target = tmp_path / f"file-{number}"
        target.write_text("x")
        with connected(sensor) as connection, waiting_child("/bin/cat", str(target)) as child:
            send(connection, Watch(child.pid))
            assert isinstance(receive_told(connection), Watching)
            child.communicate(b"\n", timeout=20)
            send(connection, Finish())
            told = told_until(connection, Finished)
        seen = [each for part in told if isinstance(part, Batch) for each in part.seen]
        found[number] = {each.path for each in seen if each.path.startswith(str(tmp_path))}

    threads = [threading.Thread(target=one, args=(number,)) for number in range(6)]
    for each in threads:
        each.start()
    deadline = time.monotonic() + 40
    for each in threads:
        each.join(max(0, deadline - time.monotonic()))
    assert found == {number: {str(tmp_path / f"file-{number}")} for number in range(6)}

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentguard.core import AuditError, ConfigError
from agentguard.server import _serve, base_url, listen
from sidecar import ADMIN, AGENT, REQUEST_ID, World

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parents[1]
CALL = json.dumps({"request_id": REQUEST_ID, "action": "a", "resource": "staging/x"}).encode()
SLOW = json.dumps({"request_id": REQUEST_ID, "action": "a", "resource": "slow/thing"}).encode()
HEADERS = {"Authorization": f"Bearer {AGENT}"}
# Runs a sidecar in a process of its own. A line on standard input lets slow decisions go on; at the end it says
# what was closed, and how many decisions the log has.
PROGRAM = """
import sys, threading
from sidecar import World
from agentguard.server import listen, serve
world = World(blocking="--blocking" in sys.argv)
threading.Thread(target=lambda: (sys.stdin.readline(), world.decider.gate.set()), daemon=True).start()
listener = listen("127.0.0.1", 0)
code = serve(world.services(), sockets=[listener], on_started=lambda url: print(url, flush=True))
print("closed", world.decider.closed, world.log.closed, len(world.log.records), flush=True)
sys.exit(code)
"""


class Sidecar:
    """A sidecar's process and its port."""

    def __init__(self, *arguments: str) -> None:
        path = os.pathsep.join((str(TESTS), str(TESTS.parent / "src")))
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        self.connections: list[http.client.HTTPConnection] = []
        assert self.process.stdout
        self.url = self.process.stdout.readline().strip()
        self.port = int(self.url.rpartition(":")[2])

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection that is closed with the test."""
        self.connections.append(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20))
        return self.connections[-1]

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


@pytest.fixture
def sidecar(request: pytest.FixtureRequest) -> Iterator[Sidecar]:
    made = Sidecar(*getattr(request, "param", ()))
    yield made
    for connection in made.connections:
        connection.close()
    made.process.kill()
    made.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_under_load_finishes_what_is_in_flight_and_exits_0(sidecar: Sidecar, number: int) -> None:
    answered, broken = [], []
    ended = threading.Event()

    def ask() -> None:
        connection = sidecar.connect()
        while not ended.is_set():
            try:
                connection.request("POST", "/v1/check", CALL, HEADERS)
                answer = connection.getresponse()
                answered.append((answer.status, json.loads(answer.read())["decision"]["effect"]))
            except (OSError, http.client.HTTPException, ValueError) as error:
                broken.append(error)
                return

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 10
    while len(answered) < 200:
        assert time.monotonic() < deadline
    sidecar.process.send_signal(number)
    code, out, err = sidecar.end()
    ended.set()
    for thread in threads:
        thread.join(10)
    assert code == 0, err
    assert err == ""
    assert set(answered) == {(200, "allow")}
    closed, decider, log, records = out.split()
    # Closed once each; every answer that was given is in the log.
    assert (closed, decider, log) == ("closed", "1", "1")
    assert int(records) >= len(answered)
    # A connection is only ever cut between requests: never is half an answer seen.
    assert not [error for error in broken if isinstance(error, http.client.IncompleteRead | ValueError)]


@pytest.mark.parametrize("sidecar", [("--blocking",)], indirect=True)
def test_a_request_in_flight_is_answered_after_the_signal(sidecar: Sidecar) -> None:
    connection = sidecar.connect()
    connection.request("POST", "/v1/check", SLOW, HEADERS)
    wait_until_slow_is_decided(sidecar)
    sidecar.process.send_signal(signal.SIGTERM)
    wait_until_closed(sidecar.port)
    assert sidecar.process.stdin
    sidecar.process.stdin.write("\n")
    sidecar.process.stdin.flush()
    answer = connection.getresponse()
    assert answer.status == 200
    assert json.loads(answer.read())["decision"]["effect"] == "deny"
    assert sidecar.end()[0] == 0


def test_event_streams_end_at_a_signal(sidecar: Sidecar) -> None:
    connection = sidecar.connect()
    connection.request("GET", "/events", headers={"Authorization": f"Bearer {ADMIN}"})
    answer = connection.getresponse()
    assert answer.status == 200
    start = time.monotonic()
    sidecar.process.send_signal(signal.SIGTERM)
    assert b"event: chain" in answer.read()
    assert sidecar.end()[0] == 0
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("sidecar", [("--blocking",)], indirect=True)
def test_the_same_signal_again_ends_it_at_once(sidecar: Sidecar) -> None:
    connection = sidecar.connect()
    connection.request("POST", "/v1/check", SLOW, HEADERS)
    wait_until_slow_is_decided(sidecar)
    sidecar.process.send_signal(signal.SIGINT)
    wait_until_closed(sidecar.port)
    sidecar.process.send_signal(signal.SIGINT)
    assert sidecar.end()[0] == 128 + signal.SIGINT


def wait_until_slow_is_decided(sidecar: Sidecar) -> None:
    # The request before it on the way in is answered only after the slow one was taken up.
    for _ in range(3):
        connection = sidecar.connect()
        connection.request("POST", "/v1/check", CALL, HEADERS)
        assert connection.getresponse().status == 200
        connection.close()


def wait_until_closed(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        try:
            connection.request("GET", "/healthz")
            connection.getresponse()
        except OSError:
            return
        finally:
            connection.close()
    raise AssertionError("it still listens")


def test_a_port_in_use_is_a_clear_error() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            listen("127.0.0.1", port)
    assert caught.value.code == "address_unavailable"
    assert caught.value.message == f"`127.0.0.1:{port}` is in use"
    assert caught.value.hint


def test_closing_goes_on_when_the_last_refusals_cannot_be_recorded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise AuditError("the disk is full")

    world = World()
    monkeypatch.setattr(world.rejected, "flush", fail)
    _serve._close(world.services())
    assert (world.decider.closed, world.log.closed) == (1, 1)
    assert "the disk is full" in caplog.text


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_an_address_that_is_not_ours_is_a_clear_error(host: str) -> None:
    with pytest.raises(ConfigError, match="cannot be listened on"):
        listen(host, 0)


def test_the_url_of_a_listener_is_what_a_browser_takes() -> None:
    with listen("127.0.0.1", 0) as listener:
        assert base_url(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        with listen("::1", 0) as listener:
            assert base_url(listener).startswith("http://[::1]:")
    except ConfigError:
        pytest.skip("no IPv6 loopback here")

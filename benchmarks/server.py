"""`POST /v1/check` over loopback. Run: `python -m benchmarks server`.

First with a decider that answers at once, so the figure is what HTTP adds: the token, JSON both ways, metrics.
Then `agentguard up` itself on a fresh project, deciding, with every decision written to the log. The server runs
in a process of its own. The client is this process: raw sockets, no HTTP library, so on two cores it takes
little from the server.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentguard.audit import LogState, Rejections
from agentguard.config import ServerSettings
from agentguard.core import Decision, Effect, IdentityError, Principal, Request
from agentguard.identity import LoginCodes, People, StateFolder, VerifiedToken
from agentguard.policy import PolicyDescription
from agentguard.server import PeopleDoor, Services, listen, serve

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Mapping, Sequence

    from agentguard.core import Observation, OpenedSession, Outcome, Regrade, SessionOpening, Vouched

ONE_CALLS = 5_000
MANY_CALLS = 60_000
CONNECTIONS = 32
BODY = json.dumps(
    {
        "request_id": "0123456789abcdef0123456789abcdef",
        "action": "restart-deployment",
        "resource": "staging/api",
        "params": {"namespace": "staging", "deployment": "api"},
    }
).encode()


class _NoLog:
    def append(self, record: Mapping[str, Any]) -> str:
        del record
        return ""

    def read(self, *, after: int = 0, limit: int | None = None) -> Iterable[Mapping[str, Any]]:
        del after, limit
        return ()

    def close(self) -> None: ...

    @property
    def state(self) -> LogState:
        return LogState(0, "", 0, 0, "", "os", healthy=True)


class _Constant:
    def decide(self, request: Request, *, trace: bool = False) -> Decision:
        del trace
        return Decision(
            Effect.ALLOW,
            "staging is free",
            request.principal.id,
            request.action,
            request.resource,
            request.params,
            rule="staging",
            stage="policy",
        )

    def decide_plan(self, requests: Sequence[Request]) -> list[Decision]:
        return [self.decide(request) for request in requests]

    def observe(self, observation: Observation) -> None:
        del observation

    def record_outcome(self, outcome: Outcome) -> None: ...

    def regrade(self, regrade: Regrade) -> Decision:
        return self.decide(Request(regrade.by, regrade.kind, "flow/session"))

    def vouch(self, words: Vouched) -> None: ...

    def open_session(self, opening: SessionOpening) -> OpenedSession:
        raise NotImplementedError

    def close(self) -> None: ...


def _verify(token: str) -> VerifiedToken:
    if token != "agent":  # noqa: S105 - the benchmark's own
        raise IdentityError("the token is not the benchmark's")
    return VerifiedToken(Principal("deploy-agent"), act_as=False, jti="1", issued_at=0.0, expires_at=2e9)


def _serve(listener: socket.socket) -> None:
    log = _NoLog()
    services = Services(
        decider=_Constant(),
        labels=_Constant(),
        sessions=_Constant(),
        audit=log,
        rejections=Rejections(log),
        verify_token=_verify,
        admin_matches=lambda _: False,
        login_codes=LoginCodes(),
        principal_named=lambda _: None,
        describe_policies=lambda: PolicyDescription(version="0"),
        describe_actions=list,
        ready=list,
        version="0",
        # Nobody logs in here, so it is not looked for.
        people=PeopleDoor(People(StateFolder(Path(os.devnull), "benchmark"))),
        settings=ServerSettings(),
    )
    serve(services, sockets=[listener])


class _Client(asyncio.Protocol):
    """Sends the same request again as soon as its answer is whole."""

    def __init__(self, request: bytes, calls: int, done: asyncio.Future[None]) -> None:
        self._request, self._left, self._done = request, calls, done
        self.times_s: list[float] = []
        self._buffer = b""
        self._sent = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # the kind it gets
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator or len(body) < int(head.partition(b"content-length: ")[2].partition(b"\r")[0]):
            return
        self.times_s.append(time.perf_counter() - self._sent)
        assert head.startswith(b"HTTP/1.1 200"), head
        self._buffer = b""
        self._left -= 1
        if self._left:
            self._send()
        else:
            self._transport.close()
            self._done.set_result(None)

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)


async def _measure(port: int, connections: int, calls: int, token: str) -> tuple[float, list[float]]:
    loop = asyncio.get_running_loop()
    request = (
        f"POST /v1/check HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
    ).encode() + BODY
    start = time.perf_counter()
    clients, done = [], []
    for _ in range(connections):
        future = loop.create_future()
        client = _Client(request, calls // connections, future)
        await loop.create_connection(partial(_same, client), "127.0.0.1", port)
        clients.append(client)
        done.append(future)
    await asyncio.gather(*done)
    wall_s = time.perf_counter() - start
    return wall_s, sorted(each for client in clients for each in client.times_s)


def _same(client: _Client) -> _Client:
    return client


def _report(name: str, wall_s: float, times_s: list[float]) -> None:
    p50, p99 = statistics.median(times_s) * 1e3, times_s[int(len(times_s) * 0.99)] * 1e3
    rate = len(times_s) / wall_s
    print(f"{name:28} p50 {p50:6.3f} ms   p99 {p99:6.3f} ms   {rate:8,.0f} requests/s")


def main() -> None:
    """Measure one connection's latency, and what one process answers at 32 connections."""
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    process = multiprocessing.get_context("fork").Process(target=_serve, args=(listener,))
    process.start()
    listener.close()
    try:
        print("a decider that answers at once")
        _rounds(port, "agent")
    finally:
        process.terminate()
        process.join(20)
    print(f"  exit code {process.exitcode}")
    print("agentguard up, a fresh project, `os` durability")
    with tempfile.TemporaryDirectory() as folder:
        _real(Path(folder))


def _rounds(port: int, token: str) -> None:
    import uvloop

    uvloop.run(_measure(port, 1, 500, token))  # warm up
    for _ in range(3):
        _report("  1 connection", *uvloop.run(_measure(port, 1, ONE_CALLS, token)))
        _report(f"  {CONNECTIONS} connections", *uvloop.run(_measure(port, CONNECTIONS, MANY_CALLS, token)))


def _real(folder: Path) -> None:
    environ = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
    command = [sys.executable, "-m", "agentguard"]
    project = str(folder / "project")
    subprocess.run([*command, "init", project, "--quiet"], env=environ, check=True)
    issued = subprocess.run(
        [*command, "token", "issue", "deploy-agent", "--project", project],
        env=environ,
        check=True,
        capture_output=True,
        text=True,
    )
    up = [*command, "up", "--port", "0", "--json", "--project", project]
    with subprocess.Popen(up, env=environ, stdout=subprocess.PIPE, text=True) as sidecar:
        try:
            assert sidecar.stdout is not None
            url = json.loads(sidecar.stdout.readline())["url"]
            _rounds(int(url.rpartition(":")[2]), issued.stdout.strip())
        finally:
            sidecar.terminate()
            code = sidecar.wait(20)
    print(f"  exit code {code}")


if __name__ == "__main__":
    main()

"""Model calls through the gateway, and what that adds. Run: `python -m benchmarks gateway`.

The provider is a process of its own that answers at once: an answer of 1 KB to a prompt of 2 KB, or a stream of 200
events. Between it and this process, which calls, is `agentguard up` itself on a fresh project: each call is decided,
held to a budget in USD on the ledger, booked by the reported usage, observed, and recorded in the audit log with its
outcome. With `.venv-litellm` (`make .venv-litellm/.ready`) LiteLLM's proxy takes its place in the same
run, with one virtual key and no database, so it decides and books nothing.

`cpu` is the processor time of the process in the middle for each call; it is what tells on a machine with neighbours.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentguard.server import listen
from benchmarks.report import table

if TYPE_CHECKING:
    from collections.abc import Iterator

ONE_CALLS, MANY_CALLS, STREAMS = 2_000, 12_000, 200
CONNECTIONS, EVENTS, ROUNDS = 32, 200, 3
PEER = Path(os.environ.get("LITELLM_VENV", ".venv-litellm")) / "bin" / "litellm"
_MODEL = "gpt-4o"
_PROMPT = {
    "model": _MODEL,
    "max_tokens": 300,
    "messages": [{"role": "user", "content": "Tell me more. " * 140}],
}
_USAGE = {"prompt_tokens": 500, "completion_tokens": 200, "total_tokens": 700}
_FRAME = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": _MODEL}


def _whole() -> bytes:
    message = {"role": "assistant", "content": "word " * 160}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = json.dumps({**_FRAME, "object": "chat.completion", "choices": [choice], "usage": _USAGE}).encode()
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    )


def _events() -> list[bytes]:
    # Not all the same: the peer takes that for a model that repeats itself.
    choices: list[list[dict[str, Any]]] = [
        [{"index": 0, "delta": {"content": f"word {number} "}, "finish_reason": None}]
        for number in range(EVENTS - 3)
    ]
    choices.append([{"index": 0, "delta": {}, "finish_reason": "stop"}])
    bodies = [json.dumps({**_FRAME, "choices": choice}).encode() for choice in choices]
    bodies.append(json.dumps({**_FRAME, "choices": [], "usage": _USAGE}).encode())
    return [b"data: " + body + b"\n\n" for body in (*bodies, b"[DONE]")]


class _Provider(asyncio.Protocol):
    """Answers each request at once; the events of a stream go out in chunks of their own."""

    whole = _whole()
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in _events()) + b"0\r\n\r\n"
    stream = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n" + chunks
    )

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # the kind it gets
        self._transport, self._buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
        if separator and len(body) >= int(length or 0):
            self._buffer = b""
            is_stream = b'"stream":true' in body or b'"stream": true' in body
            self._transport.write(self.stream if is_stream else self.whole)


def _provide(listener: socket.socket) -> None:
    import uvloop

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(_Provider, sock=listener)
        await server.serve_forever()

    uvloop.run(run())


class _Caller(asyncio.Protocol):
    """Sends the same request again as soon as its answer is whole."""

    def __init__(self, request: bytes, calls: int, done: asyncio.Future[None]) -> None:
        self._request, self._left, self._done = request, calls, done
        self.times_s: list[float] = []
        self._parts: list[bytes] = []

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # the kind it gets
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._parts.append(data)
        if not data.endswith((b"}", b"\r\n0\r\n\r\n")) and not data.endswith(b"0\r\n\r\n"):
            return
        answer = b"".join(self._parts)
        head, _, body = answer.partition(b"\r\n\r\n")
        length = head.partition(b"content-length: ")[2].partition(b"\r")[0]
        if length and len(body) < int(length):
            return
        self.times_s.append(time.perf_counter() - self._sent)
        assert head.startswith(b"HTTP/1.1 200"), answer[:2000]
        assert length or b"[DONE]" in body, answer[-500:]
        self._parts.clear()
        self._left -= 1
        if self._left:
            self._send()
        else:
            self._transport.close()
            self._done.set_result(None)

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)


class _Door:
    """A place to call: its port, path and key, and the process whose time counts."""

    def __init__(self, name: str, port: int, path: str, key: str, pid: int) -> None:
        self.name, self.port, self.path, self.key, self.pid = name, port, path, key, pid

    def request(self, *, stream: bool) -> bytes:
        body = json.dumps({**_PROMPT, **({"stream": True} if stream else {})}).encode()
        return (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAuthorization: Bearer {self.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _call(door: _Door, connections: int, calls: int, *, stream: bool) -> tuple[float, list[float]]:
    loop = asyncio.get_running_loop()
    request, callers, done = door.request(stream=stream), [], []
    start = time.perf_counter()
    for _ in range(connections):
        future = loop.create_future()
        caller = _Caller(request, calls // connections, future)
        await loop.create_connection(partial(_same, caller), "127.0.0.1", door.port)
        callers.append(caller)
        done.append(future)
    await asyncio.gather(*done)
    return time.perf_counter() - start, sorted(each for caller in callers for each in caller.times_s)


def _same(caller: _Caller) -> _Caller:
    return caller


class _Figures:
    """The best of the rounds at one door."""

    def __init__(self, door: _Door, *, share: float = 1) -> None:
        import uvloop

        self.name = door.name
        one_calls, many_calls, streams = (
            max(int(each * share), 64) for each in (ONE_CALLS, MANY_CALLS, STREAMS)
        )
        uvloop.run(_call(door, 4, 200, stream=False))
        rounds = [uvloop.run(_call(door, 1, one_calls, stream=False))[1] for _ in range(ROUNDS)]
        self.p50_s = min(statistics.median(each) for each in rounds)
        self.p99_s = min(each[len(each) * 99 // 100] for each in rounds)
        before = door.cpu_s()
        walls = [uvloop.run(_call(door, CONNECTIONS, many_calls, stream=False))[0] for _ in range(ROUNDS)]
        calls = many_calls // CONNECTIONS * CONNECTIONS
        self.cpu_s = (door.cpu_s() - before) / calls / ROUNDS
        self.rate = calls / min(walls)
        before = door.cpu_s()
        times = [uvloop.run(_call(door, 1, streams, stream=True))[1] for _ in range(ROUNDS)]
        self.stream_cpu_s = (door.cpu_s() - before) / streams / ROUNDS
        self.stream_s = min(statistics.median(each) for each in times)

    def row(self, direct: _Figures) -> tuple[str, float, float, float, int, float, float]:
        return (
            self.name,
            (self.p50_s - direct.p50_s) * 1e6,
            (self.p99_s - direct.p99_s) * 1e6,
            self.cpu_s * 1e6,
            round(self.rate),
            (self.stream_s - direct.stream_s) / EVENTS * 1e6,
            self.stream_cpu_s / EVENTS * 1e6,
        )


def main() -> None:
    """Measure the provider alone, the gateway, and its peer."""
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    provider = multiprocessing.get_context("fork").Process(target=_provide, args=(listener,))
    provider.start()
    listener.close()
    assert provider.pid is not None
    try:
        direct = _Figures(_Door("provider alone", port, "/v1/chat/completions", "sk-key", provider.pid))
        rows = [direct.row(direct)]
        with tempfile.TemporaryDirectory() as folder, _gateway(Path(folder), port) as door:
            rows.append(_Figures(door).row(direct))
        notes = ["added to the provider alone: p50, p99 and stream; per event of a stream of 200"]
        if PEER.exists():
            with tempfile.TemporaryDirectory() as folder, _peer(Path(folder), port) as door:
                rows.append(_Figures(door, share=0.05).row(direct))
        else:
            notes.append(f"no peer: there is no `{PEER}`")
    finally:
        provider.terminate()
        provider.join(20)
    columns = ("", "p50 µs", "p99 µs", "cpu µs", "requests/s", "event µs", "event cpu µs")
    table("A model call through one process in the middle", columns, rows, notes=notes)


@contextmanager
def _gateway(folder: Path, provider: int) -> Iterator[_Door]:
    """Run `agentguard up` on a fresh project."""
    environ = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "PROVIDER_KEY": "sk-key"}
    command = [sys.executable, "-m", "agentguard"]
    project = folder / "project"
    subprocess.run([*command, "init", str(project), "--quiet"], env=environ, check=True)
    with (project / "agentguard.yaml").open("a", encoding="utf-8") as settings:
        settings.write(
            "\ngateway:\n  upstreams:\n    openai:\n      kind: openai\n"
            f"      base_url: http://127.0.0.1:{provider}/v1\n      key: env:PROVIDER_KEY\n"
            "      models: ['gpt-*']\n      local: true\n"
        )
    (project / "budgets.yaml").write_text(
        "version: 1\nbudgets:\n  - {id: daily, scope: agent, window: daily, unit: usd, limit: 1000000}\n",
        encoding="utf-8",
    )
    (project / "inventory.yaml").write_text(
        "resources:\n  - {id: 'llm/**', type: llm, sensitivity: public}\nprincipals:\n  - {id: bench, kind: agent}\n",
        encoding="utf-8",
    )
    for each in (project / "policies").iterdir():
        each.unlink()
    (project / "policies" / "models.yaml").write_text(
        "version: 1\nrules:\n  - {id: models, effect: allow, actions: [llm.chat], resources: ['llm/**']}\n",
        encoding="utf-8",
    )
    issue = [*command, "token", "issue", "bench", "--project", str(project)]
    token = subprocess.run(issue, env=environ, check=True, capture_output=True, text=True).stdout.strip()
    up = [*command, "up", "--port", "0", "--json", "--project", str(project)]
    with subprocess.Popen(up, env=environ, stdout=subprocess.PIPE, text=True) as sidecar:
        try:
            assert sidecar.stdout is not None
            port = int(json.loads(sidecar.stdout.readline())["url"].rpartition(":")[2])
            yield _Door("agentguard up", port, "/openai/v1/chat/completions", token, sidecar.pid)
        finally:
            sidecar.terminate()
            assert sidecar.wait(30) == 0


@contextmanager
def _peer(folder: Path, provider: int) -> Iterator[_Door]:
    """Run LiteLLM's proxy with one worker."""
    settings = folder / "config.yaml"
    settings.write_text(
        f"model_list:\n  - model_name: {_MODEL}\n    litellm_params:\n      model: openai/{_MODEL}\n"
        f"      api_base: http://127.0.0.1:{provider}/v1\n      api_key: sk-key\n"
        "general_settings: {master_key: sk-master}\nlitellm_settings: {telemetry: false}\n",
        encoding="utf-8",
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        str(PEER),
        "--config",
        str(settings),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--num_workers",
        "1",
    ]
    quiet = {
        **os.environ,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "NO_PROXY": "127.0.0.1",
    }
    with subprocess.Popen(command, env=quiet, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as proxy:
        try:
            _wait(port, proxy)
            yield _Door("litellm proxy", port, "/v1/chat/completions", "sk-master", proxy.pid)
        finally:
            proxy.terminate()
            proxy.wait(30)


def _wait(port: int, proxy: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and proxy.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise RuntimeError("the peer did not start")


if __name__ == "__main__":
    main()

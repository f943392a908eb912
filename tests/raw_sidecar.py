"""A sidecar on loopback that speaks raw bytes, so that it can lie, stall and break off in every way."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

DECISION = {
    "effect": "allow",
    "reason": "rule `all`",
    "principal": "deploy-agent",
    "action": "restart-deployment@1",
    "resource": "staging/api",
    "params": {"namespace": "staging", "replicas": 2, "deep": [1.5, None, True, {"é": "x"}]},
}


@dataclass
class Call:
    """One request as it arrived; `number` counts them, `connection` the connections."""

    path: str
    headers: dict[str, str]
    body: bytes
    number: int
    connection: int

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


Script = Callable[[Call, asyncio.StreamWriter], Awaitable[None]]
Answer = Callable[[Call], bytes | None]


@dataclass
class RawSidecar:
    """Answers each call with what `answer` returns (None: closes), or lets `script` speak in its place."""

    answer: Answer = field(default_factory=lambda: allow)
    script: Script | None = None
    port: int = 0
    calls: list[Call] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)))
        self._thread.start()
        assert ready.wait(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, reuse_address=True)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._end.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._converse(reader, writer, self.connections)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int
    ) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)
            }
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            call = Call(head[0].split(" ")[1], headers, body, len(self.calls) + 1, connection)
            self.calls.append(call)
            if self.script is not None:
                await self.script(call, writer)
                return
            raw = self.answer(call)
            if raw is None:
                return
            writer.write(raw)
            await writer.drain()
            if b"connection: close" in raw.lower():
                return


def response(body: bytes, status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    lines = [
        f"HTTP/1.1 {status}",
        "Content-Type: application/json",
        f"Content-Length: {len(body) if length is None else length}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def decision_for(call: Call, **changes: Any) -> dict[str, Any]:
    asked = call.json
    return DECISION | {"params": asked.get("params", {}), "resource": asked["resource"]} | changes


def allow(call: Call, **changes: Any) -> bytes:
    """The right answer, with changes of the decision."""
    if call.path == "/v1/outcome":
        return b"HTTP/1.1 204 No Content\r\n\r\n"
    reply: dict[str, Any] = {"request_id": call.json["request_id"]}
    if call.path == "/v1/check/plan":
        reply["decisions"] = [
            DECISION | {"params": step.get("params", {}), "resource": step["resource"]} | changes
            for step in call.json["steps"]
        ]
    else:
        reply["decision"] = decision_for(call, **changes)
    return response(msgspec.json.encode(reply))


def error(status: str, code: str, message: str) -> bytes:
    return response(msgspec.json.encode({"error": {"code": code, "message": message}}), status)


def reset(writer: asyncio.StreamWriter) -> None:
    """Break the connection off with a RST."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()

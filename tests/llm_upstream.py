"""A model provider on loopback: OpenAI, Azure OpenAI and Anthropic as they speak on the wire.

    with Upstream() as upstream:
        upstream.script(Reply(text="No."), Reply(status=429, error="rate_limit_exceeded"))
        client = OpenAI(base_url=upstream.url + "/v1", api_key=KEY)

Each POST takes the next scripted reply; when there is none left, the default one. `upstream.calls` holds what
arrived. The end of the path says what is asked for, so every base URL works; a call without a key gets 401.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import struct
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

import llm_upstream_store
import llm_upstream_wire as wire
from llm_upstream_wire import Reply, ToolUse, Usage

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["KEY", "Call", "Reply", "ToolUse", "Upstream", "Usage"]

KEY = "sk-test-upstream-key"
MODELS = ("gpt-5.4", "gpt-5.4-mini", "text-embedding-3-small", "claude-sonnet-4-5")

Whole = Callable[[dict[str, Any], Reply], dict[str, Any]]
Events = Callable[[dict[str, Any], Reply], Iterator[bytes]]

# The end of the path, the whole body, and the events of a stream.
_ROUTES: tuple[tuple[str, Whole, Events | None], ...] = (
    ("/chat/completions", wire.chat, wire.chat_events),
    ("/completions", wire.completion, None),
    ("/responses", wire.response, wire.response_events),
    ("/embeddings", wire.embeddings, None),
    ("/moderations", wire.moderation, None),
    ("/messages/count_tokens", lambda _asked, reply: {"input_tokens": (reply.usage or Usage()).input}, None),
    ("/messages", wire.message, wire.message_events),
)


@dataclass
class Call:
    """One request as it arrived; header names are in lower case. `gone` is set when the client hung up on it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    sent: int = 0
    gone: threading.Event = field(default_factory=threading.Event)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def key(self) -> str:
        """The key that it came with, however the provider takes it."""
        named = self.headers.get("api-key") or self.headers.get("x-api-key")
        return named or self.headers.get("authorization", "").removeprefix("Bearer ")


@dataclass
class Upstream:
    """The server, on a thread of its own."""

    default: Reply = field(default_factory=Reply)
    port: int = 0
    calls: list[Call] = field(default_factory=list)
    stored: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._script: deque[Reply] = deque()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def script(self, *replies: Reply) -> None:
        """Answer the next calls with these, in order."""
        self._script.extend(replies)

    def reset(self) -> None:
        """Forget the calls and the script."""
        self.calls.clear()
        self._script.clear()

    def __enter__(self) -> Self:
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)))
        self._thread.start()
        assert started.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(20)
        assert not self._thread.is_alive()

    async def _serve(self, started: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        app = web.Application(client_max_size=256 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port)
        await site.start()
        self.port = runner.addresses[0][1]
        started.set()
        await self._end.wait()
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        call = Call(request.method, request.path, dict(request.query), headers, await request.read())
        self.calls.append(call)
        is_anthropic = "anthropic-version" in headers
        if not call.key:
            kind = "authentication_error" if is_anthropic else "invalid_api_key"
            return _json(wire.error(401, kind, is_anthropic=is_anthropic), 401)
        kept = llm_upstream_store.answer(call, self.stored) if not self._script else None
        if kept is not None:
            return kept
        if request.method == "GET":
            return _models(request.path, is_anthropic=is_anthropic)
        reply = self._script.popleft() if self._script else self.default
        try:
            return await self._reply(request, call, reply, is_anthropic=is_anthropic)
        except (ConnectionError, asyncio.CancelledError):
            call.gone.set()
            return web.Response()

    async def _reply(
        self, request: web.Request, call: Call, reply: Reply, *, is_anthropic: bool
    ) -> web.StreamResponse:
        if reply.hold is not None:
            await _wait(reply.hold)
        if reply.status >= 400:
            kind = reply.error or "server_error"
            body = wire.error(reply.status, kind, is_anthropic=is_anthropic)
            return _json(body, reply.status, reply.headers)
        route = next((each for each in _ROUTES if request.path.endswith(each[0])), None)
        if route is None:
            return _json(wire.error(404, "not_found_error", is_anthropic=is_anthropic), 404)
        _, whole, events = route
        asked = call.json
        if asked.get("stream") and events is not None:
            return await _stream(request, call, reply, events(asked, reply))
        data = json.dumps(whole(asked, reply)).encode() if reply.raw is None else reply.raw
        if reply.cut_after is not None:
            return await _cut(request, data[: reply.cut_after], len(data))
        return _bytes(data, 200, reply)


def _head(reply: Reply) -> dict[str, str]:
    return {"x-request-id": "req_C0ffee", "request-id": "req_C0ffee"} | reply.headers


def _json(body: dict[str, Any], status: int, headers: dict[str, str] | None = None) -> web.Response:
    own = {"x-request-id": "req_C0ffee", "request-id": "req_C0ffee"} | (headers or {})
    return web.json_response(body, status=status, headers=own)


def _bytes(body: bytes, status: int, reply: Reply) -> web.Response:
    headers = _head(reply)
    if reply.gzip:
        headers["Content-Encoding"] = "gzip"
        body = gzip.compress(body)
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def _models(path: str, *, is_anthropic: bool) -> web.Response:
    def card(name: str) -> dict[str, Any]:
        if is_anthropic:
            return {
                "type": "model",
                "id": name,
                "display_name": name,
                "created_at": "2026-01-01T00:00:00Z",
            }
        return {"id": name, "object": "model", "created": wire.CREATED, "owned_by": "openai"}

    if path.endswith("/models"):
        first = {"has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]} if is_anthropic else {}
        return _json({"object": "list", "data": [card(name) for name in MODELS], **first}, 200)
    name = path.rpartition("/")[2]
    if name in MODELS:
        return _json(card(name), 200)
    return _json(wire.error(404, "not_found_error", is_anthropic=is_anthropic), 404)


async def _stream(
    request: web.Request, call: Call, reply: Reply, events: Iterator[bytes]
) -> web.StreamResponse:
    response = web.StreamResponse(headers=_head(reply) | {"Content-Type": "text/event-stream; charset=utf-8"})
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16) if reply.gzip else None
    if packer is not None:
        response.headers["Content-Encoding"] = "gzip"
    response.enable_chunked_encoding()
    await response.prepare(request)
    for event in [reply.raw] if reply.raw is not None else events:
        if call.sent == reply.cut_after:
            _reset(request)
            return response
        if reply.hold_after is not None and call.sent == reply.hold_after[1]:
            await _wait(reply.hold_after[0])
        packed = event if packer is None else packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH)
        await response.write(packed)
        call.sent += 1
    await response.write_eof()
    return response


async def _cut(request: web.Request, body: bytes, length: int) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(length), "Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(body)
    _reset(request)
    return response


def _reset(request: web.Request) -> None:
    transport = request.transport
    assert transport is not None
    transport.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )
    transport.abort()


async def _wait(event: threading.Event) -> None:
    # A thread that waits would keep the server from ending after a test that failed and never set it.
    while not event.is_set():  # noqa: ASYNC110 - it is set from another thread
        await asyncio.sleep(0.005)

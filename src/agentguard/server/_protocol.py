"""uvicorn's HTTP/1.1 protocol with what it lacks: a deadline and a bound for headers, our shape for errors."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import (
    HEADER_VALUE_RE,
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from agentguard.server._http import API_HEADERS, BODY_IS_WHOLE, HANG_UPS, WHOLE, error_body

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

MAX_HEADER_BYTES = 16 * 1024
# Well below the usual limit of 1,024 open files: the audit log must always be able to open its own.
MAX_CONNECTIONS = 512

_REASONS = {
    400: b"Bad Request",
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
    503: b"Service Unavailable",
}


def protocol_class(
    *, header_deadline_s: float, on_reject: Callable[[str, str, bytes], None]
) -> type[HttpToolsProtocol]:
    """Return a protocol for uvicorn's `http` setting.

    A connection that has not sent whole headers `header_deadline_s` seconds after it opened, or after the
    first byte of a further request, is answered with 408 and closed. `on_reject(peer, kind, data)` hears of
    each request that never reached the application.
    """

    class Protocol(_BoundedProtocol):
        deadline_s = header_deadline_s
        reject = staticmethod(on_reject)

    return Protocol


class _Joined:
    """A transport that sends the head of an answer together with what is written right after it.

    Two writes would wake the peer twice; that costs more than all of the rest of the answer.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""
        self._flushing: asyncio.Handle | None = None
        self._has_begun = False
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
            self._transport.write(self._head + data)
        elif self._has_begun:
            self._transport.write(data)
        else:
            self._head, self._has_begun = data, True
            self._flushing = self._loop.call_soon(self._flush)

    def writelines(self, parts: Sequence[bytes]) -> None:
        self._has_begun = True
        self._transport.write(b"".join(parts))

    def close(self) -> None:
        if self._flushing is not None:
            self.write(b"")
        self._transport.close()

    def _flush(self) -> None:
        self._flushing = None
        self._transport.write(self._head)


async def _send_whole(
    cycle: RequestResponseCycle, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes
) -> None:
    """Send a whole answer with one write: what two messages to `cycle.send` do, in a third of the time."""
    if cycle.flow.write_paused and not cycle.disconnected:
        await cycle.flow.drain()
    if cycle.disconnected:
        return
    head = [STATUS_LINE[status]]
    is_told = False
    for name, value in (*cycle.default_headers, *headers):
        if name == b"connection":
            is_told, cycle.keep_alive = True, False
        head += (name, b": ", value, b"\r\n")
    if HEADER_VALUE_RE.search(b"".join([value for _, value in headers])):
        raise RuntimeError("a header has a control character")
    if not cycle.keep_alive and not is_told:
        head.append(b"connection: close\r\n")
    content = b"" if cycle.scope["method"] == "HEAD" else body
    cycle.transport.writelines((*head, b"content-length: %d\r\n\r\n" % len(body), content))
    cycle.response_started = cycle.response_complete = True
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()


class _BoundedProtocol(HttpToolsProtocol):
    deadline_s: float
    reject: Callable[[str, str, bytes], None]

    _deadline: asyncio.TimerHandle | None = None
    _in_headers = True
    _header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._hang_ups: set[Callable[[], None]] = set()
        if len(self.connections) > MAX_CONNECTIONS:
            self._refuse(503, "connections_exhausted", "too many connections are open", b"")
            return
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)
        for hang_up in list(self._hang_ups):
            hang_up()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._header_bytes += len(data)
        super().data_received(data)
        # A request that came in one piece, as nearly all do, needs no timer and leaves the count at 0.
        if self._in_headers and self._header_bytes:
            if self._header_bytes > MAX_HEADER_BYTES:
                self._refuse(
                    431, "headers_too_large", f"the headers are longer than {MAX_HEADER_BYTES} bytes", data
                )
            elif self._deadline is None:
                self._arm()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers = True

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._header_bytes = 0
        self._disarm()
        super().on_headers_complete()
        self.cycle.transport = _Joined(self.transport, self.loop)  # type: ignore[assignment]  # what a cycle uses of one

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_headers = True
        self._header_bytes = 0
        # The application need not set a deadline for a body that is here.
        self.scope[BODY_IS_WHOLE] = True  # type: ignore[literal-required]  # a key of ours, not of ASGI's
        self.scope[HANG_UPS] = self._hang_ups  # type: ignore[literal-required]  # as above
        self.scope[WHOLE] = partial(_send_whole, self.cycle)  # type: ignore[literal-required]  # as above

    def send_400_response(self, msg: str) -> None:
        # A request that was read before on this connection may still be answered; nothing new is.
        del msg
        self._refuse(400, "http_invalid", "this is no HTTP/1.1 request", b"")

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: an upgrade that is not taken is an ordinary request (RFC 9110, section 7.8)."""

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(self.deadline_s, self._too_slow)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        if self._header_bytes == 0:
            self.transport.close()  # it never said a word: nothing to answer
            return
        self._refuse(408, "headers_slow", f"the headers did not arrive within {self.deadline_s:g} s", b"")

    def _refuse(self, status: int, code: str, message: str, data: bytes) -> None:
        self._disarm()
        if self.transport.is_closing():
            return
        peer: Any = self.client
        self.reject(str(peer[0]) if peer else "unknown", code, data)
        body = error_body(code, message)
        lines = [b"HTTP/1.1 %d %s" % (status, _REASONS[status]), b"content-type: application/json"]
        lines += [b"content-length: %d" % len(body), b"connection: close"]
        lines += [name + b": " + value for name, value in API_HEADERS]
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        self.transport.close()

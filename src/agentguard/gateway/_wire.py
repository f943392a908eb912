"""HTTP/1.1 to an upstream: one request at a time on a connection, its answer handed on as it comes.

The parser is httptools', in its strict mode: lengths that contradict each other, folded headers and bare line feeds
are errors. All that an upstream sends is bounded here, whatever it sends; how long it may take is the caller's to say.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING

import httptools

if TYPE_CHECKING:
    from collections.abc import Callable

# Bytes that an upstream may send without sending any of the answer's body: headers, trailers, sizes of chunks.
MAX_FRAME_BYTES = 64 * 1024
# What is read ahead of the agent.
_MOST_WAITING = 256 * 1024
_MOST_INFLATED = 256 * 1024
_INFORMATIONAL, _SUCCESSFUL, _SWITCHING = 100, 200, 101
_GZIP_OR_ZLIB = 47  # windowBits of zlib.decompressobj: either header


class WireError(Exception):
    """An answer that is none, or ends too early. `is_unseen`: not a byte of one has come."""

    def __init__(self, why: str, *, is_unseen: bool = False) -> None:
        super().__init__(why)
        self.is_unseen = is_unseen


class SilentError(WireError):
    """Nothing has come for as long as may be waited."""


class Answer:
    """An answer whose status and headers (names in lower case) have come. Read by one task."""

    def __init__(self, connection: Connection, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.status = status
        self.headers = headers
        self._connection: Connection | None = connection
        self._parts: list[bytes] = []
        self._size = 0
        self._error: WireError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._inflater = _inflater(self.header(b"content-encoding"))

    @property
    def content_type(self) -> str:
        """What the answer is, without parameters."""
        kind = self.header(b"content-type").partition(b";")[0].strip().lower()
        return kind.decode("latin-1") or "application/octet-stream"

    def header(self, name: bytes) -> bytes:
        """Return the first value of a header, or nothing."""
        for each, value in self.headers:
            if each == name:
                return value
        return b""

    async def read(self) -> bytes:
        """Return what has come since, at least one byte of it; nothing at the end.

        Raises:
            WireError: the upstream broke off, or fell silent; what came before was returned.
        """
        if self._inflater is None:
            return await self._read()
        while True:
            waiting = self._inflater.unconsumed_tail
            raw = waiting or await self._read()
            if not raw and not self._inflater.eof:
                raise WireError("the compressed answer ends too early")
            try:
                plain = self._inflater.decompress(raw, _MOST_INFLATED)
            except zlib.error:
                raise WireError("the answer cannot be decompressed") from None
            if plain or not raw:
                return plain

    def close(self) -> None:
        """Let go of the answer; what has not come ends the connection. Idempotent."""
        if self._connection is not None:
            self._connection.abort()
            self._connection = None

    async def _read(self) -> bytes:
        while not self._parts:
            if self._error is not None:
                raise self._error
            if self._connection is None:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        parts, self._parts, self._size = self._parts, [], 0
        if self._connection is not None:
            self._connection.resume()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def add(self, body: bytes) -> bool:
        """Take in a part of the body; tell whether more is waiting than should."""
        self._parts.append(body)
        self._size += len(body)
        self._wake()
        return self._size > _MOST_WAITING

    def end(self, error: WireError | None) -> None:
        """Take in that nothing more comes."""
        self._connection, self._error = None, error
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


def _inflater(encoding: bytes) -> zlib._Decompress | None:
    """Return what undoes an encoding that an upstream used though it was asked not to."""
    encoding = encoding.strip().lower()
    if encoding in (b"", b"identity"):
        return None
    if encoding not in (b"gzip", b"x-gzip", b"deflate"):
        raise WireError("the answer is in an encoding that was not asked for")
    return zlib.decompressobj(_GZIP_OR_ZLIB)


class Connection(asyncio.Protocol):
    """A connection to an upstream. `on_free` hears when it can carry another request, `on_lost` that it cannot."""

    _transport: asyncio.Transport

    def __init__(
        self, on_free: Callable[[Connection], None], on_lost: Callable[[Connection], None], keepalive_s: float
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_free = on_free
        self._on_lost = on_lost
        self._keepalive_s = keepalive_s
        self._parser = httptools.HttpResponseParser(self)
        self._opened: asyncio.Future[Answer] | None = None
        self._answer: Answer | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._in_headers = True
        self._is_framed = False
        self._is_paused = False
        self._frame_bytes = self._head_bytes = 0
        self._heard = False
        # One timer for all: a request only notes when it began, and the timer looks.
        self._wait_s = keepalive_s
        self._since = self._loop.time()
        self._unsent = 0
        self._timer: asyncio.TimerHandle | None = None
        self.is_used = False

    @property
    def is_closing(self) -> bool:
        """Whether it can carry nothing more."""
        return self._transport.is_closing()

    async def ask(self, request: bytes, silence_s: float) -> Answer:
        """Send a request, and return its answer once status and headers have come.

        Raises:
            WireError: there is no answer; a `SilentError` if nothing came for `silence_s` seconds.
        """
        opened: asyncio.Future[Answer] = self._loop.create_future()
        self._opened = opened
        self._headers, self._in_headers, self._is_framed, self._heard = [], True, False, False
        self._frame_bytes = self._head_bytes = 0
        self._limit(silence_s)
        self._transport.write(request)
        try:
            return await opened
        except BaseException:
            self.abort()
            raise
        finally:
            self.is_used = True

    def resume(self) -> None:
        """Read on, if reading was held back."""
        if self._is_paused:
            self._is_paused = False
            self._since = self._loop.time()
            self._transport.resume_reading()

    def abort(self) -> None:
        """End the connection now. Idempotent."""
        self._finish(WireError("the connection was given up"))
        self._transport.abort()

    # What the transport calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # the kind it gets
        """Take the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self._opened is None and self._answer is None:
            # Nobody has asked anything.
            self._transport.abort()
            return
        self._heard = True
        self._since = self._loop.time()
        self._frame_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(WireError("it switched protocols"))
        except httptools.HttpParserError as error:
            inner = error.__context__
            self._fail(inner if isinstance(inner, WireError) else WireError("it does not speak HTTP/1.1"))
        else:
            if self._frame_bytes > MAX_FRAME_BYTES:
                self._fail(WireError("its headers are too long"))

    def connection_lost(self, exc: Exception | None) -> None:
        """End the answer: it is whole if its end was to be told by this."""
        del exc
        if self._timer is not None:
            self._timer.cancel()
        is_whole = self._answer is not None and not self._in_headers and not self._is_framed
        self._finish(None if is_whole else WireError("it closed the connection", is_unseen=not self._heard))
        self._on_lost(self)

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; what comes behind the body is left out."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_FRAME_BYTES:
            raise WireError("its headers are too long")
        if self._in_headers:
            name = name.lower()
            self._headers.append((name, value))
            if name in (b"content-length", b"transfer-encoding"):
                self._is_framed = True

    def on_headers_complete(self) -> None:
        """Hand the answer out."""
        status = self._parser.get_status_code()
        if _INFORMATIONAL <= status < _SUCCESSFUL and status != _SWITCHING:
            return
        opened = self._opened
        if opened is None or opened.done():
            raise WireError("it sent more than was asked for")
        self._answer = Answer(self, status, self._headers)
        self._opened, self._in_headers, self._frame_bytes = None, False, 0
        opened.set_result(self._answer)

    def on_body(self, body: bytes) -> None:
        """Hand a part of the body on."""
        self._frame_bytes = 0
        if self._answer is not None and self._answer.add(body) and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """End the answer, and offer the connection for another request."""
        if self._answer is None:
            # It was an informational one, and the answer is still to come.
            self._headers, self._is_framed = [], False
            return
        keeps = self._parser.should_keep_alive() and not self._transport.get_write_buffer_size()
        self._finish(None)
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()
        if keeps and not self._transport.is_closing():
            self._limit(self._keepalive_s)
            self._on_free(self)
        else:
            self._transport.close()

    def _finish(self, error: WireError | None) -> None:
        opened, self._opened = self._opened, None
        answer, self._answer = self._answer, None
        if opened is not None and not opened.done():
            opened.set_exception(error or WireError("it closed the connection"))
        if answer is not None:
            answer.end(error)

    def _fail(self, error: WireError) -> None:
        self._finish(error)
        self._transport.abort()

    def _limit(self, wait_s: float) -> None:
        self._wait_s, self._since = wait_s, self._loop.time()
        if self._timer is None or self._timer.when() > self._since + wait_s:
            self._look_in(wait_s)

    def _look_in(self, wait_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(wait_s, self._look)

    def _look(self) -> None:
        now, unsent = self._loop.time(), self._transport.get_write_buffer_size()
        if self._is_paused or unsent != self._unsent:
            # It is the agent who is slow, or the upstream takes what is sent.
            self._unsent, self._since = unsent, now
        left = self._since + self._wait_s - now
        if left > 0:
            self._look_in(left)
        elif self._opened is not None or self._answer is not None:
            self._fail(SilentError("it fell silent"))
        else:
            self._transport.close()

"""The answer on its way to the agent: one begin, pieces, one end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Send = Callable[[Any], Awaitable[None]]
    Receive = Callable[[], Awaitable[Any]]


class Reply:
    """Sends one answer by ASGI. `send` waits while the agent reads more slowly than the provider writes."""

    def __init__(self, send: Send, *, before_end: Callable[[], None]) -> None:
        self._send = send
        self._before_end = before_end
        self.has_begun = False
        self.has_ended = False

    async def whole(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        """Send an answer at once."""
        await self.begin(status, [*headers, (b"content-length", b"%d" % len(body))])
        await self.end(body)

    async def begin(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Send status and headers."""
        self.has_begun = True
        await self._send({"type": "http.response.start", "status": status, "headers": list(headers)})

    async def piece(self, body: bytes) -> None:
        """Send a piece of the body."""
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def end(self, body: bytes = b"") -> None:
        """Send the last piece."""
        # The server reports a hang-up after each answer.
        self._before_end()
        self.has_ended = True
        await self._send({"type": "http.response.body", "body": body})


class Watch:
    """Cancels the present task when the agent hangs up; `disarm` before the answer ends."""

    def __init__(self, receive: Receive) -> None:
        task = asyncio.current_task()
        assert task is not None, "an answer is made in a task"
        self._task = task
        self._waiting = asyncio.ensure_future(receive())
        self._waiting.add_done_callback(self._hung_up)
        self._is_armed = True
        self.is_gone = False

    def disarm(self) -> None:
        """Take no more notice of what the agent does. Idempotent."""
        self._is_armed = False
        self._waiting.cancel()

    def _hung_up(self, waiting: asyncio.Future[Any]) -> None:
        if self._is_armed and not waiting.cancelled():
            waiting.exception()
            self.is_gone = True
            self._task.cancel()

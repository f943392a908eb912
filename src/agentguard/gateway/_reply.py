"""The answer on its way to the agent: one begin, pieces, one end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Send = Callable[[Any], Awaitable[None]]
    SendWhole = Callable[[int, Sequence[tuple[bytes, bytes]], bytes], Awaitable[None]]
    HangUps = set[Callable[[], None]]


class Reply:
    """Sends one answer by ASGI. `send` waits while the agent reads more slowly than the provider writes.

    `send_whole` sends an answer that is whole; the server's, or one of two messages by `send`.
    """

    def __init__(
        self, send: Send, send_whole: SendWhole | None = None, *, before_end: Callable[[], None]
    ) -> None:
        self._send = send
        self._send_whole = send_whole
        self._before_end = before_end
        self.has_begun = False
        self.has_ended = False

    async def whole(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        """Send an answer at once."""
        if self._send_whole is not None:
            self._before_end()
            self.has_begun = self.has_ended = True
            await self._send_whole(status, headers, body)
            return
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
    """Cancels the present task when the agent hangs up, or has waited for `limit_s`; `disarm` before the answer ends.

    `hang_ups` are called when the agent's connection is lost; it is the server that does that.
    """

    def __init__(self, hang_ups: HangUps, limit_s: float) -> None:
        task = asyncio.current_task()
        assert task is not None, "an answer is made in a task"
        self._task = task
        self._hang_ups = hang_ups
        hang_ups.add(self._hung_up)
        self._left_s = limit_s
        self.go_on()
        self.is_gone = False
        self.is_late = False

    def disarm(self) -> None:
        """Take no more notice of what the agent does, or of the time. Idempotent."""
        self._hang_ups.discard(self._hung_up)
        self._timer.cancel()

    def stand_still(self) -> None:
        """Let no time pass."""
        self._left_s = self._timer.when() - asyncio.get_running_loop().time()
        self._timer.cancel()

    def go_on(self) -> None:
        """Let it pass again."""
        self._timer = asyncio.get_running_loop().call_later(self._left_s, self._too_late)

    def recall(self) -> None:
        """Let the task go on after it was cancelled."""
        self._task.uncancel()

    def _hung_up(self) -> None:
        self.is_gone = True
        self._task.cancel()

    def _too_late(self) -> None:
        self.is_late = True
        self._task.cancel()

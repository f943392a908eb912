"""The body of an answer that comes as events, as far as the caller may have it."""

from __future__ import annotations

import asyncio
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from agentguard.clients.llm._exchange import plain_headers, unreadable
from agentguard.clients.llm._proposed import ToolDeniedError
from agentguard.clients.llm._refusal import FORBIDDEN, Refusal, error_of
from agentguard.clients.llm._steps import Steps, arun, run
from agentguard.core import AgentGuardError
from agentguard.llm import StreamMode, UnreadableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from agentguard.clients._session import Session
    from agentguard.clients.llm._exchange import Exchanges, Sent


class _Tap:
    """One stream on its way: decides on its tool calls, and takes in its end once."""

    def __init__(self, exchanges: Exchanges, sent: Sent) -> None:
        self._exchanges, self._sent = exchanges, sent
        self.stream = exchanges.stream(sent)
        self._is_over = False

    @property
    def session(self) -> Session:
        """Who waits for people where the stream has to."""
        return self._exchanges.guard.session

    def decide(self) -> Steps[bytes]:
        """Decide on what is pending, and return what the caller may have now."""
        out = b""
        while self.stream.pending:
            out += self.stream.decide((yield from self._exchanges.judge(self.stream.pending)))
        return out

    def finish(self) -> Steps[bytes]:
        """Take in that the stream has ended, and return the rest of it."""
        out = self.stream.finish()
        while self.stream.pending:
            out += (yield from self.decide()) + self.stream.finish()
        return out

    def refusal(self, error: Exception) -> Refusal:
        """Return what the caller is told of a failure, which ends the stream."""
        if isinstance(error, ToolDeniedError):
            return error.refusal
        decision = self._sent.decision
        if isinstance(error, UnreadableError):
            return unreadable(decision, str(error))
        reason = error.message if isinstance(error, AgentGuardError) else "the answer could not be handled"
        return Refusal(FORBIDDEN, "action_denied", reason, decision.audit_id, decision.rule)

    def raised(self, error: Exception) -> Exception:
        """Return the SDK's own error for a failure."""
        return error_of(self.refusal(error), self._sent.request, self._exchanges.sdk)

    def end(self, failure: str = "") -> None:
        """Take in that the stream is over, however that came; once its last event was there, it has not failed."""
        if not self._is_over:
            self._is_over = True
            failure = "" if self.stream.is_complete else failure
            self._exchanges.stream_ended(self._sent, self.stream.texts(), failure=failure)


_FAILURES = (ToolDeniedError, UnreadableError, AgentGuardError)


def sync_body(exchanges: Exchanges, sent: Sent, response: Any) -> Any:
    """Return the response whose stream goes through the guard."""
    tap = _Tap(exchanges, sent)
    pieces = _pieces(tap, response)
    if exchanges.guard.mode is StreamMode.BUFFER:
        try:
            pieces = iter([b"".join(_held(tap, response))])
        except _FAILURES as error:
            tap.end(type(error).__name__)
            response.close()
            return exchanges.refused(tap.refusal(error), sent.request)
    return _response(response, tap, pieces, "SyncByteStream")


async def async_body(exchanges: Exchanges, sent: Sent, response: Any) -> Any:
    """Do the same as `sync_body` without blocking the event loop."""
    tap = _Tap(exchanges, sent)
    pieces = _apieces(tap, response)
    if exchanges.guard.mode is StreamMode.BUFFER:
        try:
            held = [piece async for piece in _aheld(tap, response)]
        except _FAILURES as error:
            tap.end(type(error).__name__)
            await response.aclose()
            return exchanges.refused(tap.refusal(error), sent.request)
        pieces = _one(b"".join(held))
    return _response(response, tap, pieces, "AsyncByteStream")


def _held(tap: _Tap, response: Any) -> Iterator[bytes]:
    try:
        for chunk in response.iter_bytes():
            out = tap.stream.feed(chunk)
            if tap.stream.pending:
                out += run(tap.session, tap.decide())
            if out:
                yield out
        if out := run(tap.session, tap.finish()):
            yield out
        tap.end()
    except _FAILURES:
        raise
    except BaseException as error:
        tap.end(type(error).__name__)
        raise


def _pieces(tap: _Tap, response: Any) -> Iterator[bytes]:
    try:
        yield from _held(tap, response)
    except _FAILURES as error:
        tap.end(type(error).__name__)
        raise tap.raised(error) from None


async def _aheld(tap: _Tap, response: Any) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.aiter_bytes():
            out = tap.stream.feed(chunk)
            if tap.stream.pending:
                out += await arun(tap.session, tap.decide())
            if out:
                yield out
        if out := await arun(tap.session, tap.finish()):
            yield out
        await asyncio.to_thread(tap.end)
    except _FAILURES:
        raise
    except BaseException as error:
        # The loop may be ending: there is nothing left to wait with.
        tap.end(type(error).__name__)
        raise


async def _apieces(tap: _Tap, response: Any) -> AsyncIterator[bytes]:
    try:
        async for piece in _aheld(tap, response):
            yield piece
    except _FAILURES as error:
        tap.end(type(error).__name__)
        raise tap.raised(error) from None


async def _one(content: bytes) -> AsyncIterator[bytes]:
    yield content


def _response(response: Any, tap: _Tap, pieces: Any, base: str) -> Any:
    library = type(response).__module__.partition(".")[0]
    stream = _stream_class(library, base)()
    stream.tap, stream.pieces, stream.response = tap, pieces, response
    guarded = type(response)(
        response.status_code,
        headers=plain_headers(response),
        stream=stream,
        request=response.request,
        extensions=response.extensions,
        history=response.history,
    )
    stream.guarded = guarded
    return guarded


class _Stream:
    """What both kinds of streams have; `guarded` is the response that the caller has, `response` the provider's."""

    tap: _Tap
    pieces: Any
    response: Any
    guarded: Any

    def _over(self) -> None:
        self.tap.end("the caller closed the stream")
        self.guarded.elapsed = self.response.elapsed


class _SyncStream(_Stream):
    def __iter__(self) -> Iterator[bytes]:
        yield from self.pieces

    def close(self) -> None:
        self.response.close()
        self._over()


class _AsyncStream(_Stream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self.pieces:
            yield piece

    async def aclose(self) -> None:
        await self.pieces.aclose()
        await self.response.aclose()
        self._over()


@lru_cache(maxsize=4)
def _stream_class(library: str, base: str) -> type[Any]:
    """Return the class of streams for one of the HTTP libraries, which looks whether a stream is one of its own."""
    own = _SyncStream if base == "SyncByteStream" else _AsyncStream
    return type(own.__name__, (own, getattr(sys.modules[library], base)), {})

"""HTTP to one sidecar: one bounded answer within the deadline, or the reason why there is none.

aiohttp loads slowly, so this module is only imported by who asks for a `RemoteDecider`.
"""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import dataclass

import aiohttp

from agentguard.core import RUN_HEADER, RUN_VARIABLE

_RUN = re.compile(r"[0-9A-Za-z-]{1,64}", re.ASCII)
MAX_REPLY_BYTES = 1024 * 1024


class ChannelError(Exception):
    """There is no answer; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete HTTP response."""

    status: int
    body: bytes


@dataclass(slots=True)
class _Trip:
    """What is known about one attempt."""

    is_on_kept_connection: bool = False
    has_answer: bool = False


class Channel:
    """Keep-alive connections to the sidecar at `url`, used on one event loop only.

    No redirect is followed, no proxy of the environment is used, nothing is decompressed, no cookie is kept.
    """

    def __init__(self, url: str, token: str, *, deadline_s: float) -> None:
        self._url = url
        self._headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        }
        if _RUN.fullmatch(run := os.environ.get(RUN_VARIABLE, "")):
            self._headers[RUN_HEADER] = f"{run}/{os.getpid()}"
        self._deadline_s = deadline_s
        self._session: aiohttp.ClientSession | None = None

    async def post(self, path: str, body: bytes, *, held_s: float = 0.0) -> Answer:
        """Return the answer to `body`; the deadline covers connecting, asking and the last byte of it.

        `held_s` is how much longer the other side was asked to take.

        A connection that the sidecar closed while it was idle is no failure: then, and only if no byte of an
        answer came, the call is made once more.

        Raises:
            ChannelError: no complete answer came in time.
        """
        try:
            async with asyncio.timeout(self._deadline_s + held_s):
                try:
                    return await self._attempt(path, body)
                except _StaleConnectionError:
                    return await self._attempt(path, body)
        except TimeoutError:
            raise ChannelError(late(self._deadline_s + held_s)) from None
        except aiohttp.ClientConnectorError as error:
            raise ChannelError(f"sidecar unreachable: {_cause(error)}") from None
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, _StaleConnectionError):
            raise ChannelError("sidecar closed the connection without an answer") from None
        except aiohttp.ClientPayloadError:
            raise ChannelError("sidecar's answer was cut short") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ChannelError(f"sidecar answered something else than HTTP: {_cause(error)}") from None

    async def _attempt(self, path: str, body: bytes) -> Answer:
        trip = _Trip()
        try:
            async with self._open_session().post(
                self._url + path,
                data=body,
                headers=self._headers,
                allow_redirects=False,
                trace_request_ctx=trip,
            ) as response:
                trip.has_answer = True
                return Answer(response.status, await _read(response))
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if trip.is_on_kept_connection and not trip.has_answer and not _has_begun(error):
                raise _StaleConnectionError("the connection was closed") from None
            raise

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:

            async def reused(_session: object, context: object, _params: object) -> None:
                context.trace_request_ctx.is_on_kept_connection = True  # type: ignore[attr-defined]  # aiohttp's SimpleNamespace

            trace = aiohttp.TraceConfig()
            trace.on_connection_reuseconn.append(reused)
            self._session = aiohttp.ClientSession(
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                # The whole call has its own deadline.
                timeout=aiohttp.ClientTimeout(total=None),
                trace_configs=[trace],
                # Callers who wait for people must not keep others from asking.
                connector=aiohttp.TCPConnector(limit=0),
            )
        return self._session

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def abandon(self) -> object:
        """Let go of the connections without closing them, and return what holds them."""
        session, self._session = self._session, None
        return session


class _StaleConnectionError(Exception):
    """A kept connection was closed before any byte of an answer."""


def late(deadline_s: float) -> str:
    """Return what a call says that missed its deadline."""
    return f"sidecar did not answer within {deadline_s:g} s"


def _has_begun(error: Exception) -> bool:
    """Tell whether part of an answer came before the connection was lost: aiohttp then carries that part."""
    return isinstance(error, aiohttp.ServerDisconnectedError) and not isinstance(error.message, str)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > MAX_REPLY_BYTES:
            raise ChannelError(f"sidecar's answer is larger than {MAX_REPLY_BYTES} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _cause(error: Exception) -> str:
    """Return the system's words for it where there are any; an HTTP library's may quote the peer."""
    system = getattr(error, "os_error", error)
    number = getattr(system, "errno", None)
    return os.strerror(number).lower() if isinstance(number, int) and number > 0 else type(error).__name__

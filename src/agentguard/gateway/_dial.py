"""Dials upstreams: one attempt at one provider, and what its failure means."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from agentguard.gateway._address import GuardedResolver

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agentguard.gateway._door import Asked, Door
    from agentguard.gateway._upstream import Upstream

_MAX_CONNECTIONS = 512
# Shorter than load balancers keep idle connections, so that none of theirs is used after its end.
_KEEPALIVE_S = 15.0
_DNS_TTL_S = 60
_MAX_LINE_BYTES = 32 * 1024
# What an agent may say to a provider; whose account it is, is the key's to say.
_PASSED = frozenset(
    (b"accept", b"content-type", b"user-agent", b"openai-beta", b"anthropic-version", b"anthropic-beta",
     b"idempotency-key", b"x-client-request-id", b"x-ms-client-request-id")
)  # fmt: skip
_PASSED_PREFIXES = (b"x-stainless-",)
# These end at the gateway: they are about one connection, or about the provider's site.
_KEPT_BACK = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"te", b"trailer",
     b"transfer-encoding", b"upgrade", b"content-length", b"content-encoding", b"set-cookie", b"alt-svc",
     b"strict-transport-security", b"server", b"date")
)  # fmt: skip


# No server may write these into a header (RFC 9110, section 5.5).
_ODD = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class DialError(Exception):
    """There is no answer. `is_safe`: the provider has not seen the request, so it may be sent again."""

    def __init__(self, message: str, *, is_safe: bool, is_slow: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.is_safe = is_safe
        self.is_slow = is_slow


@lru_cache(maxsize=64)
def _timeout(connect_s: float, idle_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=connect_s, sock_read=idle_s)


@lru_cache(maxsize=256)
def _url(text: str) -> URL:
    return URL(text, encoded=True)


class Dialler:
    """Keeps connections to the upstreams, on one event loop.

    No redirect is followed, no proxy of the environment used, no cookie kept.
    """

    def __init__(self, upstreams: Iterable[Upstream]) -> None:
        self._local = {each.host for each in upstreams if each.local}
        self._session: aiohttp.ClientSession | None = None

    async def open(
        self, upstream: Upstream, door: Door, asked: Asked, query: str, body: bytes, *, content_type: str = ""
    ) -> aiohttp.ClientResponse:
        """Return an answer whose headers have arrived; who gets it closes it.

        Raises:
            DialError: there is none.
        """
        session = self._session or self._begin()
        try:
            return await session.request(
                asked.method,
                _url(upstream.url(door) + query),
                data=body or None,
                headers=request_headers(asked.headers, upstream.credentials(), content_type),
                allow_redirects=False,
                timeout=_timeout(upstream.connect_timeout_s, upstream.idle_timeout_s),
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            why = (
                "its address may not be dialled"
                if "private address" in str(error)
                else "it cannot be reached"
            )
            raise DialError(why, is_safe=True) from None
        except TimeoutError:
            raise DialError("it did not answer in time", is_safe=False, is_slow=True) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise DialError(f"it broke off: {type(error).__name__}", is_safe=False) from None

    async def close(self) -> None:
        """Close all connections. Idempotent."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _begin(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=_MAX_CONNECTIONS,
            keepalive_timeout=_KEEPALIVE_S,
            ttl_dns_cache=_DNS_TTL_S,
            resolver=GuardedResolver(self._local),
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            max_line_size=_MAX_LINE_BYTES,
            max_field_size=_MAX_LINE_BYTES,
        )
        return self._session


def request_headers(
    headers: Iterable[tuple[bytes, bytes]], credentials: Mapping[str, str], content_type: str = ""
) -> dict[str, str]:
    """Return the headers that the provider gets: the harmless ones of the agent, what the body is, and the key."""
    passed = {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in headers
        if name in _PASSED or name.startswith(_PASSED_PREFIXES)
    }
    if content_type:
        passed["content-type"] = content_type
    return {**passed, "accept-encoding": "identity", **credentials}


def answer_headers(
    response: aiohttp.ClientResponse, key: bytes, more: Iterable[tuple[bytes, bytes]]
) -> list[tuple[bytes, bytes]]:
    """Return the headers that the agent gets: the provider's own without those of its connection, and `more`."""
    passed = [
        (name.lower(), value)
        for name, value in response.raw_headers
        if name.lower() not in _KEPT_BACK and key not in value and _ODD.search(value) is None
    ]
    return [*passed, *more]

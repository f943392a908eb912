"""Dials upstreams: one attempt at one provider, and what its failure means."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agentguard.gateway._address import ForbiddenAddressError, GuardedResolver
from agentguard.gateway._pool import Place, Pool
from agentguard.gateway._wire import SilentError, WireError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agentguard.gateway._door import Asked, Door
    from agentguard.gateway._upstream import Upstream
    from agentguard.gateway._wire import Answer

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


class Dialler:
    """Sends requests to the upstreams, on one event loop.

    No redirect is followed, no proxy of the environment used, no cookie kept.
    """

    def __init__(self, upstreams: Iterable[Upstream]) -> None:
        self._pool = Pool(GuardedResolver({each.host for each in upstreams if each.local}))

    async def open(
        self, upstream: Upstream, door: Door, asked: Asked, query: str, body: bytes, *, content_type: str = ""
    ) -> Answer:
        """Return an answer whose headers have arrived; who gets it closes it.

        Raises:
            DialError: there is none.
        """
        try:
            place, line = _target(asked.method, upstream.url(door) + query)
            headers = request_headers(asked.headers, upstream.credentials(), content_type)
            return await self._pool.ask(
                place,
                _request(line, headers, body),
                connect_s=upstream.connect_timeout_s,
                silence_s=upstream.idle_timeout_s,
                is_repeatable=asked.method == "GET",
            )
        except ForbiddenAddressError:
            raise DialError("its address may not be dialled", is_safe=True) from None
        except SilentError:
            raise DialError("it did not answer in time", is_safe=False, is_slow=True) from None
        except WireError as error:
            raise DialError(f"it broke off: {error}", is_safe=False) from None
        except (OSError, ValueError):
            raise DialError("it cannot be reached", is_safe=True) from None

    async def close(self) -> None:
        """Close all connections. Idempotent."""
        self._pool.close()


@lru_cache(maxsize=1024)
def _target(method: str, url: str) -> tuple[Place, bytes]:
    """Return where a URL leads, and the beginning of a request for it, up to its headers."""
    parts = urlsplit(url)
    host, is_tls = parts.hostname or "", parts.scheme == "https"
    name = f"[{host}]" if ":" in host else host
    usual = 443 if is_tls else 80
    named = name if parts.port in (None, usual) else f"{name}:{parts.port}"
    what = f"{parts.path}?{parts.query}" if parts.query else parts.path
    if not (what + named).isascii() or not (what + named).isprintable() or " " in what:
        raise ValueError("the address cannot be written")
    return Place(host, parts.port or usual, is_tls), f"{method} {what} HTTP/1.1\r\nhost: {named}\r\n".encode()


def _request(line: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
    # Of what may have no body, one would be a request of its own to some.
    length = b"content-length: %d\r\n" % len(body) if body or line.startswith(b"POST") else b""
    return b"".join([line, *[b"%b: %b\r\n" % each for each in headers], length, b"\r\n", body])


def request_headers(
    headers: Iterable[tuple[bytes, bytes]], credentials: Mapping[str, str], content_type: str = ""
) -> list[tuple[bytes, bytes]]:
    """Return the headers that the provider gets: the harmless ones of the agent, what the body is, and the key."""
    own = {name.encode(): value.encode() for name, value in credentials.items()}
    own[b"accept-encoding"] = b"identity"
    if content_type:
        own[b"content-type"] = content_type.encode("latin-1")
    passed = {
        name: value
        for name, value in headers
        if (name in _PASSED or name.startswith(_PASSED_PREFIXES)) and _ODD.search(value) is None
    }
    return [*(passed | own).items()]


def answer_headers(
    answer: Answer, key: bytes, more: Iterable[tuple[bytes, bytes]]
) -> list[tuple[bytes, bytes]]:
    """Return the headers that the agent gets: the provider's own without those of its connection, and `more`."""
    passed = [
        (name, value)
        for name, value in answer.headers
        if name not in _KEPT_BACK and key not in value and _ODD.search(value) is None
    ]
    return [*passed, *more]

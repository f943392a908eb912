"""The few pieces of HTTP that every route shares: headers, bounded bodies, and one shape for errors."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import msgspec

from agentguard.core import RUN_HEADER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import Receive, Scope, Send

    Header = tuple[bytes, bytes]

T = TypeVar("T")

# A key of the scope: the server says that the body has arrived, so that no timer is needed.
BODY_IS_WHOLE = "agentguard.body_is_whole"
# Another: what the server calls when the connection is lost, a set that who answers puts a function into.
HANG_UPS = "agentguard.hang_ups"
# And what sends a whole answer at once: `await scope[WHOLE](status, headers, body)`.
WHOLE = "agentguard.whole"

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_SECURITY: tuple[Header, ...] = (
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
# A page that posts a form under `no-referrer` sends `Origin: null`, which no Origin check can accept.
PAGE_HEADERS: tuple[Header, ...] = (*_SECURITY, (b"referrer-policy", b"same-origin"))
API_HEADERS: tuple[Header, ...] = (*_SECURITY, (b"referrer-policy", b"no-referrer"))
_JSON: Header = (b"content-type", b"application/json")


class HttpError(Exception):
    """An answer that is no success: `status` and the one error shape. Raised by a route, answered by the app."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        hint: str | None = None,
        headers: tuple[Header, ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint
        self.headers = headers

    @property
    def body(self) -> bytes:
        """The JSON body."""
        return error_body(self.code, self.message, self.hint)


def error_body(code: str, message: str, hint: str | None = None) -> bytes:
    """Return `{"error": {"code", "message", "hint"?}}` as JSON."""
    error = {"code": code, "message": message}
    if hint:
        error["hint"] = hint
    return msgspec.json.encode({"error": error})


class Headers:
    """The request headers that decide who may come in, read in one pass. One that is repeated is refused."""

    __slots__ = ("authorization", "cookie", "fetch_site", "host", "last_event_id", "length", "origin", "run")

    def __init__(self, raw: Iterable[Header]) -> None:
        self.host = self.authorization = self.origin = self.cookie = b""
        self.fetch_site = self.last_event_id = self.length = self.run = b""
        for name, value in raw:
            slot = _SLOTS.get(name)
            if slot is None:
                continue
            if getattr(self, slot):
                raise HttpError(400, "header_repeated", f"the header `{name.decode()}` is given twice")
            setattr(self, slot, value)


_SLOTS = {
    b"host": "host",
    b"authorization": "authorization",
    b"origin": "origin",
    b"cookie": "cookie",
    b"sec-fetch-site": "fetch_site",
    b"last-event-id": "last_event_id",
    b"content-length": "length",
    RUN_HEADER.lower().encode(): "run",
}


def bearer(headers: Headers) -> str:
    """Return the bearer token, or the empty text where there is none (RFC 6750, section 2.1)."""
    scheme, _, token = headers.authorization.partition(b" ")
    return token.strip().decode("latin-1") if scheme.lower() == b"bearer" else ""


def unauthorized(code: str, message: str, *, hint: str | None = None) -> HttpError:
    """Return a 401 with its challenge (RFC 6750, section 3)."""
    return HttpError(
        401, code, message, hint=hint, headers=((b"www-authenticate", b'Bearer realm="agentguard"'),)
    )


async def read_body(
    headers: Headers, scope: Scope, receive: Receive, *, limit: int, deadline_s: float
) -> bytes:
    """Return the whole body, at most `limit` bytes, received within `deadline_s` seconds.

    Raises:
        HttpError: 413 where it is longer, whatever its length claimed; 408 where it is slow.
        ClientGoneError: nobody is left to answer.
    """
    if headers.length and (not headers.length.isdigit() or int(headers.length[:19]) > limit):
        raise _too_large(limit)
    if BODY_IS_WHOLE in scope:
        return await _read_on(receive, limit)
    try:
        async with asyncio.timeout(deadline_s):
            return await _read_on(receive, limit)
    except TimeoutError:
        raise HttpError(
            408,
            "body_slow",
            f"the body did not arrive within {deadline_s:g} s",
            headers=((b"connection", b"close"),),
        ) from None


async def _read_on(receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGoneError
        parts.append(message["body"])
        size += len(parts[-1])
        if size > limit:
            raise _too_large(limit)
        if not message.get("more_body"):
            return b"".join(parts)


class ClientGoneError(Exception):
    """The peer closed its connection before its request was whole."""


def _too_large(limit: int) -> HttpError:
    # The rest of the body is not read, so the connection cannot carry another request.
    return HttpError(
        413, "body_too_large", f"the body is longer than {limit} bytes", headers=((b"connection", b"close"),)
    )


def _pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(items)
    if len(found) != len(items):
        raise _DuplicateKeyError
    return found


class _DuplicateKeyError(ValueError):
    pass


# Two readers may take different ones of two equal keys, and the second reader may be what executes the
# request; msgspec takes the last without a word. A first pass that only looks for them costs 2 to 3 µs.
_strict = json.JSONDecoder(object_pairs_hook=_pairs)


def parse_json(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Return the body as the decoder's type.

    Raises:
        HttpError: 400; it is no UTF-8 (`body_invalid`), no JSON, has a duplicate key or a number that is not
            finite (`json_invalid`), or does not have the shape (`shape_invalid`, which names the field).
    """
    try:
        _strict.decode(body.decode())
        return decoder.decode(body)
    except UnicodeDecodeError:
        raise HttpError(400, "json_invalid", "the body is not UTF-8") from None
    except _DuplicateKeyError:
        raise HttpError(400, "json_invalid", "the body has an object with a duplicate key") from None
    except msgspec.ValidationError as error:
        _refuse_shape(error)
    except (msgspec.DecodeError, ValueError):
        raise HttpError(400, "json_invalid", "the body is not JSON") from None
    except RecursionError:
        raise HttpError(400, "json_invalid", "the body is nested too deeply") from None


def _refuse_shape(error: msgspec.ValidationError) -> NoReturn:
    message = str(error)
    raise HttpError(400, "shape_invalid", message[:1].lower() + message[1:300]) from None


async def respond(
    send: Send,
    status: int,
    body: bytes,
    *,
    headers: tuple[Header, ...] = API_HEADERS,
    extra: tuple[Header, ...] = (),
    content_type: Header = _JSON,
) -> None:
    """Send one whole answer."""
    length = (b"content-length", b"%d" % len(body))
    await send(
        {"type": "http.response.start", "status": status, "headers": [content_type, length, *headers, *extra]}
    )
    await send({"type": "http.response.body", "body": body})


async def respond_error(send: Send, error: HttpError) -> None:
    """Send an error in the one shape."""
    await respond(send, error.status, error.body, extra=error.headers)


def peer_of(scope: Scope) -> str:
    """Return the address of the other side."""
    client = scope.get("client")
    return str(client[0]) if client else "unknown"

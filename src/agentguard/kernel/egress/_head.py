"""The head of an HTTP/1 request (RFC 9112), read strictly: whom it is for, and nothing that two might read in two ways."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

import msgspec

MAX_HEAD = 1 << 15
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")
_FIRST = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([\x21-\x7e]+) HTTP/1\.[01]")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00\r\n]*?)[ \t]*")
_END = b"\r\n\r\n"
_HTTP_PORT = 80


class HeadError(Exception):
    """It is no request, or not one that can be told apart; the text says why."""


class Head(msgspec.Struct, frozen=True):
    """Whom a request is for. `form` is how it says it: `tunnel` is CONNECT, `whole` a request to a proxy.

    `port` is the one that stands there, or None.
    """

    method: str
    form: Literal["tunnel", "whole", "path"]
    host: str
    port: int | None
    size: int
    upgrade: str = ""


def may_be_request(data: bytes) -> bool:
    """Tell whether a stream that begins so may be HTTP."""
    method, space, _ = data.partition(b" ")
    return bool(_METHOD.fullmatch(method)) if space else bool(_METHOD.fullmatch(data or b"-"))


def read_head(data: bytes) -> Head | None:
    """Return whom the request at the beginning of a stream is for; None while its head is not complete.

    Raises:
        HeadError: it is none, or says different things of whom it is for.
    """
    if not may_be_request(data):
        raise HeadError("this is neither TLS nor HTTP")
    end = data.find(_END)
    if end < 0:
        if len(data) >= MAX_HEAD:
            raise HeadError("the head of the request is too long")
        return None
    if end > MAX_HEAD:
        raise HeadError("the head of the request is too long")
    first, *lines = data[:end].split(b"\r\n")
    found = _FIRST.fullmatch(first)
    if found is None:
        raise HeadError("this is neither TLS nor HTTP")
    fields = _fields(lines)
    hosts = fields.get(b"host", [])
    if len(hosts) > 1:
        raise HeadError("the request names its host twice")
    head = _whom(found[1].decode(), found[2].decode(), hosts[0].decode("latin-1") if hosts else None)
    upgrade = b",".join(fields.get(b"upgrade", [])).decode("latin-1").lower()
    return msgspec.structs.replace(head, size=end + len(_END), upgrade=upgrade)


def _fields(lines: list[bytes]) -> dict[bytes, list[bytes]]:
    fields: dict[bytes, list[bytes]] = {}
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise HeadError("a line of the request's head is not as it must be")
        fields.setdefault(field[1].lower(), []).append(field[2])
    return fields


def _whom(method: str, target: str, named: str | None) -> Head:
    if method == "CONNECT":
        host, port = split_host(target)
        if port is None:
            raise HeadError("CONNECT names no port")
        return Head(method, "tunnel", host, port, 0)
    if target.startswith("/") or target == "*":
        if named is None:
            raise HeadError("the request names no host")
        host, port = split_host(named)
        return Head(method, "path", host, port, 0)
    whole = _split_url(target)
    if named is not None:
        host, port = split_host(named)
        if (host.lower().removesuffix("."), port or _HTTP_PORT) != (
            whole[0].lower().removesuffix("."),
            whole[1],
        ):
            raise HeadError("the request names one host in its first line and another one as Host")
    return Head(method, "whole", whole[0], whole[1], 0)


def _split_url(target: str) -> tuple[str, int]:
    try:
        parts = urlsplit(target)
        host, port = split_host(parts.netloc)
    except ValueError:
        raise HeadError("the request's address cannot be read") from None
    if parts.scheme.lower() != "http":
        raise HeadError("only http:// can be asked of a proxy; https:// goes through CONNECT")
    return host, port or _HTTP_PORT


def split_host(text: str) -> tuple[str, int | None]:
    """Return host and port of `HOST`, `HOST:PORT`, `[ADDRESS]` or `[ADDRESS]:PORT`.

    Raises:
        HeadError: it is none of these.
    """
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:/@?#\s]+)(?::([0-9]{1,5}))?", text)
    if found is None or int(found[2] or 1) not in range(1, 1 << 16):
        raise HeadError("the host's name cannot be read")
    return found[1].strip("[]"), int(found[2]) if found[2] else None

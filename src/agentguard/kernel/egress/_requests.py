"""The requests after the first one of a plain HTTP connection: each must be for the host that was allowed."""

from __future__ import annotations

import httptools

from agentguard.kernel.egress._head import HeadError, split_host
from agentguard.kernel.egress._names import normal_name

_MAX_FIELDS = 1 << 15


class RequestWatch:
    """Reads what a client sends, before it is passed on. After a change of protocol it reads no more."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._parser = httptools.HttpRequestParser(self)
        self._hosts: list[bytes] = []
        self._url = b""
        self._size = self._silent = 0
        self._reason = ""
        self._first = True
        self.upgraded = False

    def feed(self, data: bytes) -> str:
        """Return why the bytes must not be passed on; nothing where they may."""
        if self.upgraded:
            return ""
        # The parser holds back a field until it is complete; it must not hold back without end.
        self._silent += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.upgraded = True
        except httptools.HttpParserError:
            return self._reason or "what follows is no HTTP request"
        if self._silent > _MAX_FIELDS:
            self._stop("the head of a request is too long")
        return self._reason

    def on_message_begin(self) -> None:
        """A request begins."""
        self._silent = 0
        self._hosts, self._url, self._size = [], b"", 0

    def on_url(self, url: bytes) -> None:
        """A piece of the first line."""
        self._url += url
        self._grow(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field."""
        self._grow(len(name) + len(value or b""))
        if name.lower() == b"host":
            self._hosts.append(value or b"")
        if name.lower() == b"upgrade" and not self._first:
            self._stop("a later request changes the protocol")

    def on_headers_complete(self) -> None:
        """The head is complete."""
        self._first = False
        if self._parser.get_method() == b"CONNECT":
            self._stop("a later request asks for a tunnel")
        if len(self._hosts) != 1 or _name_of(self._hosts[0]) != self._name:
            self._stop("a request on this connection is for another host")
        if not self._url.startswith(b"/") and self._url != b"*" and _name_of_url(self._url) != self._name:
            self._stop("a request on this connection is for another host")

    def on_body(self, body: bytes) -> None:  # noqa: ARG002 - what is in it is between the two ends
        """A piece of a body."""
        self._silent = 0

    def _grow(self, size: int) -> None:
        self._silent = 0
        self._size += size
        if self._size > _MAX_FIELDS:
            self._stop("the head of a request is too long")

    def _stop(self, reason: str) -> None:
        self._reason = self._reason or reason


def _name_of(host: bytes) -> str | None:
    try:
        return normal_name(split_host(host.decode("latin-1").strip())[0])
    except HeadError:
        return None


def _name_of_url(url: bytes) -> str | None:
    try:
        parsed = httptools.parse_url(url)
    except httptools.HttpParserError:
        return None
    return normal_name(parsed.host.decode("latin-1")) if parsed.host else None

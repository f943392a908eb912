"""The first bytes of a connection: which host they are for, whether it says so by TLS or by HTTP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

import msgspec

from agentguard.kernel.egress._head import HeadError, read_head
from agentguard.kernel.egress._hello import HANDSHAKE, HelloError, read_hello
from agentguard.kernel.egress._names import normal_name

if TYPE_CHECKING:
    from agentguard.kernel.egress._head import Head

OPENING_S = 10.0
_PIECE = 16384


class OpeningError(Exception):
    """The connection does not say whom it is for in a way that can be checked; the text says why."""

    def __init__(self, reason: str, kind: Kind = "unknown") -> None:
        super().__init__(reason)
        self.kind = kind


Kind = Literal["tls", "http", "tunnel", "unknown"]


class Opening(msgspec.Struct, frozen=True):
    """Whom a connection is for. `host` is as it was written, `name` the normal name, None for an address.

    `data` are the bytes that were read, to be passed on; `port` stands where the opening itself says one.
    """

    kind: Kind
    host: str
    name: str | None
    port: int | None
    data: bytes
    upgrade: str = ""
    head_size: int = 0


async def read_opening(
    reader: asyncio.StreamReader, *, inside: str | None = None, seconds: float = OPENING_S
) -> Opening | None:
    """Return whom the connection is for; None where it ends without a word.

    `inside` is the host of the tunnel that this is the inner side of: it must be for that one.

    Raises:
        OpeningError: it does not say it, not in time, or not in one way.
    """
    data = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while True:
                piece = await reader.read(_PIECE)
                if not piece:
                    if data:
                        raise OpeningError("it ends before it has said whom it is for")
                    return None
                data += piece
                opening = _read(bytes(data))
                if opening is not None:
                    break
    except TimeoutError:
        raise OpeningError(f"it does not say within {seconds:g} s whom it is for") from None
    except OSError:
        return None
    if inside is not None:
        _must_be(opening, inside)
    return opening


def _read(data: bytes) -> Opening | None:
    try:
        return _read_tls(data) if data[0] == HANDSHAKE else _read_http(data)
    except HelloError as error:
        raise OpeningError(str(error), "tls") from None
    except HeadError as error:
        raise OpeningError(str(error), "http") from None


def _read_tls(data: bytes) -> Opening | None:
    hello = read_hello(data)
    if hello is None:
        return None
    if hello.is_encrypted:
        raise OpeningError("its hello may hide another name (encrypted client hello)", "tls")
    if not hello.name:
        raise OpeningError("its hello has no name (SNI)", "tls")
    name = normal_name(hello.name)
    if name is None:
        raise OpeningError("the name in its hello is none", "tls")
    return Opening("tls", hello.name, name, None, data)


def _read_http(data: bytes) -> Opening | None:
    head: Head | None = read_head(data)
    if head is None:
        return None
    if head.upgrade and head.upgrade != "websocket":
        raise OpeningError("it changes the protocol to one that cannot be followed", "http")
    return Opening(
        "tunnel" if head.form == "tunnel" else "http", head.host, normal_name(head.host), head.port if head.form != "path" else None,
        data, head.upgrade, head.size,
    )  # fmt: skip


def _must_be(opening: Opening, host: str) -> None:
    if opening.kind == "tunnel":
        raise OpeningError("it is a tunnel in a tunnel", "http")
    if opening.name != host:
        raise OpeningError(f"it names `{opening.host}` inside of a tunnel to `{host}`", opening.kind)

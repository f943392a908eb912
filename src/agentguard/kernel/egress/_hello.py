"""The first message of TLS (RFC 8446, 4.1.2), read and not answered: which name it asks for, and what it hides."""

from __future__ import annotations

import msgspec

HANDSHAKE = 0x16
_CLIENT_HELLO = 1
_SERVER_NAME = 0
_HOST_NAME = 0
# RFC 9849, and the draft before it: the true name is inside, where nobody on the way can read it.
_ENCRYPTED = frozenset((0xFE0D, 0xFFCE))
_RECORD_HEAD, _MESSAGE_HEAD = 5, 4
_MAX_RECORD = 1 << 14
# A post-quantum hello has some 2 KiB; more than this nobody sends.
MAX_HELLO = 1 << 15
# An empty record is allowed by nothing here, so each carries a byte at least: this bounds the work all the same.
_MAX_RECORDS = 64


class HelloError(Exception):
    """It is no hello that tells its name; the text says why."""


class Hello(msgspec.Struct, frozen=True):
    """What a hello says: the name in it, empty where there is none, and whether another one may hide in it."""

    name: str
    is_encrypted: bool


class _Reader:
    """Takes a message apart from the front. Whatever is too short is an error, never an IndexError."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise HelloError("the hello is shorter than it says")
        found = self._data[self._at : end]
        self._at = end
        return found

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """Return what follows a length of `size` bytes."""
        return self.take(self.number(size))

    @property
    def left(self) -> int:
        return len(self._data) - self._at


def read_hello(data: bytes) -> Hello | None:
    """Return what the hello at the beginning of a stream says; None while it is not complete.

    Raises:
        HelloError: it is not one, or not one as it must be.
    """
    message = _join_records(data)
    if message is None:
        return None
    return _parse(message)


def _join_records(data: bytes) -> bytes | None:
    joined = bytearray()
    at = 0
    for _ in range(_MAX_RECORDS):
        if len(joined) >= _MESSAGE_HEAD:
            if joined[0] != _CLIENT_HELLO:
                raise HelloError("the first message is no hello")
            length = int.from_bytes(joined[1:_MESSAGE_HEAD], "big")
            if length > MAX_HELLO:
                raise HelloError("the hello is too long")
            if len(joined) >= _MESSAGE_HEAD + length:
                return bytes(joined[_MESSAGE_HEAD : _MESSAGE_HEAD + length])
        head = data[at : at + _RECORD_HEAD]
        if head and head[0] != HANDSHAKE:
            raise HelloError("this is not TLS")
        if len(head) > 1 and head[1] != 3:  # noqa: PLR2004 - the major version of SSL 3 and every TLS
            raise HelloError("this is not TLS")
        if len(head) < _RECORD_HEAD:
            return None
        size = int.from_bytes(head[3:], "big")
        if not 0 < size <= _MAX_RECORD:
            raise HelloError("a record of the hello has a wrong length")
        at += _RECORD_HEAD + size
        joined += data[at - size : at]
        if len(data) < at:
            _check_beginning(joined)
            return None
    raise HelloError("the hello is in too many pieces")


def _check_beginning(joined: bytearray) -> None:
    if joined and joined[0] != _CLIENT_HELLO:
        raise HelloError("the first message is no hello")
    if len(joined) >= _MESSAGE_HEAD and int.from_bytes(joined[1:_MESSAGE_HEAD], "big") > MAX_HELLO:
        raise HelloError("the hello is too long")


def _parse(message: bytes) -> Hello:
    reader = _Reader(message)
    reader.take(2 + 32)  # version and random
    reader.vector(1)  # session
    reader.vector(2)  # ciphers
    reader.vector(1)  # compression
    if not reader.left:
        return Hello("", is_encrypted=False)
    extensions = _Reader(reader.vector(2))
    if reader.left:
        raise HelloError("something follows the hello's extensions")
    name, seen = "", set()
    while extensions.left:
        kind, body = extensions.number(2), extensions.vector(2)
        if kind in seen:
            # Who reads it might take the one or the other.
            raise HelloError("an extension of the hello stands there twice")
        seen.add(kind)
        if kind == _SERVER_NAME:
            name = _server_name(body)
    return Hello(name, is_encrypted=bool(seen & _ENCRYPTED))


def _server_name(body: bytes) -> str:
    reader = _Reader(body)
    entries = _Reader(reader.vector(2))
    if reader.left:
        raise HelloError("something follows the server's name")
    kind, name = entries.number(1), entries.vector(2)
    if kind != _HOST_NAME or entries.left:
        raise HelloError("the hello has more than one server's name, or none that is a host's")
    if not name.isascii():
        raise HelloError("the server's name is not in ASCII")
    return name.decode("ascii")

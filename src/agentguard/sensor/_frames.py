"""How messages cross a socket: MessagePack, each with its length before it."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, TypeVar

import msgspec

from agentguard.core import KernelError

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_SOCKET = "/run/agentguard/sensor.sock"
MAX_FRAME = 16 << 20
_LENGTH = struct.Struct("<I")
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid
_CONNECT_S = 2.0
_encoder = msgspec.msgpack.Encoder()

T = TypeVar("T")


class Peer(msgspec.Struct, frozen=True):
    """Who is at the other end, as the kernel says."""

    pid: int
    uid: int


def peer_of(connection: socket.socket) -> Peer:
    """Return who connected, or who listened when we connected (`SO_PEERCRED`, unix(7))."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    return Peer(pid, uid)


def connect(path: Path) -> socket.socket:
    """Return a connection to the sensor at `path`.

    Raises:
        KernelError: nobody listens there (`sensor_missing`).
    """
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_CONNECT_S)
    try:
        connection.connect(str(path))
    except OSError as error:
        connection.close()
        raise KernelError(
            f"no sensor at `{path}`: {(error.strerror or str(error)).lower()}",
            code="sensor_missing",
            hint="as root: `agentguard sensor`",
        ) from None
    return connection


def send(connection: socket.socket, message: msgspec.Struct) -> None:
    """Send one message."""
    body = _encoder.encode(message)
    connection.sendall(_LENGTH.pack(len(body)) + body)


def receive(
    connection: socket.socket, decoder: msgspec.msgpack.Decoder[T], *, most_bytes: int = MAX_FRAME
) -> T | None:
    """Return the next message, or None when the other end is gone.

    Raises:
        KernelError: it is no message of ours, or longer than `most_bytes` (`sensor_protocol`).
    """
    head = _exactly(connection, _LENGTH.size)
    if head is None:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > most_bytes:
        raise _foreign()
    body = _exactly(connection, length)
    if body is None:
        return None
    try:
        return decoder.decode(body)
    except msgspec.MsgspecError:
        raise _foreign() from None


def _exactly(connection: socket.socket, count: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < count:
        try:
            part = connection.recv(min(count - len(parts), 1 << 20))
        except (ConnectionError, TimeoutError):
            return None
        if not part:
            return None
        parts += part
    return bytes(parts)


def _foreign() -> KernelError:
    return KernelError(
        "the other end does not speak the sensor's language",
        code="sensor_protocol",
        hint="run one version of agentguard on both ends",
    )

"""What sensor and client say to each other: frames of MessagePack, each with its length before it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, TypeVar

import msgspec

from agentguard.core import KernelError
from agentguard.kernel import Check, Seen, Traffic

if TYPE_CHECKING:
    import socket

DEFAULT_SOCKET = "/run/agentguard/sensor.sock"
MAX_FRAME = 16 << 20
_LENGTH = struct.Struct("<I")


class Watch(msgspec.Struct, frozen=True, tag=True):
    """A client asks: watch this child of mine, which waits."""

    pid: int


class Finish(msgspec.Struct, frozen=True, tag=True):
    """A client says: my child has ended; end what it left and tell me the rest."""


class AskHealth(msgspec.Struct, frozen=True, tag=True):
    """A client asks how the sensor is."""


class Watching(msgspec.Struct, frozen=True, tag=True):
    """The child is in its cgroup and watched, as the self-test of the sensor has proven that it can."""

    checks: list[Check]
    missing: dict[str, str]


class Batch(msgspec.Struct, frozen=True, tag=True):
    """What was seen, in order."""

    seen: list[Seen]


class Lost(msgspec.Struct, frozen=True, tag=True):
    """So many records found no room."""

    kind: str
    count: int


class Finished(msgspec.Struct, frozen=True, tag=True):
    """The last word: what was moved, how many processes were left and ended, errors."""

    traffic: list[Traffic]
    left: int
    errors: int


class Health(msgspec.Struct, frozen=True, tag=True):
    """How the sensor is, since it began; latencies from the kernel's time to Python, in ms."""

    version: str
    uptime_s: float
    tier: str
    checks: list[Check]
    missing: dict[str, str]
    runs: int
    records: int
    repeated: int
    dropped: dict[str, int]
    errors: int
    backlog: int
    latency_mean_ms: float
    latency_max_ms: float


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The sensor will not, and why; becomes the client's error."""

    code: str
    message: str
    hint: str = ""


T = TypeVar("T")

Asked = Watch | Finish | AskHealth
Told = Watching | Batch | Lost | Finished | Health | Refused

_encoder = msgspec.msgpack.Encoder()
_asked = msgspec.msgpack.Decoder(Asked)
_told = msgspec.msgpack.Decoder(Told)


def send(connection: socket.socket, message: Asked | Told) -> None:
    """Send one message."""
    body = _encoder.encode(message)
    connection.sendall(_LENGTH.pack(len(body)) + body)


def receive_asked(connection: socket.socket) -> Asked | None:
    """Return what a client asks, or None when it is gone.

    Raises:
        KernelError: it is no message of ours (`sensor_protocol`).
    """
    return _receive(connection, _asked)


def receive_told(connection: socket.socket) -> Told | None:
    """Return what the sensor says, or None when it is gone.

    Raises:
        KernelError: it is no message of ours (`sensor_protocol`).
    """
    return _receive(connection, _told)


def _receive(connection: socket.socket, decoder: msgspec.msgpack.Decoder[T]) -> T | None:
    head = _exactly(connection, _LENGTH.size)
    if head is None:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > MAX_FRAME:
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

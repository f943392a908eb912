"""What sensor and launcher say to each other about a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agentguard.kernel import Check, Seen, Traffic
from agentguard.sensor._frames import receive
from agentguard.sensor._stream import AskHealth, Attach, Health, Refused

if TYPE_CHECKING:
    import socket


class Watch(msgspec.Struct, frozen=True, tag=True):
    """A client asks: watch this child of mine, which waits."""

    pid: int


class Finish(msgspec.Struct, frozen=True, tag=True):
    """A client says: my child has ended; end what it left and tell me the rest."""


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


MAX_ASKED = 4096  # bytes; anybody may ask
Asked = Watch | Finish | AskHealth | Attach
Told = Watching | Batch | Lost | Finished | Health | Refused

_asked = msgspec.msgpack.Decoder(Asked)
_told = msgspec.msgpack.Decoder(Told)


def receive_asked(connection: socket.socket) -> Asked | None:
    """Return what a client asks, or None when it is gone.

    Raises:
        KernelError: it is no message of ours (`sensor_protocol`).
    """
    return receive(connection, _asked, most_bytes=MAX_ASKED)


def receive_told(connection: socket.socket) -> Told | None:
    """Return what the sensor says, or None when it is gone.

    Raises:
        KernelError: it is no message of ours (`sensor_protocol`).
    """
    return receive(connection, _told)

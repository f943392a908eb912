"""What sensor and sidecar say to each other about agents that nobody launched; nothing of it needs numpy."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from agentguard.core import Event
from agentguard.kernel import Check


class AskHealth(msgspec.Struct, frozen=True, tag=True):
    """A client asks how the sensor is."""


class Attach(msgspec.Struct, frozen=True, tag=True):
    """The sidecar of a project asks for what the sensor has seen."""

    project: str


class Taken(msgspec.Struct, frozen=True, tag=True):
    """The sidecar has stored, decided and recorded everything up to this place."""

    place: int


class Ask(msgspec.Struct, frozen=True):
    """What was done, as a request. `known` is false where a part was cut off, so that no allow may rest on it."""

    action: str
    resource: str
    params: dict[str, Any]
    known: bool = True


class Report(msgspec.Struct, frozen=True):
    """One thing to tell: an event, the request that it stands for, a record for the audit log; each where there is one."""

    event: Event | None = None
    ask: Ask | None = None
    record: dict[str, Any] | None = None


class Reports(msgspec.Struct, frozen=True, tag=True):
    """Reports in order, as they lie in the buffer, each with its place; places grow."""

    items: list[tuple[int, bytes]]


class Buffer(msgspec.Struct, frozen=True):
    """How full the buffer for the sidecar is; `id` names it for as long as its folder is there."""

    id: str = ""
    used_bytes: int = 0
    max_bytes: int = 0
    waiting: int = 0
    accepted: int = 0
    dropped: dict[str, int] = {}


class Health(msgspec.Struct, frozen=True, tag=True):
    """How the sensor is, since it began; latencies from the kernel's time to Python, in ms.

    `agents` counts those that it watches and did not launch, `runs` those of launchers. `sidecar` says whether
    one takes what is seen of the former; `pods` is why labels of pods cannot be had, or nothing.
    """

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
    agents: int = 0
    sidecar: bool = False
    buffer: Buffer | None = None
    pods: str = ""


class Agent(msgspec.Struct, frozen=True):
    """One agent that is watched and was not launched by us. `labels` are container, pod, namespace and so on.

    `dropped` counts what of it found no room in the buffer since the sensor began.
    """

    principal: str
    session: str
    cgroup: str
    since: datetime
    labels: dict[str, str] = {}
    dropped: int = 0


class Standing(msgspec.Struct, frozen=True, tag=True):
    """The sensor tells its sidecar every few seconds how it is and whom it watches."""

    sensor: str
    health: Health
    agents: list[Agent]


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The sensor will not, and why; becomes the client's error."""

    code: str
    message: str
    hint: str = ""


Told = Reports | Standing | Health | Refused

told_decoder = msgspec.msgpack.Decoder(Told)
taken_decoder = msgspec.msgpack.Decoder(Taken)


class _Who(msgspec.Struct):
    principal: str = ""
    session: str | None = None


class _Named(msgspec.Struct):
    event: _Who | None = None


_named_decoder = msgspec.msgpack.Decoder(_Named)
report_decoder = msgspec.msgpack.Decoder(Report)
encode_report = msgspec.msgpack.Encoder().encode


def key_of(principal: str, session: str) -> str:
    """Return the name under which the buffer keeps an agent's share; `named` reads it."""
    return f"{session} {principal}"


def named(key: str) -> tuple[str, str]:
    """Return principal and session of an agent's name in the buffer."""
    session, _, principal = key.partition(" ")
    return principal, session


def agent_of(body: bytes) -> str:
    """Return whose report this is, as the buffer names it; the sensor's own are nobody's."""
    try:
        who = _named_decoder.decode(body).event
    except msgspec.MsgspecError:
        return ""
    return key_of(who.principal, who.session) if who is not None and who.session else ""

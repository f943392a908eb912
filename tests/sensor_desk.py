"""The sensor's end of the line to the sidecar, without a kernel: a real buffer, a real socket."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import Event, EventKind, KernelError
from agentguard.kernel import Check
from agentguard.sensor._frames import peer_of, receive, send
from agentguard.sensor._outlet import Outlet
from agentguard.sensor._spool import Spool
from agentguard.sensor._stream import Agent, Ask, Attach, Health, Refused, Report, Standing, encode_report

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = "my-project"
AGENT = Agent("support-bot", "s-1", "/agents.slice", datetime(2026, 1, 31, tzinfo=UTC), {"pod": "p-1"})
_attach = msgspec.msgpack.Decoder(Attach)


def health(spool: Spool) -> Health:
    """Return how a sensor is of which all is well but one thing that it does not see."""
    return Health(
        version="0.1.0", uptime_s=12.5, tier="observe", checks=[Check("files", ok=True, detail="", needed=True)],
        missing={"dns": "no room"}, runs=1, records=1000, repeated=7, dropped={"vital": 0, "file": 3, "io": 0},
        errors=2, backlog=4, latency_mean_ms=3.5, latency_max_ms=9.0, agents=1, sidecar=True, buffer=spool.state(),
    )  # fmt: skip


def sighting(number: int, resource: str = "file:/a", *, known: bool = True, age_s: float = 0) -> bytes:
    """Return a report of a file that was read so many seconds ago."""
    event = Event(
        f"e-{number}", EventKind.FILE, datetime.now(UTC) - timedelta(seconds=age_s), "support-bot", "s-1",
        {"action": "file.read", "resource": resource},
    )  # fmt: skip
    return encode_report(Report(event, Ask("file.read", resource, {"path": resource}, known)))


@dataclass
class Desk:
    """Serves `spool` at `path` while it is open; it can be closed and opened again."""

    path: Path
    folder: Path
    uids: frozenset[int] = frozenset()
    project: str = PROJECT
    sensor: str = "sensor-1"
    spool: Spool = field(init=False)
    outlet: Outlet = field(init=False)
    _listener: socket.socket | None = None
    _connections: list[socket.socket] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.spool = Spool(self.folder, max_bytes=1 << 20, say_lost=lambda _counts, _by_agent: b"")

    def open(self) -> None:
        self.outlet = Outlet(
            self.spool, project=self.project, uids=self.uids,
            standing=lambda: Standing(self.sensor, health(self.spool), [AGENT]),
        )  # fmt: skip
        self._listener = socket.socket(socket.AF_UNIX)
        self.path.unlink(missing_ok=True)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._thread(self._accept, self._listener)

    def _thread(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments)  # type: ignore[arg-type]  # each takes its own
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self._connections.append(connection)
                self._thread(self._attend, connection)

    def _attend(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            try:
                asked = receive(connection, _attach)
                if asked is not None:
                    self.outlet.serve(connection, asked, peer_of(connection))
            except KernelError as error:
                send(connection, Refused(error.code, error.message, error.hint or ""))

    def close(self) -> None:
        """Go away, as a sensor does that is killed; what is in the buffer stays."""
        if self._listener is None:
            return
        for each in (self._listener, *self._connections):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._listener = None
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        self._threads.clear()
        self._connections.clear()
        self.path.unlink(missing_ok=True)

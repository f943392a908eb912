"""Where the sidecar of the project takes what the sensor has seen: in order, and again until it says that it has it."""

from __future__ import annotations

import contextlib
import logging
import select
import threading
import time
from typing import TYPE_CHECKING

from agentguard.core import KernelError
from agentguard.sensor._frames import receive, send
from agentguard.sensor._stream import Reports, taken_decoder

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from agentguard.sensor._frames import Peer
    from agentguard.sensor._spool import Spool
    from agentguard.sensor._stream import Attach, Standing

STANDING_EVERY_S = 2.0
_READ_S = 0.25
# A sidecar decides and records each thing before it says that it has it.
_TAKE_TIMEOUT_S = 60.0
_log = logging.getLogger("agentguard.sensor")


class Outlet:
    """Serves one sidecar at a time, of one project, run by root or by one of `uids`."""

    def __init__(
        self, spool: Spool, *, project: str, uids: frozenset[int], standing: Callable[[], Standing]
    ) -> None:
        self._spool, self._project, self._uids, self._standing = spool, project, uids | {0}, standing
        self._busy = threading.Lock()
        self._stopping = threading.Event()

    def set_uids(self, uids: frozenset[int]) -> None:
        """Say whose sidecar is told from its next connection on."""
        self._uids = uids | {0}

    @property
    def is_attached(self) -> bool:
        """Whether a sidecar takes what is seen."""
        return self._busy.locked()

    def serve(self, connection: socket.socket, asked: Attach, peer: Peer) -> None:
        """Tell a sidecar until it is gone.

        Raises:
            KernelError: it is not this project's, or not run by who may know (`sensor_denied`), or there is one
                already (`sensor_busy`).
        """
        if peer.uid not in self._uids:
            raise _denied(f"user {peer.uid} may not be told", "see `sensor.user`")
        if asked.project != self._project:
            raise _denied("it watches for another project", "start it with `--project` of this one")
        if not self._busy.acquire(blocking=False):
            raise KernelError(
                "another sidecar of the project takes what the sensor sees",
                code="sensor_busy",
                hint="stop one of the two",
            )
        try:
            _log.info("a sidecar is there (pid %d, user %d)", peer.pid, peer.uid)
            self._spool.rewind()
            connection.settimeout(_TAKE_TIMEOUT_S)
            self._tell(connection)
        finally:
            self._busy.release()
            _log.info("the sidecar is gone; records that wait: %d", self._spool.waiting)

    def _tell(self, connection: socket.socket) -> None:
        next_standing = 0.0
        gone = select.poll()
        gone.register(connection, select.POLLRDHUP)
        while not self._stopping.is_set() and not gone.poll(0):
            if time.monotonic() >= next_standing:
                send(connection, self._standing())
                next_standing = time.monotonic() + STANDING_EVERY_S
            items = self._spool.read(timeout_s=_READ_S)
            if not items:
                continue
            send(connection, Reports(items))
            taken = receive(connection, taken_decoder)
            if taken is None:
                return
            self._spool.taken(taken.place)
            if taken.place < items[-1][0]:
                self._spool.rewind()

    def flush(self, seconds: float) -> None:
        """Wait until a sidecar that is there has taken everything, for so long at most, and serve none any more."""
        deadline = time.monotonic() + seconds
        while self.is_attached and self._spool.waiting and time.monotonic() < deadline:
            time.sleep(0.02)
        self._stopping.set()

    def wait_done(self, seconds: float) -> None:
        """Wait until the last sidecar was let go, for so long at most."""
        if self._busy.acquire(timeout=seconds):
            with contextlib.suppress(RuntimeError):
                self._busy.release()


def _denied(message: str, hint: str) -> KernelError:
    return KernelError(message, code="sensor_denied", hint=hint)

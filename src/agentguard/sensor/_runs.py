"""Runs of launchers: each one's child in a cgroup of its own, and what it does told to that launcher only."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from agentguard.core import AgentGuardError, KernelError
from agentguard.kernel import Cgroup, Handover, end_all
from agentguard.sensor._frames import send
from agentguard.sensor._protocol import Batch, Finish, Finished, Lost, Watching, receive_asked

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.kernel import Observer, Seen
    from agentguard.sensor._frames import Peer

MAX_RUNS = 64
MAX_RUNS_OF_A_USER = 16
_log = logging.getLogger("agentguard.sensor")


class _Run:
    """One client's run: its cgroup, and what waits to be sent."""

    def __init__(self, connection: socket.socket, cgroup: Cgroup, uid: int) -> None:
        self.connection, self.cgroup, self.uid = connection, cgroup, uid
        self.outbox = Handover()
        self.skipped_before = 0
        self.sending = threading.Lock()
        self.done = threading.Event()


class Runs:
    """The runs that are watched for others. `settle` waits until what was seen by now was given to `put`."""

    def __init__(self, observer: Observer, *, settle: Callable[[], None]) -> None:
        self._observer, self._settle = observer, settle
        self._runs: dict[int, _Run] = {}
        self._lock = threading.Lock()
        self._is_over = False

    def __len__(self) -> int:
        return len(self._runs)

    def attend(self, connection: socket.socket, pid: int, peer: Peer) -> None:
        """Watch a child of the peer until it says that the child has ended, or is gone.

        Raises:
            KernelError: it is not the peer's own child (`sensor_denied`), or there are too many runs (`sensor_full`).
        """
        run = self._admit(connection, pid, peer)
        try:
            self._follow(run)
        finally:
            self._end(run)

    def put(self, cgroup_id: int, batch: list[Seen]) -> bool:
        """Take what was seen, and tell whether it is of one of the runs; for one thread."""
        run = self._runs.get(cgroup_id)
        if run is not None:
            run.outbox.put(batch)
        return run is not None

    def tell_dropped(self, kind: str, count: int) -> None:
        """Tell every launcher that records found no room: whose they were, nobody knows."""
        for run in self._all():
            with contextlib.suppress(OSError):
                self._send(run, Lost(kind, count))

    def cut_off(self) -> None:
        """End all connections. Whoever is watched goes on, and its launcher says that nobody watches any more."""
        self._is_over = True
        for run in self._all():
            with contextlib.suppress(OSError):
                run.connection.shutdown(socket.SHUT_RDWR)

    def _all(self) -> list[_Run]:
        with self._lock:
            return list(self._runs.values())

    def _admit(self, connection: socket.socket, pid: int, peer: Peer) -> _Run:
        """Put the child into a cgroup of its own and watch it.

        Raises:
            KernelError: it is not the peer's own child (`sensor_denied`), or there are too many runs (`sensor_full`).
        """
        with self._lock:
            own = sum(run.uid == peer.uid for run in self._runs.values())
            if len(self._runs) >= MAX_RUNS or (peer.uid != 0 and own >= MAX_RUNS_OF_A_USER):
                raise KernelError(
                    "the sensor watches too many runs", code="sensor_full", hint="wait for one to end"
                )
        _check_own_child(pid, peer)
        cgroup = Cgroup.make(f"run-{os.getpid()}-{secrets.token_hex(8)}")
        try:
            cgroup.add(pid)
            # Once more, now that it is where we look: a pid could have passed to somebody else in between.
            _check_own_child(pid, peer)
            run = _Run(connection, cgroup, peer.uid)
            run.skipped_before = self._observer.handover.skipped
            with self._lock:
                self._runs[cgroup.id] = run
            self._observer.watch(cgroup)
        except BaseException:
            self._runs.pop(cgroup.id, None)
            _let_go(cgroup)
            raise
        return run

    def _follow(self, run: _Run) -> None:
        """Tell the client what is seen until it says that its child has ended, or is gone."""
        self._send(run, Watching(self._observer.checks, dict(self._observer.missing)))
        sender = threading.Thread(target=self._send_batches, args=(run,), daemon=True)
        sender.start()
        run.connection.settimeout(None)
        asked = receive_asked(run.connection)
        left = end_all(run.cgroup)
        self._observer.unwatch(run.cgroup)
        self._settle()
        run.done.set()
        sender.join()
        if not isinstance(asked, Finish):
            _log.warning("a launcher is gone; %d processes that it had left were ended", left)
            return
        if skipped := run.outbox.skipped + self._observer.handover.skipped - run.skipped_before:
            self._send(run, Lost("file", skipped))
        traffic = self._observer.traffic(run.cgroup)
        self._send(run, Finished(traffic, left, self._observer.reader.counters.errors))

    def _send_batches(self, run: _Run) -> None:
        with contextlib.suppress(OSError):
            for batch in run.outbox.batches(run.done):
                if batch:
                    self._send(run, Batch(batch))

    def _send(self, run: _Run, message: Watching | Batch | Lost | Finished) -> None:
        with run.sending:
            send(run.connection, message)

    def _end(self, run: _Run) -> None:
        with self._lock:
            self._runs.pop(run.cgroup.id, None)
        if self._is_over:
            return
        self._observer.loaded.release(run.cgroup.id)
        self._observer.forget(run.cgroup)
        run.cgroup.remove()


def _check_own_child(pid: int, peer: Peer) -> None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    facts = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    parent, owner = facts.get("PPid", ["-1"])[0], facts.get("Uid", ["-1"])[0]
    if int(parent) != peer.pid or (peer.uid != 0 and int(owner) != peer.uid):
        raise KernelError(
            "only an own child can be watched",
            code="sensor_denied",
            hint="let `agentguard run` start the program",
        )


def _let_go(cgroup: Cgroup) -> None:
    """Put back what was moved, without ending it, and remove the cgroup."""
    for pid in cgroup.pids():
        with contextlib.suppress(OSError):
            (cgroup.path.parent.parent / "cgroup.procs").write_text(str(pid))
    with contextlib.suppress(AgentGuardError, OSError):
        cgroup.remove()

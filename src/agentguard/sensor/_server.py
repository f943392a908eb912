"""The sensor's side: one observer, many clients, each told of its own processes only."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import struct
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from agentguard.core import AgentGuardError, KernelError
from agentguard.kernel import Cgroup, Handover, Observer, clean_up, end_all
from agentguard.sensor._protocol import (
    AskHealth,
    Batch,
    Finish,
    Finished,
    Health,
    Lost,
    Refused,
    Watch,
    Watching,
    receive_asked,
    send,
)

if TYPE_CHECKING:
    from agentguard.kernel import Drop, Settings

MAX_RUNS = 64
MAX_RUNS_OF_A_USER = 16
_SEND_TIMEOUT_S = 10.0
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid
_log = logging.getLogger("agentguard.sensor")


class _Run:
    """One client's run: its cgroup, and what waits to be sent."""

    def __init__(self, connection: socket.socket, cgroup: Cgroup, uid: int) -> None:
        self.connection, self.cgroup, self.uid = connection, cgroup, uid
        self.outbox = Handover()
        self.sending = threading.Lock()
        self.done = threading.Event()


class Sensor:
    """Listens at `path` until `stop`. Load it as root.

    Raises:
        KernelError: this kernel or this user cannot observe, or the socket cannot be made (`sensor_socket`).
    """

    def __init__(self, path: Path, settings: Settings | None = None) -> None:
        clean_up()
        self._path = path
        self._listener = _listen(path)
        self._runs: dict[int, _Run] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._turn = 0
        self._began = time.monotonic()
        self._threads: list[threading.Thread] = []
        try:
            self._observer = Observer(settings, on_drop=self._note_drop)
        except BaseException:
            self._close_socket()
            raise

    def serve(self) -> None:
        """Serve clients until `stop` is called from elsewhere."""
        dispatcher = threading.Thread(target=self._dispatch, name="agentguard-dispatch", daemon=True)
        dispatcher.start()
        self._listener.settimeout(0.2)
        try:
            while not self._stopping.is_set():
                try:
                    connection, _ = self._listener.accept()
                except TimeoutError:
                    continue
                threading.Thread(target=self._attend, args=(connection,), daemon=True).start()
        finally:
            self._close_socket()
            with self._lock:
                runs = list(self._runs.values())
            for run in runs:
                # Whoever is watched goes on, and its launcher says that nobody watches any more.
                with contextlib.suppress(OSError):
                    run.connection.shutdown(socket.SHUT_RDWR)
            dispatcher.join(5)
            self._observer.close()

    def stop(self) -> None:
        """Have `serve` return."""
        self._stopping.set()

    def health(self) -> Health:
        """Return how it is."""
        counters = self._observer.reader.counters
        mean = counters.latency_ns_total / counters.batches / 1e6 if counters.batches else 0.0
        dropped = {"vital": counters.dropped_vital, "file": counters.dropped_file, "io": counters.dropped_io}
        return Health(
            version=version("agentguard"),
            uptime_s=round(time.monotonic() - self._began, 1),
            tier="observe",
            checks=self._observer.checks,
            missing=dict(self._observer.missing),
            runs=len(self._runs),
            records=counters.records,
            repeated=self._observer.reader.decoder.repeated,
            dropped=dropped,
            errors=counters.errors,
            backlog=self._observer.handover.backlog,
            latency_mean_ms=round(mean, 2),
            latency_max_ms=round(counters.latency_ns_max / 1e6, 2),
        )

    def _attend(self, connection: socket.socket) -> None:
        """Serve one client, in a thread of its own."""
        try:
            with connection:
                connection.settimeout(_SEND_TIMEOUT_S)
                try:
                    self._converse(connection)
                except KernelError as error:
                    send(connection, Refused(error.code, error.message, error.hint or ""))
        except OSError as error:
            _log.info("a client is gone: %s", error.strerror)
        except Exception as error:  # noqa: BLE001 - one client's trouble must not end the sensor
            _log.error("serving a client failed: %s", type(error).__name__)

    def _converse(self, connection: socket.socket) -> None:
        peer_pid, uid, _ = _CREDENTIALS.unpack(
            connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        asked = receive_asked(connection)
        if isinstance(asked, AskHealth):
            send(connection, self.health())
        elif isinstance(asked, Watch):
            run = self._admit(connection, asked.pid, peer_pid, uid)
            try:
                self._follow(run)
            finally:
                self._end(run)

    def _admit(self, connection: socket.socket, pid: int, peer_pid: int, uid: int) -> _Run:
        """Put the child into a cgroup of its own and watch it.

        Raises:
            KernelError: it is not the peer's own child (`sensor_denied`), or there are too many runs (`sensor_full`).
        """
        with self._lock:
            own = sum(run.uid == uid for run in self._runs.values())
            if len(self._runs) >= MAX_RUNS or (uid != 0 and own >= MAX_RUNS_OF_A_USER):
                raise KernelError(
                    "the sensor watches too many runs", code="sensor_full", hint="wait for one to end"
                )
        _check_own_child(pid, peer_pid, uid)
        cgroup = Cgroup.make(f"run-{os.getpid()}-{secrets.token_hex(8)}")
        try:
            cgroup.add(pid)
            # Once more, now that it is where we look: a pid could have passed to somebody else in between.
            _check_own_child(pid, peer_pid, uid)
            run = _Run(connection, cgroup, uid)
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
        self._wait_for_dispatch()
        run.done.set()
        sender.join()
        if not isinstance(asked, Finish):
            _log.warning("a launcher is gone; %d processes that it had left were ended", left)
            return
        if run.outbox.skipped:
            self._send(run, Lost("file", run.outbox.skipped))
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

    def _dispatch(self) -> None:
        """Give each client what is its own."""
        handover = self._observer.handover
        while not self._stopping.is_set():
            parts: dict[int, list[object]] = {}
            for seen in handover.take(0.05):
                parts.setdefault(seen.cgroup, []).append(seen)
            for cgroup_id, batch in parts.items():
                run = self._runs.get(cgroup_id)
                if run is not None:
                    run.outbox.put(batch)  # type: ignore[arg-type]  # a list of what `take` gave
            self._turn += 1

    def _wait_for_dispatch(self) -> None:
        """Wait until what was handed over by now has reached its clients."""
        while self._observer.handover.backlog and not self._stopping.is_set():
            time.sleep(0.005)
        turn = self._turn
        while self._turn < turn + 2 and not self._stopping.is_set():
            time.sleep(0.005)

    def _note_drop(self, drop: Drop, count: int) -> None:
        # Whose record it was, nobody knows: each is told.
        _log.error("%d records of class %s were lost", count, drop.name.lower())
        with self._lock:
            runs = list(self._runs.values())
        for run in runs:
            with contextlib.suppress(OSError):
                self._send(run, Lost(drop.name.lower(), count))

    def _end(self, run: _Run) -> None:
        with self._lock:
            self._runs.pop(run.cgroup.id, None)
        if self._stopping.is_set():
            return
        self._observer.loaded.release(run.cgroup.id)
        run.cgroup.remove()

    def _close_socket(self) -> None:
        self._listener.close()
        with contextlib.suppress(OSError):
            self._path.unlink()


def _listen(path: Path) -> socket.socket:
    """Return a socket that listens at `path`.

    Raises:
        KernelError: another sensor does, or it cannot be made (`sensor_socket`).
    """
    _refuse_second(path)
    listener = socket.socket(socket.AF_UNIX)
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        # Anybody may ask: what anybody is told depends on who the kernel says that it is.
        path.chmod(0o666)
        listener.listen(64)
    except OSError as error:
        listener.close()
        raise KernelError(
            f"the sensor cannot listen at `{path}`: {(error.strerror or str(error)).lower()}",
            code="sensor_socket",
            hint="take another --socket, in a folder of root's",
        ) from None
    return listener


def _refuse_second(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        if other.connect_ex(str(path)) == 0:
            raise KernelError(
                f"a sensor listens at `{path}` already",
                code="sensor_socket",
                hint="stop it, or take another --socket",
            )


def _check_own_child(pid: int, peer_pid: int, uid: int) -> None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    facts = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    parent, owner = facts.get("PPid", ["-1"])[0], facts.get("Uid", ["-1"])[0]
    if int(parent) != peer_pid or (uid != 0 and int(owner) != uid):
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

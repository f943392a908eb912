"""The sensor's side: one observer, many clients, each told of its own processes only."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from agentguard.core import Event, EventKind, KernelError
from agentguard.kernel import PARENT, Cgroup, Observer, clean_up, own_path
from agentguard.sensor._frames import Peer, peer_of, send
from agentguard.sensor._janitor import Janitor
from agentguard.sensor._outlet import Outlet
from agentguard.sensor._pods import PodDirectory
from agentguard.sensor._protocol import Watch, receive_asked
from agentguard.sensor._reload import renew
from agentguard.sensor._runs import Runs
from agentguard.sensor._spool import Spool
from agentguard.sensor._stream import (
    AskHealth,
    Attach,
    Health,
    Refused,
    Report,
    Standing,
    agent_of,
    encode_report,
    named,
)
from agentguard.sensor._watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.kernel import Drop, Seen, Settings
    from agentguard.sensor._settings import Watching as Agents

MAX_CONNECTIONS_OF_A_USER = 64
_SEND_TIMEOUT_S = 10.0
# How long a sidecar that is there has to take the rest when the sensor ends; what it does not take is kept.
_FLUSH_S = 3.0
TIER = "observe"
_log = logging.getLogger("agentguard.sensor")


class Sensor:
    """Listens at `path` until `stop`. Load it as root.

    With `agents` it watches those too that nobody launched, and keeps what they do for the sidecar of the project.
    `load_agents` reads the settings for that again when `reload` is called.
    `confine` gives up rights once everything is loaded, and returns the names of those that are left.

    Raises:
        KernelError: this kernel or this user cannot observe, or the socket cannot be made (`sensor_socket`).
        ConfigError: the buffer cannot be used.
    """

    def __init__(
        self,
        path: Path,
        settings: Settings | None = None,
        *,
        agents: Agents | None = None,
        load_agents: Callable[[], Agents] | None = None,
        confine: Callable[[], list[str]] | None = None,
    ) -> None:
        clean_up()
        self._path = path
        self._id = secrets.token_hex(8)
        self._connections: Counter[int] = Counter()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._dispatched = threading.Event()
        self._turn = 0
        self._is_ready = False
        self._agents, self._load_agents = agents, load_agents
        self._is_reload_due = threading.Event()
        self._began = time.monotonic()
        self._rights: list[str] = []
        self._watcher: Watcher | None = None
        self._outlet: Outlet | None = None
        self._spool: Spool | None = None
        with contextlib.ExitStack() as stack:
            if confine is not None:
                stack.callback(Janitor().dismiss)
            self._listener = _listen(path)
            stack.callback(self._close_socket)
            if agents is not None:
                self._spool = stack.enter_context(contextlib.closing(_open_spool(agents, self._id)))
            self._observer = stack.enter_context(
                Observer(settings, on_drop=self._note_drop, before_reading=lambda: self._confine(confine))
            )
            stack.callback(self._place.remove)
            self._runs = Runs(self._observer, settle=self._wait_for_dispatch)
            if agents is not None and self._spool is not None:
                self._watch_agents(agents, self._spool)
            self._is_ready = True
            self._stack = stack.pop_all()

    def _confine(self, give_up: Callable[[], list[str]] | None) -> None:
        """Give up rights. Before, take a place among the cgroups: their folder stays while it is there."""
        self._place = Cgroup.make(f"sensor-{os.getpid()}-{secrets.token_hex(4)}")
        if give_up is not None:
            self._rights = give_up()

    def _watch_agents(self, agents: Agents, spool: Spool) -> None:
        # The self-test was two levels below where the hierarchy is mounted.
        root_level = max(0, self._observer.loaded.levels.bit_length() - 3)
        self._watcher = Watcher(self._observer, spool, agents.rules, root_level=root_level, sensor=self._id)
        if agents.pods is not None:
            self._watcher.pods = PodDirectory(agents.pods, on_news=self._watcher.look_again)
        self._outlet = Outlet(spool, project=agents.project, uids=agents.uids, standing=self._standing)
        self._watcher.tell(
            "started", tier=TIER, self_test={each.name: each.ok for each in self._observer.checks},
            missing=dict(self._observer.missing), version=version("agentguard"), rights=self._rights,
            after_crash=not spool.was_closed, waiting=spool.waiting,
        )  # fmt: skip

    def serve(self) -> None:
        """Serve clients until `stop` is called from elsewhere."""
        dispatcher = threading.Thread(target=self._dispatch, name="agentguard-dispatch", daemon=True)
        dispatcher.start()
        self._listener.settimeout(0.2)
        try:
            if self._watcher is not None:
                self._watcher.start()
            while not self._stopping.is_set():
                if self._is_reload_due.is_set():
                    self._reload()
                try:
                    connection, _ = self._listener.accept()
                except TimeoutError:
                    continue
                self._welcome(connection)
        finally:
            self._stopping.set()
            self._close_socket()
            self._runs.cut_off()
            if self._watcher is not None:
                self._watcher.stop()
            self._dispatched.set()
            dispatcher.join(5)
            self._end_watching()
            self._stack.close()

    def _end_watching(self) -> None:
        """Put the rest into the buffer, and let a sidecar that is there have it."""
        if self._watcher is None or self._outlet is None or self._spool is None:
            return
        self._watcher.drain()
        counters = self._observer.reader.counters
        self._watcher.tell(
            "stopped", records=counters.records, errors=self._errors(), dropped=self._dropped()
        )
        self._outlet.flush(_FLUSH_S)
        self._outlet.wait_done(_FLUSH_S)

    def stop(self) -> None:
        """Have `serve` return."""
        self._stopping.set()

    def reload(self) -> None:
        """Have `serve` read again whom to watch; safe to call in a signal handler."""
        self._is_reload_due.set()

    def _reload(self) -> None:
        self._is_reload_due.clear()
        if self._agents is None or self._load_agents is None or self._watcher is None or self._outlet is None:
            _log.warning("there are no settings of a project to read again")
            return
        self._agents = renew(self._agents, self._load_agents, self._watcher, self._outlet)

    def health(self) -> Health:
        """Return how it is."""
        counters = self._observer.reader.counters
        mean = counters.latency_ns_total / counters.batches / 1e6 if counters.batches else 0.0
        watcher = self._watcher
        return Health(
            version=version("agentguard"),
            uptime_s=round(time.monotonic() - self._began, 1),
            tier=TIER,
            checks=self._observer.checks,
            missing=dict(self._observer.missing),
            runs=len(self._runs),
            records=counters.records,
            repeated=self._observer.reader.decoder.repeated,
            dropped=self._dropped(),
            errors=self._errors(),
            backlog=self._observer.handover.backlog,
            latency_mean_ms=round(mean, 2),
            latency_max_ms=round(counters.latency_ns_max / 1e6, 2),
            agents=len(watcher.agents()) if watcher is not None else 0,
            sidecar=self._outlet is not None and self._outlet.is_attached,
            buffer=self._spool.state() if self._spool is not None else None,
            pods=watcher.pods.problem if watcher is not None and watcher.pods is not None else "",
        )

    def _standing(self) -> Standing:
        return Standing(self._id, self.health(), self._watcher.agents() if self._watcher is not None else [])

    def _dropped(self) -> dict[str, int]:
        """Return what was lost on the way, and from the buffer: what is vital, and the rest."""
        counters = self._observer.reader.counters
        skipped = self._observer.handover.skipped if self._watcher is None else self._watcher.skipped
        file = counters.dropped_file + skipped
        dropped = {"vital": counters.dropped_vital, "file": file, "io": counters.dropped_io}
        if self._spool is not None:
            dropped["vital"] += self._spool.dropped["vital"]
            dropped["file"] += self._spool.dropped["ordinary"]
        return dropped

    def _errors(self) -> int:
        watched = self._watcher.errors if self._watcher is not None else 0
        return self._observer.reader.counters.errors + watched

    def _welcome(self, connection: socket.socket) -> None:
        """Serve one client in a thread of its own, unless its user has very many."""
        try:
            peer = peer_of(connection)
        except OSError:
            connection.close()
            return
        with self._lock:
            if self._connections[peer.uid] >= MAX_CONNECTIONS_OF_A_USER:
                connection.close()
                return
            self._connections[peer.uid] += 1
        threading.Thread(target=self._attend, args=(connection, peer), daemon=True).start()

    def _attend(self, connection: socket.socket, peer: Peer) -> None:
        try:
            self._serve(connection, peer)
        finally:
            with self._lock:
                self._connections[peer.uid] -= 1

    def _serve(self, connection: socket.socket, peer: Peer) -> None:
        try:
            with connection:
                connection.settimeout(_SEND_TIMEOUT_S)
                try:
                    self._converse(connection, peer)
                except KernelError as error:
                    send(connection, Refused(error.code, error.message, error.hint or ""))
        except OSError as error:
            _log.info("a client is gone: %s", error.strerror)
        except Exception as error:  # noqa: BLE001 - one client's trouble must not end the sensor
            _log.error("serving a client failed: %s", type(error).__name__)

    def _converse(self, connection: socket.socket, peer: Peer) -> None:
        # Now, while it is known to be alive: another could have its pid later.
        is_watched = self._is_watched(peer.pid)
        asked = receive_asked(connection)
        if isinstance(asked, AskHealth):
            send(connection, self.health())
        elif isinstance(asked, Watch | Attach) and is_watched:
            # It would take itself out of sight, or what was seen of it.
            raise KernelError(
                "whoever is watched cannot have others watched, or told",
                code="sensor_denied",
                hint="what it starts is watched with it",
            )
        elif isinstance(asked, Watch):
            self._runs.attend(connection, asked.pid, peer)
        elif isinstance(asked, Attach):
            if self._outlet is None:
                raise KernelError(
                    "the sensor watches for no project",
                    code="sensor_denied",
                    hint="start it with `--project`",
                )
            self._outlet.serve(connection, asked, peer)

    def _is_watched(self, pid: int) -> bool:
        """Tell whether a process is in a cgroup that is watched, which the kernel says; true if that cannot be said."""
        try:
            path = own_path(Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8"))
        except OSError:
            return True
        watched = [each.cgroup for each in self._watcher.agents()] if self._watcher is not None else []
        return any(f"{path}/".startswith(f"{each}/") for each in watched) or path.startswith(
            f"/{PARENT}/run-"
        )

    def _dispatch(self) -> None:
        """Give each client what is its own, and the watcher the rest."""
        handover = self._observer.handover
        while True:
            # INVARIANT: asked before the queue is looked at, or what comes in between is left there.
            is_over = self._dispatched.is_set()
            taken = handover.take(0.05)
            parts: dict[int, list[Seen]] = {}
            for seen in taken:
                parts.setdefault(seen.cgroup, []).append(seen)
            for cgroup_id, batch in parts.items():
                if not self._runs.put(cgroup_id, batch) and self._watcher is not None:
                    self._watcher.put(batch)
            self._turn += 1
            if not taken and is_over:
                return

    def _wait_for_dispatch(self) -> None:
        """Wait until what was handed over by now has reached its clients."""
        while self._observer.handover.backlog and not self._stopping.is_set():
            time.sleep(0.005)
        turn = self._turn
        while self._turn < turn + 2 and not self._stopping.is_set():
            time.sleep(0.005)

    def _note_drop(self, drop: Drop, count: int) -> None:
        kind = drop.name.lower()
        _log.error("%d records of class %s were lost", count, kind)
        if not self._is_ready:
            return  # that was the self-test's, which says what it did not see
        if self._watcher is not None and self._watcher.agents():
            self._watcher.tell_dropped(kind, count)
        self._runs.tell_dropped(kind, count)

    def _close_socket(self) -> None:
        self._listener.close()
        with contextlib.suppress(OSError):
            self._path.unlink()


def _open_spool(agents: Agents, sensor: str) -> Spool:
    def say_lost(counts: dict[str, int], by_agent: dict[str, int]) -> bytes:
        now = datetime.now(UTC)
        agents = [
            {"principal": principal, "session": session, "count": count}
            for (principal, session), count in ((named(key), count) for key, count in by_agent.items())
        ]
        facts = {"kind": "buffer", "count": sum(counts.values()), **counts, "agents": agents}
        event = Event(
            f"{sensor}-{time.time_ns():x}",
            EventKind.ALERT,
            now,
            payload={"action": "events.dropped", **facts},
        )
        record = {
            "type": "sensor",
            "phase": "dropped",
            "sensor": sensor,
            "happened": now.isoformat(),
            **facts,
        }
        return encode_report(Report(event, None, record))

    return Spool(agents.buffer_folder, max_bytes=agents.buffer_bytes, say_lost=say_lost, agent_of=agent_of)


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

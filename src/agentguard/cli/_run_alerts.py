"""Alerts of a run, on the terminal when they come, and all of them at its end."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

import click

from agentguard.cli._output import plain
from agentguard.core import AgentGuardError, EventError, EventFilter, EventKind
from agentguard.kernel import AlertSeen

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.cli._output import Output
    from agentguard.core import EventStore
    from agentguard.kernel import Brake

_POLL_S = 0.05
# Whoever compares is another process: what happened last may not have been looked at yet.
_PATIENCE_S = 0.3
_MOST = 1_000
_GRAVE = frozenset(("high", "critical"))


class AlertWatch:
    """Reads a run's alerts from the store, whoever wrote them, in a thread of its own until it is closed."""

    def __init__(
        self,
        store: EventStore,
        run: str,
        output: Output,
        on_alert: Callable[[AlertSeen], None] = lambda _alert: None,
    ) -> None:
        """Begin; `on_alert` is told of each, in that thread."""
        self._store, self._output, self._on_alert = store, output, on_alert
        self._wanted = EventFilter(kinds=(EventKind.ALERT,), session=run, action="truth.*")
        self._after = 0
        self._found: list[AlertSeen] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="agentguard-alerts", daemon=True)
        self._thread.start()

    def close(self, *, elsewhere: bool) -> list[AlertSeen]:
        """Return all that were told; `elsewhere` says that another process compares, and may be a moment behind."""
        self._stopping.set()
        self._thread.join()
        if elsewhere:
            time.sleep(_PATIENCE_S)
        self._look()
        self._store.close()
        return self._found

    def _run(self) -> None:
        while not self._stopping.wait(_POLL_S):
            self._look()

    def _look(self) -> None:
        try:
            found = self._store.read(self._wanted, after=self._after, limit=_MOST)
        except EventError:
            # The sidecar's page and log have them; the run must not end for it.
            return
        for each in found:
            self._after = each.seq
            payload = each.event.payload
            alert = AlertSeen(
                str(payload.get("severity", "")), str(payload.get("reason", "")), each.event.event_id
            )
            if len(self._found) < _MOST:
                self._found.append(alert)
            if not self._output.quiet and not self._output.as_json:
                click.echo(f"alert: {alert.severity}: {plain(alert.reason)}", err=True)
            self._on_alert(alert)


class AlertBrake:
    """Stops a run at its first grave alert: ends it, or freezes it until a person lets it go on or ends it.

    Without anybody to ask it is ended. Further alerts while somebody is asked change nothing; after he has let it go
    on, each new one stops it again.
    """

    def __init__(
        self,
        mode: str,
        brake: Brake,
        output: Output,
        record: Callable[..., None],
        *,
        asks: Callable[[str], bool],
    ) -> None:
        self._mode, self._brake, self._output, self._record, self._asks = mode, brake, output, record, asks
        self._busy = threading.Lock()

    def note(self, alert: AlertSeen) -> None:
        """Take in an alert; returns at once, as whoever is asked takes his time."""
        if alert.severity not in _GRAVE or not self._busy.acquire(blocking=False):
            return
        if self._mode == "kill":
            self._end(alert, "ended")
            return
        by = self._brake.freeze()
        self._put("frozen", by, alert)
        threading.Thread(target=self._ask, args=(alert,), name="agentguard-ask", daemon=True).start()

    def _ask(self, alert: AlertSeen) -> None:
        if not self._asks(alert.reason):
            self._end(alert, "ended: nobody lets it go on after")
            return
        self._put("thawed", "a person", alert)
        self._busy.release()
        self._brake.thaw()

    def _end(self, alert: AlertSeen, what: str) -> None:
        by = self._brake.end()
        # What is frozen cannot be buried by a kernel that has only signals.
        self._brake.thaw()
        self._put("stopped", by, alert)
        self._output.note(f"stop: the agent is {what}: {plain(alert.reason)}")

    def _put(self, phase: str, by: str, alert: AlertSeen) -> None:
        # A log that fails takes nothing away from the brake.
        with contextlib.suppress(AgentGuardError):
            self._record(phase, by=by, why=alert.reason, alert=alert.event_id)

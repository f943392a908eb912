"""Alerts of a run, on the terminal when they come, and all of them at its end."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import click

from agentguard.cli._output import plain
from agentguard.core import EventError, EventFilter, EventKind
from agentguard.kernel import AlertSeen

if TYPE_CHECKING:
    from agentguard.cli._output import Output
    from agentguard.core import EventStore

_POLL_S = 0.05
# Whoever compares is another process: what happened last may not have been looked at yet.
_PATIENCE_S = 0.3
_MOST = 1_000


class AlertWatch:
    """Reads a run's alerts from the store, whoever wrote them, in a thread of its own until it is closed."""

    def __init__(self, store: EventStore, run: str, output: Output) -> None:
        self._store, self._output = store, output
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

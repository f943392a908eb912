"""A project's events: published, kept, and held against what was decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentguard.assembly._assembly import Engine
    from agentguard.config import Config
    from agentguard.core import Event, EventStore
    from agentguard.events import TruthFollower


class Events:
    """A project's events: what is published on `bus` is written to `store`.

    Raises:
        EventError: the store cannot be opened.
    """

    def __init__(self, config: Config) -> None:
        # A cold `check` needs none of this.
        from agentguard.backends import SqliteEventStore
        from agentguard.events import EventRecorder, InProcessBus, Retention

        self.bus = InProcessBus()
        self.store = SqliteEventStore(config.events_file)
        keep = Retention(config.events.retention_days, config.events.max_events)
        self.recorder = EventRecorder(self.bus, self.store, keep)
        self._truth: TruthFollower | None = None

    def compare(
        self, engine: Engine, *, url: str | None = None, on_alert: Callable[[Event], None] | None = None
    ) -> None:
        """Hold what the kernel saw against what was decided, until this is closed.

        `url` is where agents ask: reaching for it needs no decision. An alert makes the sessions that it speaks of untrusted in `engine`; `on_alert` is told of it as well.
        """
        from agentguard.audit import LogTail
        from agentguard.events import Truth, TruthFollower

        project, config = engine.project, engine.project.config

        def facts_of(record: Mapping[str, Any]) -> Mapping[str, Any]:
            action, params = project.registry.resolve(str(record["action"])), record["params"]
            if action is None or not isinstance(params, dict):
                return {}
            resource = project.inventory.resolve(str(record["resource"]))
            return project.facts.extract(action.action, params, resource)

        def act(alert: Event) -> None:
            engine.distrust(alert)
            if on_alert is not None:
                on_alert(alert)

        door = urlsplit(url or "")
        # An agent may name this machine in its own way.
        doors = frozenset((host, door.port) for host in (door.hostname, "localhost") if host and door.port)
        self._truth = TruthFollower(
            Truth(facts_of, own=doors),
            records=LogTail(config.audit_folder),
            store=self.store,
            bus=self.bus,
            on_alert=act,
        )

    def close(self) -> int:
        """Write what was published; return how many events could not be written. Idempotent."""
        lost = self.recorder.close()
        if self._truth is not None:
            # Last, so that it has seen all that was written.
            self._truth.close()
        self.store.close()
        return lost


def read_events(config: Config) -> EventStore | None:
    """Return the project's event store, to be closed; None if nothing was ever stored.

    Raises:
        EventError: the store cannot be opened.
    """
    from agentguard.backends import SqliteEventStore

    return SqliteEventStore(config.events_file) if config.events_file.exists() else None

"""Following the log and the store, and telling where they contradict each other."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agentguard.backends import MemoryEventStore
from agentguard.core import Event, EventError, EventFilter, EventKind
from agentguard.events import InProcessBus, Truth, TruthFollower

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pytest

PATIENCE_S = 10


class Records:
    """A log's tail that hands out what is put in."""

    def __init__(self) -> None:
        self.waiting: list[Mapping[str, Any]] = []
        self.closed = False

    def take(self) -> Sequence[Mapping[str, Any]]:
        taken, self.waiting = self.waiting, []
        return taken

    def close(self) -> None:
        self.closed = True


def connect(host: str, number: int = 0) -> Event:
    payload = {
        "action": "net.connect",
        "resource": f"host:{host}:443",
        "effect": "deny",
        "port": 443,
        "address": host,
    }
    return Event(f"e-{host}-{number}", EventKind.NET, datetime.now(UTC), "agent", "run-1", payload)


def decision(host: str) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    return {
        "type": "decision",
        "event_id": "d",
        "timestamp": now,
        "principal": "agent",
        "action": "http.get@1",
        "resource": host,
        "effect": "allow",
        "params": {},
    }


def facts_of(record: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"net.host": (record["resource"],), "net.port": (443,)}


class Heard:
    """Collects alerts and says when the first came."""

    def __init__(self) -> None:
        self.alerts: list[Event] = []
        self.came = threading.Event()

    def __call__(self, alert: Event) -> None:
        self.alerts.append(alert)
        self.came.set()


def test_what_nobody_decided_is_told_stored_and_published() -> None:
    store, bus, records, heard = MemoryEventStore(), InProcessBus(), Records(), Heard()
    place = bus.subscribe("test")
    store.append([connect("198.51.100.1")])
    follower = TruthFollower(Truth(facts_of), records=records, store=store, bus=bus, on_alert=heard)
    records.waiting.append(decision("a.example.com"))
    store.append([connect("a.example.com"), connect("b.example.com")])
    assert heard.came.wait(PATIENCE_S)
    follower.close()
    [alert] = heard.alerts
    assert alert.payload["resource"] == "host:b.example.com:443"
    assert place.take(10, timeout_s=0) == [alert]
    assert [each.event for each in store.read(EventFilter(kinds=(EventKind.ALERT,)))] == [alert]
    assert records.closed


def test_closing_judges_what_was_stored_until_then() -> None:
    store, heard = MemoryEventStore(), Heard()
    follower = TruthFollower(
        Truth(facts_of), records=Records(), store=store, bus=InProcessBus(), on_alert=heard
    )
    store.append([connect("b.example.com")])
    follower.close()
    assert len(heard.alerts) == 1


def test_failing_subscriber_or_record_does_not_end_the_watch(caplog: pytest.LogCaptureFixture) -> None:
    store, records, heard = MemoryEventStore(), Records(), Heard()

    def fail(alert: Event) -> None:
        heard(alert)
        raise RuntimeError("no")

    follower = TruthFollower(Truth(facts_of), records=records, store=store, bus=InProcessBus(), on_alert=fail)
    records.waiting.append({"type": "decision"})
    store.append([connect("b.example.com"), connect("c.example.com")])
    follower.close()
    assert [each.payload["resource"] for each in heard.alerts] == [
        "host:b.example.com:443",
        "host:c.example.com:443",
    ]
    assert "cannot be compared" in caplog.text
    assert "could not be acted on" in caplog.text


class BrokenStore(MemoryEventStore):
    """A store that cannot be read while `broken`."""

    broken = True

    def read(self, wanted: EventFilter, **how: Any) -> Any:
        if self.broken:
            raise EventError("no disk")
        return super().read(wanted, **how)


def test_store_that_fails_is_said_once_and_read_again(caplog: pytest.LogCaptureFixture) -> None:
    store, heard = BrokenStore(), Heard()
    follower = TruthFollower(
        Truth(facts_of), records=Records(), store=store, bus=InProcessBus(), on_alert=heard
    )
    store.append([connect("b.example.com")])
    store.broken = False
    assert heard.came.wait(PATIENCE_S)
    follower.close()
    assert caplog.text.count("no disk") == 1

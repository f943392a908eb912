"""What of a run becomes events, and what happens when the store takes none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentguard.core import EventKind, Principal
from agentguard.events import InProcessBus
from agentguard.kernel import Judge, Publisher, Tally
from agentguard.kernel import _publish as publishing
from agentguard.kernel._layout import Kind
from agentguard.kernel._seen import Seen

if TYPE_CHECKING:
    import pytest

    from agentguard.core import Event


def opened(path: str, number: int, pid: int = 7) -> Seen:
    return Seen(Kind.OPEN, 1000 + number, 1, pid, 1, ret=3, path=path, comm="cat")


def traced(number: int) -> Seen:
    return Seen(Kind.PTRACE, 1000 + number, 1, 7, 1, ret=-1, a0=16, a1=1, comm="gdb")


def taken(bus_place: object) -> list[Event]:
    events: list[Event] = bus_place.take(1000, timeout_s=0)  # type: ignore[attr-defined]  # a subscription
    return events


def account(bus: InProcessBus) -> tuple[Tally, Publisher]:
    publisher = Publisher(bus, principal="agent", run="r")
    return Tally(Judge(None, principal=Principal("agent"), run="r"), publisher), publisher


def test_the_same_thing_done_again_is_told_once() -> None:
    bus = InProcessBus()
    place = bus.subscribe("test")
    tally, _ = account(bus)
    for number in range(3):
        tally.note(opened("/etc/hostname", number))
    tally.note(opened("/etc/hosts", 9))
    told = taken(place)
    assert [each.payload["path"] for each in told] == ["/etc/hostname", "/etc/hosts"]
    assert {(each.kind, each.principal, each.session) for each in told} == {(EventKind.FILE, "agent", "r")}
    assert told[0].payload["action"] == "file.read"
    assert len({each.event_id for each in told}) == 2


def test_an_attempt_is_an_alert_each_time() -> None:
    bus = InProcessBus()
    place = bus.subscribe("test")
    tally, _ = account(bus)
    tally.note(traced(1))
    tally.note(traced(2))
    assert [each.kind for each in taken(place)] == [EventKind.ALERT, EventKind.ALERT]


def test_a_store_that_takes_nothing_holds_the_account_up_only_so_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publishing, "_PATIENCE_S", 0.02)
    bus = InProcessBus()
    bus.subscribe("away", max_events=1)
    tally, publisher = account(bus)
    for number in range(4):
        tally.note(traced(number))
    for number in range(50):
        tally.note(opened(f"/tmp/{number}", 100 + number))
    assert publisher.lost == 3

"""The sidecar takes what the sensor has seen: in order, once, and only when it has it for good."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agentguard.backends import MemoryEventStore
from agentguard.core import (
    Decision,
    Effect,
    Event,
    EventError,
    EventFilter,
    KernelError,
    Principal,
    Request,
)
from agentguard.events import InProcessBus
from agentguard.sensor import SensorLink, ask_health
from agentguard.sensor._frames import receive, send
from agentguard.sensor._stream import Attach, Refused, Report, Reports, Taken, encode_report, told_decoder
from command_line import wait_for
from scripted_decider import ScriptedDecider, decided
from sensor_desk import AGENT, PROJECT, Desk, sighting
from sidecar import MemoryLog

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class FaultyStore(MemoryEventStore):
    """Takes nothing while `broken`."""

    broken = False

    def append(self, events: Sequence[Event]) -> int:
        if self.broken:
            raise EventError("the disk is full")
        return super().append(events)


class Sidecar:
    """What stands behind one link."""

    def __init__(self, path: Path, *, is_expected: bool = False, project: str = PROJECT) -> None:
        self.log, self.store, self.bus = MemoryLog(), FaultyStore(), InProcessBus()
        self.place = self.bus.subscribe("test")
        self.decider = ScriptedDecider(self._decide)
        self.link = SensorLink(
            path, project=project, decider=self.decider, audit=self.log, store=self.store, bus=self.bus,
            principal_named=lambda name: Principal(name, roles=("listed",)), is_expected=is_expected,
        )  # fmt: skip

    def _decide(self, request: Request) -> Decision:
        if not self.log.healthy:
            return decided(request, effect=Effect.DENY, stage="audit", reason="the disk is full", audit_id="")
        effect = Effect.ALLOW if request.resource == "file:/a" else Effect.DENY
        return decided(request, effect=effect, rule="r-1")

    def events(self) -> list[Event]:
        return [each.event for each in self.store.read(EventFilter(), limit=100_000)]

    def phases(self) -> list[str]:
        return [each["phase"] for each in self.log.records]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    # The path of a socket is short.
    path = Path(tempfile.mkdtemp(prefix="ag-")) / "s"
    made = Desk(path, tmp_path / "buffer", uids=frozenset((os.geteuid(),)))
    yield made
    made.close()
    made.spool.close()
    path.parent.rmdir()


@contextlib.contextmanager
def following(desk: Desk, **how: Any) -> Iterator[Sidecar]:
    sidecar = Sidecar(desk.path, **how)
    sidecar.link.start()
    try:
        yield sidecar
    finally:
        sidecar.link.close()
        sidecar.link.close()


def all_taken(desk: Desk) -> bool:
    return desk.spool.waiting == 0


def test_what_was_seen_is_decided_stored_and_handed_on(desk: Desk) -> None:
    desk.spool.append([(sighting(1), False), (sighting(2, "file:/secret"), True)])
    desk.open()
    with following(desk) as sidecar:
        wait_for(lambda: all_taken(desk))
        first, second = sidecar.events()
        assert first.payload == {
            "action": "file.read", "resource": "file:/a", "effect": "allow", "reason": "rule `all`", "rule": "r-1",
        }  # fmt: skip
        assert second.payload["effect"] == "deny"
        request = sidecar.decider.requests[0]
        assert request.principal == Principal("support-bot", roles=("listed",))
        assert (request.action, request.resource, request.params) == (
            "file.read",
            "file:/a",
            {"path": "file:/a"},
        )
        assert request.context.session == "s-1"
        assert request.context.attributes == {"pep": "kernel", "observed": True}
        assert sidecar.place.take(10, timeout_s=5) == [first, second]
        state = sidecar.link.state()
        assert (state.connected, state.problem, state.reports) == (True, "", 2)
        assert (state.decisions["allow"], state.decisions["deny"]) == (1, 1)
        assert state.agents == [AGENT]
        assert state.health is not None


def test_tier_and_verdicts_of_the_self_test_are_on_record(desk: Desk) -> None:
    desk.spool.append(
        [(encode_report(Report(record={"type": "sensor", "phase": "started", "tier": "observe"})), True)]
    )
    desk.open()
    with following(desk) as sidecar:
        wait_for(lambda: all_taken(desk))
        attached, started = sidecar.log.records
    assert (attached["phase"], attached["tier"], attached["self_test"]) == (
        "attached",
        "observe",
        {"files": True},
    )
    assert attached["missing"] == {"dns": "no room"}
    assert (started["type"], started["phase"]) == ("sensor", "started")


def test_what_was_cut_off_is_denied_and_not_asked(desk: Desk) -> None:
    desk.spool.append([(sighting(1, known=False), True)])
    desk.open()
    with following(desk) as sidecar:
        wait_for(lambda: all_taken(desk))
        assert sidecar.events()[0].payload["effect"] == "deny"
        assert sidecar.decider.requests == []


def test_what_is_told_late_says_so(desk: Desk) -> None:
    desk.spool.append([(sighting(1), True), (sighting(2, age_s=60), True)])
    desk.open()
    with following(desk) as sidecar:
        wait_for(lambda: all_taken(desk))
        assert [each.payload.get("late") for each in sidecar.events()] == [None, True]


def test_same_thing_again_is_one_decision(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.spool.append([(sighting(number, f"file:/{'ab'[number % 2]}"), True) for number in range(6)])
    desk.open()
    with following(desk) as sidecar:
        wait_for(lambda: all_taken(desk))
        assert len(sidecar.decider.requests) == 2
        assert [each.payload["effect"] for each in sidecar.events()] == ["allow", "deny"] * 3
        assert sidecar.link.state().decisions["allow"] == 3
        # Of very many the verdicts are forgotten, and asked for again.
        monkeypatch.setattr("agentguard.sensor._link.MAX_VERDICTS", 2)
        desk.spool.append([(sighting(7, "file:/c"), True), (sighting(8, "file:/a"), True)])
        wait_for(lambda: all_taken(desk))
        assert len(sidecar.decider.requests) == 4


def test_sensor_that_goes_away_and_comes_back_is_followed_again(desk: Desk) -> None:
    desk.open()
    with following(desk) as sidecar:
        wait_for(lambda: sidecar.link.state().connected)
        desk.close()
        wait_for(lambda: not sidecar.link.state().connected)
        assert sidecar.link.state().problem
        desk.spool.append([(sighting(number), True) for number in range(5)])
        desk.open()
        wait_for(lambda: all_taken(desk))
        assert [each.event_id for each in sidecar.events()] == [f"e-{number}" for number in range(5)]
        assert sidecar.phases() == ["attached", "away", "attached"]
        assert sidecar.link.state().connections == 2


def test_sidecar_that_comes_late_gets_everything(desk: Desk) -> None:
    desk.open()
    desk.spool.append([(sighting(number), True) for number in range(3000)])
    with following(desk) as sidecar:
        wait_for(lambda: all_taken(desk))
        assert len(sidecar.events()) == 3000
    desk.spool.append([(sighting(3000), True)])
    with following(desk) as other:
        wait_for(lambda: all_taken(desk))
        assert [each.event_id for each in other.events()] == ["e-3000"]


def test_log_that_takes_nothing_leaves_the_rest_with_the_sensor(desk: Desk) -> None:
    desk.open()
    with following(desk) as sidecar:
        wait_for(lambda: sidecar.link.state().connected)
        sidecar.log.healthy = False
        desk.spool.append([(sighting(1), True), (sighting(2), True)])
        wait_for(lambda: sidecar.decider.requests)
        wait_for(lambda: sidecar.link.state().problem)
        assert (desk.spool.waiting, sidecar.events()) == (2, [])
        sidecar.log.healthy = True
        wait_for(lambda: all_taken(desk))
        assert [each.event_id for each in sidecar.events()] == ["e-1", "e-2"]


def test_store_that_takes_nothing_has_nothing_decided_twice(desk: Desk) -> None:
    desk.open()
    with following(desk) as sidecar:
        wait_for(lambda: sidecar.link.state().connected)
        sidecar.store.broken = True
        desk.spool.append([(sighting(1), True)])
        wait_for(lambda: sidecar.link.state().connections > 1)
        assert desk.spool.waiting == 1
        sidecar.store.broken = False
        wait_for(lambda: all_taken(desk))
        assert len(sidecar.events()) == 1
        assert len(sidecar.decider.requests) == 1


def test_sidecar_of_another_project_is_refused(desk: Desk) -> None:
    desk.spool.append([(sighting(1), True)])
    desk.open()
    with following(desk, project="other") as sidecar:
        wait_for(lambda: "another project" in sidecar.link.state().problem)
        assert sidecar.log.records == []
    assert desk.spool.waiting == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_user_who_is_not_the_projects_is_refused(desk: Desk) -> None:
    desk.path.parent.chmod(0o755)
    desk.open()
    desk.path.chmod(0o666)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        os.setgid(65534)
        os.setuid(65534)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(desk.path))
            send(connection, Attach(PROJECT))
            told = receive(connection, told_decoder)
            os.write(writer, (told.code if isinstance(told, Refused) else repr(told)).encode())
        os._exit(0)
    os.close(writer)
    assert os.read(reader, 100) == b"sensor_denied"
    os.close(reader)
    os.waitpid(child, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_socket_of_another_user_is_not_believed(desk: Desk) -> None:
    desk.path.parent.chmod(0o777)
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        os.setgid(65534)
        os.setuid(65534)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(desk.path))
            listener.listen()
            os.write(told, b".")
            os.close(told)
            os.read(ready, 0)
            listener.accept()[0].recv(1)
        os._exit(0)
    assert os.read(ready, 1) == b"."
    with following(desk) as sidecar:
        wait_for(lambda: "is user 65534's" in sidecar.link.state().problem)
        assert sidecar.log.records == []
    os.waitpid(child, 0)
    for each in (ready, told):
        os.close(each)
    desk.path.unlink()


def test_failure_of_the_sidecar_itself_leaves_everything_with_the_sensor(desk: Desk) -> None:
    desk.open()
    with following(desk) as sidecar:
        sidecar.decider.answer = lambda _: 1 / 0
        desk.spool.append([(sighting(1), True)])
        wait_for(lambda: "the sidecar failed" in sidecar.link.state().problem)
        assert desk.spool.waiting == 1


def test_second_sidecar_waits_until_the_first_is_gone(desk: Desk) -> None:
    desk.open()
    with following(desk) as first:
        wait_for(lambda: first.link.state().connected)
        with following(desk) as second:
            wait_for(lambda: "another sidecar" in second.link.state().problem)
            first.link.close()
            wait_for(lambda: second.link.state().connected)


@pytest.mark.parametrize(("is_expected", "phases"), [(True, ["missing"]), (False, [])])
def test_sensor_that_should_be_there_and_is_not_is_on_record(
    desk: Desk, *, is_expected: bool, phases: list[str]
) -> None:
    with following(desk, is_expected=is_expected) as sidecar:
        wait_for(lambda: "no sensor" in sidecar.link.state().problem)
        wait_for(lambda: sidecar.phases() == phases)


def test_reports_that_cannot_be_read_are_not_taken(desk: Desk) -> None:
    desk.spool.append([(sighting(1), True), (b"\xc1", True)])
    desk.open()
    with following(desk) as sidecar:
        wait_for(lambda: "cannot be read" in sidecar.link.state().problem)
        wait_for(lambda: desk.spool.waiting == 1)
        assert [each.event_id for each in sidecar.events()] == ["e-1"]


def test_part_that_was_taken_is_not_told_again(desk: Desk) -> None:
    desk.spool.append([(sighting(number), True) for number in range(3)])
    desk.open()
    told: list[list[int]] = []
    for take in (2, 3):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(desk.path))
            send(connection, Attach(PROJECT))
            while not isinstance(part := receive(connection, told_decoder), Reports):
                assert part is not None
            told.append([place for place, _ in part.items])
            send(connection, Taken(take))
            wait_for(lambda: desk.spool.waiting == 3 - take)  # noqa: B023 - asked at once
        wait_for(lambda: not desk.outlet.is_attached)
    assert told == [[1, 2, 3], [3]]


def test_sidecar_that_goes_silently_is_let_go(desk: Desk) -> None:
    desk.open()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(desk.path))
        send(connection, Attach(PROJECT))
        wait_for(lambda: desk.outlet.is_attached)
    wait_for(lambda: not desk.outlet.is_attached)


def test_end_waits_for_a_sidecar_that_is_there(desk: Desk) -> None:
    desk.open()
    with following(desk) as sidecar:
        wait_for(lambda: sidecar.link.state().connected)
        desk.spool.append([(sighting(number), True) for number in range(100)])
        desk.outlet.flush(10)
        assert desk.spool.waiting == 0
        desk.outlet.wait_done(10)


def test_health_of_what_is_no_sensor_is_an_error(desk: Desk) -> None:
    desk.open()
    with pytest.raises(KernelError) as caught:
        ask_health(desk.path)
    assert caught.value.code == "sensor_protocol"

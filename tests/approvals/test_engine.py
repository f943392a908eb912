"""What is the embedded engine's own: telling people, full disks, clocks that are set, several processes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from agentguard.approvals import EmbeddedEngine, Rules, SteadyClock
from agentguard.backends import MemoryApprovalStore, SqliteApprovalStore
from agentguard.core import (
    ApprovalError,
    ApprovalState,
    AuditError,
    BreakGlass,
    CastVote,
    Consume,
    EventKind,
    Notice,
    NoticeKind,
    NotifyError,
    Route,
    Severity,
)
from agentguard.events import InProcessBus
from approval_scene import ANNA, HERE, PEOPLE, ROOT, START, HandClock, ListLog, draft

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DEADLINE_S = 20.0
YES = CastVote(person=ANNA, origin=HERE, approves=True)
USE = Consume(binding=draft().binding, policy_version="")


class Bell:
    """A notifier that remembers; `is_broken` lets it refuse."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.is_broken = False

    def notify(self, notice: Notice) -> None:
        if self.is_broken:
            raise NotifyError("no room")
        self.notices.append(notice)

    def close(self) -> None:
        """Nothing to do."""


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_people_are_told_each_thing_once_and_everybody_of_an_emergency() -> None:
    bell, bus = Bell(), InProcessBus()
    seen = bus.subscribe("test")
    engine = EmbeddedEngine(
        MemoryApprovalStore(),
        audit=ListLog(),
        bus=bus,
        notifier=bell,
        find_person=PEOPLE.get,
        keeps_time=True,
    )
    asked = engine.open(draft())
    engine.apply(asked.id, BreakGlass(person=ROOT, origin=HERE, reason="it burns"))
    engine.close()
    assert [each.kind for each in bell.notices] == [
        NoticeKind.APPROVAL_PENDING,
        NoticeKind.GLASS_BROKEN,
        NoticeKind.APPROVAL_DECIDED,
    ]
    assert [each.everyone for each in bell.notices] == [False, True, False]
    assert [each.severity for each in bell.notices] == [Severity.HIGH, Severity.CRITICAL, Severity.HIGH]
    assert ("principal", "deploy-agent on behalf of olga") in bell.notices[0].fields
    events = seen.take(10, timeout_s=0)
    assert [each.payload["status"] for each in events] == ["opened", "glass_broken", "approved"]
    assert {each.kind for each in events} == {EventKind.APPROVAL}
    assert len({each.event_id for each in events}) == 3


def test_a_bell_that_is_broken_rings_later_and_blocks_nobody() -> None:
    bell = Bell()
    bell.is_broken = True
    engine = EmbeddedEngine(MemoryApprovalStore(), audit=ListLog(), notifier=bell, keeps_time=True)
    asked = engine.open(draft())
    assert engine.apply(asked.id, YES).state is ApprovalState.APPROVED
    bell.is_broken = False
    until(lambda: len(bell.notices) == 2)
    engine.close()


def test_a_full_disk_keeps_the_vote_and_records_it_later(tmp_path: Path) -> None:
    log = ListLog()
    engine = EmbeddedEngine(SqliteApprovalStore(tmp_path / "a.sqlite"), audit=log, keeps_time=True)
    asked = engine.open(draft())
    log.is_full = True
    with pytest.raises(AuditError):
        engine.apply(asked.id, YES)
    assert engine.wait(asked.id).state is ApprovalState.APPROVED
    log.is_full = False
    until(lambda: log.steps(asked.id) == ["opened", "voted", "approved"])
    engine.close()


def test_a_refused_vote_is_refused_though_the_log_is_full() -> None:
    log = ListLog()
    engine = EmbeddedEngine(MemoryApprovalStore(), audit=log)
    asked = engine.open(draft())
    log.is_full = True
    with pytest.raises(ApprovalError):
        engine.apply(asked.id, USE)


def test_a_clock_that_is_set_ends_no_approval_and_is_told() -> None:
    wall, elapsed, bell, log = HandClock(), [0.0], Bell(), ListLog()
    clock = SteadyClock(wall, elapsed=lambda: elapsed[0])
    engine = EmbeddedEngine(
        MemoryApprovalStore(), audit=log, notifier=bell, clock=clock, find_person=PEOPLE.get, keeps_time=True
    )
    asked = engine.open(draft())
    wall.advance(1_000_000)
    assert engine.wait(asked.id).state is ApprovalState.PENDING
    wall.advance(-2_000_000)
    elapsed[0] += 3599
    assert engine.wait(asked.id).state is ApprovalState.PENDING
    elapsed[0] += 2
    until(lambda: engine.wait(asked.id).state is ApprovalState.EXPIRED)
    engine.close()
    assert "clock_jumped" in {each["status"] for each in log.records}
    assert NoticeKind.CLOCK_JUMPED in {each.kind for each in bell.notices}


def test_a_clock_set_back_while_nobody_looked_does_not_make_time_run_again(tmp_path: Path) -> None:
    path, wall = tmp_path / "a.sqlite", HandClock()
    first = EmbeddedEngine(SqliteApprovalStore(path), audit=ListLog(), clock=SteadyClock(wall))
    asked = first.open(draft())
    first.close()
    wall.advance(-10_000)
    second = EmbeddedEngine(
        SqliteApprovalStore(path), audit=ListLog(), clock=SteadyClock(wall), keeps_time=True
    )
    assert second.apply(asked.id, YES).steps[-1].at >= START
    second.close()


def test_a_vote_in_another_process_reaches_who_waits_here(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    here = EmbeddedEngine(SqliteApprovalStore(path), audit=ListLog())
    there = EmbeddedEngine(SqliteApprovalStore(path), audit=ListLog(), keeps_time=True)
    asked = here.open(draft())
    settled = here.wait(asked.id)
    there.apply(asked.id, YES)
    deadline = time.monotonic() + DEADLINE_S
    while settled.state is ApprovalState.PENDING:
        assert time.monotonic() < deadline
        settled = here.wait(asked.id, revision=settled.revision, timeout_s=5)
    assert settled.state is ApprovalState.APPROVED
    here.close()
    there.close()


def test_who_waits_without_a_sidecar_is_told_when_the_time_is_up() -> None:
    engine = EmbeddedEngine(MemoryApprovalStore(), audit=ListLog())
    asked = engine.open(draft(route=Route(limit_s=0.05)))
    until(lambda: engine.wait(asked.id).state is ApprovalState.EXPIRED)
    with pytest.raises(ApprovalError):
        engine.apply(asked.id, YES)
    engine.close()


def test_what_is_used_without_an_outcome_is_marked_in_time() -> None:
    log = ListLog()
    engine = EmbeddedEngine(
        MemoryApprovalStore(), audit=log, rules=Rules(outcome_within_s=0.1), keeps_time=True
    )
    asked = engine.open(draft())
    engine.apply(asked.id, YES)
    engine.apply(asked.id, USE)
    until(lambda: "effect_unknown" in log.steps(asked.id))
    engine.close()


def test_an_edit_that_cannot_be_let_through_is_refused_at_once() -> None:
    engine = EmbeddedEngine(
        MemoryApprovalStore(), audit=ListLog(), check_edit=lambda _approval, _patch: "no such parameter"
    )
    asked = engine.open(draft())
    with pytest.raises(ApprovalError) as caught:
        engine.apply(asked.id, CastVote(person=ANNA, origin=HERE, approves=True, patch={"x": 1}))
    assert caught.value.code == "patch_refused"

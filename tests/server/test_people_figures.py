"""Approvals and notices in the metrics, from real engines and outboxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentguard.approvals import EmbeddedEngine
from agentguard.backends import MemoryApprovalStore, SqliteOutbox
from agentguard.core import CastVote, Quorum, Route, SystemClock
from agentguard.notify import Draft
from approval_scene import ANNA, HERE, PEOPLE, ListLog, draft
from notify_world import notice
from sidecar import World, running

if TYPE_CHECKING:
    from pathlib import Path


def _lines(world: World) -> dict[str, str]:
    text = world.ask("GET", "/metrics").body.decode()
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))


def _begin(engine: EmbeddedEngine, number: int) -> str:
    now = SystemClock().now()
    route = Route(quorum=Quorum(1), limit_s=3600.0)
    return engine.open(draft(number, route=route, opened_at=now, deadline=now)).id


def test_approvals_are_counted_by_state_and_by_what_happened() -> None:
    engine = EmbeddedEngine(MemoryApprovalStore(), audit=ListLog(), find_person=PEOPLE.get)
    before = _begin(engine, 1)
    with running(World(approvals=engine)) as world:
        _begin(engine, 2)
        lines = _lines(world)
        assert lines['agentguard_approvals{state="pending"}'] == "2.0"
        # The first was asked for before this server began.
        assert lines['agentguard_approval_steps_total{status="opened"}'] == "1.0"
        engine.apply(before, CastVote(person=ANNA, origin=HERE, approves=True))
        engine.apply(_begin(engine, 3), CastVote(person=ANNA, origin=HERE, approves=False))
        for _ in range(2):
            lines = _lines(world)
            assert lines['agentguard_approvals{state="pending"}'] == "1.0"
            assert lines['agentguard_approvals{state="approved"}'] == "1.0"
            for status, number in (
                ("opened", "2.0"),
                ("approved", "1.0"),
                ("denied", "1.0"),
                ("expired", "0.0"),
            ):
                assert lines[f'agentguard_approval_steps_total{{status="{status}"}}'] == number
        engine.close()
        assert not any("agentguard_approval" in line for line in _lines(world))


def test_notices_are_counted_by_channel_and_state(tmp_path: Path) -> None:
    outbox = SqliteOutbox(tmp_path / "outbox.sqlite")
    drafts = [Draft(notice(number), "mail", str(number), 0.0) for number in (1, 2, 3)]
    outbox.add(drafts, now=0.0, repeat_after_s=0.0)
    numbers = [each.number for each in outbox.due("mail", now=1.0, limit=9)]
    outbox.settle(numbers[0], "sent")
    outbox.settle(numbers[1], "dead", reason="no such address")
    with running(World(notices=outbox.counts)) as world:
        lines = _lines(world)
        for state in ("sent", "dead", "waiting"):
            assert lines[f'agentguard_notices{{channel="mail",state="{state}"}}'] == "1.0"
        outbox.close()
        assert not any("agentguard_notices" in line for line in _lines(world))

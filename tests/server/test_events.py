"""`GET /v1/events`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from agentguard.core import Event, EventError, EventKind
from sidecar import ADMIN, AGENT, World, running

if TYPE_CHECKING:
    from collections.abc import Iterator

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
KINDS = (EventKind.FILE, EventKind.NET, EventKind.PROC, EventKind.FILE)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    made = World()
    made.events.append(
        [
            Event(f"e-{number}", kind, START + timedelta(seconds=number), "agent", "run-1", {"action": "x.y"})
            for number, kind in enumerate(KINDS, start=1)
        ]
    )
    with running(made):
        yield made


@pytest.mark.parametrize(
    ("query", "seqs", "following"),
    [
        ("", [1, 2, 3, 4], None),
        ("kind=file", [1, 4], None),
        ("kind=net,proc", [2, 3], None),
        ("limit=3", [1, 2, 3], 3),
        ("limit=3&after=3", [4], None),
        ("principal=ag*&session=run-1&action=x.*", [1, 2, 3, 4], None),
        ("effect=deny", [], None),
        ("resource=**", [1, 2, 3, 4], None),
        ("since=2026-01-31T12:00:03Z", [3, 4], None),
        ("until=2026-01-31T12:00:02Z", [1], None),
    ],
)
def test_events_are_filtered_and_paged(
    world: World, query: str, seqs: list[int], following: int | None
) -> None:
    body = world.ask("GET", f"/v1/events?{query}", token=ADMIN).json()
    assert ([each["seq"] for each in body["events"]], body["next"]) == (seqs, following)


def test_an_event_is_shown_whole(world: World) -> None:
    body = world.ask("GET", "/v1/events?limit=1", token=ADMIN).json()
    assert body["events"][0] == {
        "seq": 1,
        "event_id": "e-1",
        "kind": "file",
        "time": "2026-01-31T12:00:01Z",
        "principal": "agent",
        "session": "run-1",
        "payload": {"action": "x.y"},
    }


@pytest.mark.parametrize("query", ["kind=thing", "limit=0", "who=me", "since=yesterday"])
def test_a_malformed_query_is_refused(world: World, query: str) -> None:
    reply = world.ask("GET", f"/v1/events?{query}", token=ADMIN)
    assert (reply.status, reply.code) == (400, "query_invalid")


def test_an_agent_may_not_look(world: World) -> None:
    assert world.ask("GET", "/v1/events", token=AGENT).status == 403


def test_a_store_that_cannot_be_read_is_a_clear_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise EventError("the disk is gone", hint="look at it")

    monkeypatch.setattr(world.events, "read", fail)
    reply = world.ask("GET", "/v1/events", token=ADMIN)
    assert (reply.status, reply.code) == (503, "events_unavailable")

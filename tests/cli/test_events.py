from __future__ import annotations

import json
import signal
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from agentguard.backends import SqliteEventStore
from agentguard.cli.events import line_of
from agentguard.core import Event, EventKind, StoredEvent
from command_line import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command_line import Command

START = datetime.now(UTC) - timedelta(minutes=5)
FILE = {"action": "file.read", "resource": "file:///etc/shadow", "effect": "deny", "reason": "no", "pid": 7}


def event(number: int, kind: EventKind, **payload: object) -> Event:
    return Event(f"e-{number}", kind, START + timedelta(seconds=number), "agent", "run-1", payload)


@pytest.fixture
def store(agentguard: Command) -> Iterator[SqliteEventStore]:
    made = SqliteEventStore(agentguard.folder / "events" / "events.sqlite")
    made.append(
        [
            event(1, EventKind.FILE, **FILE),
            event(2, EventKind.NET, action="net.connect", resource="https://example.com", effect="allow"),
            event(3, EventKind.PROC, action="process.exec", resource="file:///bin/sh"),
        ]
    )
    yield made
    made.close()


@pytest.mark.parametrize(
    ("filters", "seqs"),
    [
        ((), [1, 2, 3]),
        (("--last", "2"), [2, 3]),
        (("--kind", "net", "--kind", "proc"), [2, 3]),
        (("--action", "file.*"), [1]),
        (("-r", "file:///etc/*"), [1]),
        (("--effect", "deny"), [1]),
        (("--principal", "ag*", "--session", "run-1"), [1, 2, 3]),
        (("--session", "run-2"), []),
        (("--since", "1h"), [1, 2, 3]),
        (("--until", "1h"), []),
    ],
)
@pytest.mark.usefixtures("store")
def test_filters_narrow_what_is_shown(agentguard: Command, filters: tuple[str, ...], seqs: list[int]) -> None:
    found = agentguard("events", "query", "--json", *filters).json()
    assert [each["seq"] for each in found] == seqs


@pytest.mark.usefixtures("store")
def test_query_has_one_line_an_event(agentguard: Command) -> None:
    lines = agentguard("events", "query").out.splitlines()
    assert len(lines) == 3
    assert "file  ✘ deny agent: file.read on file:///etc/shadow [pid 7] (no)" in lines[0]


def test_without_events_it_says_what_to_try(agentguard: Command) -> None:
    ran = agentguard("events", "query")
    assert (ran.code, ran.out) == (0, "no event; try `agentguard run`\n")
    assert not (agentguard.folder / "events").exists()


def test_a_line_cannot_steer_the_terminal() -> None:
    hostile = event(1, EventKind.FILE, action="file.read", resource="x\x1b[2J", note={"a": "\u202e"})
    line = line_of(StoredEvent(1, hostile))
    assert "\x1b" not in line
    assert "\u202e" not in line


def test_a_file_that_is_no_store_is_an_error_with_a_hint(agentguard: Command) -> None:
    agentguard.write("events/events.sqlite", "not a database, and long enough to be looked at" * 20)
    ran = agentguard("events", "query")
    assert ran.code != 0
    assert "cannot open the event store" in ran.err
    assert "hint:" in ran.err


def test_tail_begins_with_the_newest_and_follows(agentguard: Command, store: SqliteEventStore) -> None:
    with agentguard.spawn("events", "tail", "--last", "1", "--json") as tail:
        assert tail.stdout is not None
        assert json.loads(tail.stdout.readline())["seq"] == 3
        store.append([event(4, EventKind.FILE, **FILE)])
        assert json.loads(tail.stdout.readline())["seq"] == 4
        tail.send_signal(signal.SIGINT)
        out, err = tail.communicate(timeout=20)
        assert (tail.returncode, out, err) == (0, "", "")


def test_tail_waits_for_a_store_that_is_not_there_yet(agentguard: Command) -> None:
    with agentguard.spawn("events", "tail", "--json", "--kind", "net") as tail:
        assert tail.stdout is not None
        assert wait_for(lambda: tail.poll() is None)
        made = SqliteEventStore(agentguard.folder / "events" / "events.sqlite")
        made.append([event(1, EventKind.FILE), event(2, EventKind.NET)])
        assert json.loads(tail.stdout.readline())["event_id"] == "e-2"
        made.close()
        tail.send_signal(signal.SIGINT)
        assert tail.wait(20) == 0

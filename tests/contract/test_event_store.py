"""One suite for every `EventStore`."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.backends import MemoryEventStore, SqliteEventStore
from agentguard.core import Event, EventError, EventFilter, EventKind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agentguard.core import EventStore

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
ALL = EventFilter()


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventStore]:
    made: EventStore = (
        MemoryEventStore()
        if request.param == "memory"
        else SqliteEventStore(tmp_path / "e" / "events.sqlite")
    )
    yield made
    made.close()


def event(number: int = 1, kind: EventKind = EventKind.FILE, **payload: Any) -> Event:
    """Return the event of the given second."""
    return Event(f"e-{number}", kind, START + timedelta(seconds=number), "agent", "s-1", payload)


def numbers(store: EventStore, wanted: EventFilter = ALL, **more: Any) -> list[str]:
    return [each.event.event_id for each in store.read(wanted, **more)]


def test_events_come_back_as_they_were_in_order_with_growing_places(store: EventStore) -> None:
    given_events = [event(1, action="file.read", resource="file:///a", nested={"n": [1, None]}), event(2)]
    assert store.append(given_events) == 2
    found = store.read(ALL)
    assert [each.event for each in found] == given_events
    assert found[0].seq < found[1].seq


def test_an_event_that_is_sent_again_is_kept_once(store: EventStore) -> None:
    assert store.append([event(1), event(2)]) == 2
    assert store.append([event(2), event(3)]) == 1
    assert numbers(store) == ["e-1", "e-2", "e-3"]


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ({"limit": 2}, ["e-1", "e-2"]),
        ({"limit": 2, "newest": True}, ["e-2", "e-3"]),
        ({"limit": 9, "newest": True}, ["e-1", "e-2", "e-3"]),
        ({"limit": 0, "newest": True}, []),
    ],
)
def test_the_first_or_the_newest_are_read(
    store: EventStore, which: dict[str, Any], expected: list[str]
) -> None:
    store.append([event(1), event(2), event(3)])
    assert numbers(store, **which) == expected


def test_reading_goes_on_after_a_place(store: EventStore) -> None:
    store.append([event(1), event(2)])
    place = store.read(ALL)[0].seq
    assert numbers(store, after=place) == ["e-2"]
    assert numbers(store, after=place + 1) == []


FILTERS: list[tuple[EventFilter, list[str]]] = [
    (ALL, ["e-1", "e-2", "e-3"]),
    (EventFilter(kinds=(EventKind.NET, EventKind.PROC)), ["e-2", "e-3"]),
    (EventFilter(principal="ag*"), ["e-1", "e-2", "e-3"]),
    (EventFilter(principal="other"), []),
    (EventFilter(session="s-1"), ["e-1", "e-2", "e-3"]),
    (EventFilter(session="s"), []),
    (EventFilter(action="file.*"), ["e-1"]),
    (EventFilter(action="net.connect"), ["e-2"]),
    (EventFilter(action="net.connect@1"), ["e-2"]),
    (EventFilter(resource="file:///etc/**"), ["e-1"]),
    (EventFilter(resource="mailto:x"), []),
    (EventFilter(effect="deny"), ["e-2"]),
    (EventFilter(since=START + timedelta(seconds=2)), ["e-2", "e-3"]),
    (EventFilter(until=START + timedelta(seconds=2)), ["e-1"]),
]


@pytest.mark.parametrize(("wanted", "expected"), FILTERS)
def test_a_filter_lets_through_what_it_says(
    store: EventStore, wanted: EventFilter, expected: list[str]
) -> None:
    store.append(
        [
            event(1, action="file.read", resource="file:///etc/hosts", effect="allow"),
            event(2, EventKind.NET, action="net.connect@1", resource="mailto:x@y", effect="deny"),
            event(3, EventKind.PROC),
        ]
    )
    assert numbers(store, wanted) == expected
    assert [each.event.event_id for each in store.read(ALL) if wanted.matches(each.event)] == expected


def test_old_events_and_the_oldest_of_too_many_are_forgotten(store: EventStore) -> None:
    store.append([event(number) for number in range(1, 11)])
    assert store.prune(before=START + timedelta(seconds=4), max_events=100) == 3
    assert store.prune(before=START, max_events=2) == 5
    assert numbers(store) == ["e-9", "e-10"]
    assert store.prune(before=START, max_events=2) == 0


def test_a_place_is_not_used_again_after_pruning(store: EventStore) -> None:
    store.append([event(1)])
    before = store.read(ALL)[0].seq
    store.prune(before=START + timedelta(days=1), max_events=1)
    store.append([event(2)])
    assert store.read(ALL)[0].seq > before


def test_many_threads_lose_nothing(store: EventStore) -> None:
    def work(worker: int) -> None:
        for number in range(20):
            store.append([event(worker * 100 + number)])

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(numbers(store))) == 80


def test_a_closed_store_says_so_and_closing_again_does_nothing(store: EventStore) -> None:
    store.close()
    store.close()
    with pytest.raises(EventError) as caught:
        store.append([event(1)])
    assert caught.value.code == "events_closed"


_TEXTS = st.text(max_size=20)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(payload=st.dictionaries(_TEXTS, _VALUES, max_size=4), principal=_TEXTS)
def test_whatever_an_agent_named_is_kept(payload: dict[str, Any], principal: str) -> None:
    store = MemoryEventStore()
    hostile = Event("e-1", EventKind.FILE, START, principal, "", payload)
    store.append([hostile])
    assert store.read(ALL)[0].event == hostile

"""The bus: order, bounds, and who is told what."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from agentguard.core import Event, EventKind
from agentguard.events import InProcessBus

NOW = datetime(2026, 1, 31, tzinfo=UTC)


def events(first: int, count: int) -> list[Event]:
    return [Event(f"{first + number}", EventKind.FILE, NOW) for number in range(count)]


def ids(taken: list[Event]) -> list[int]:
    return [int(each.event_id) for each in taken]


def test_each_subscriber_gets_each_event_in_order() -> None:
    bus = InProcessBus()
    places = [bus.subscribe("one"), bus.subscribe("two")]
    assert bus.publish(events(0, 3))
    assert bus.publish(events(3, 2), droppable=True)
    assert [ids(place.take(10, timeout_s=0)) for place in places] == [[0, 1, 2, 3, 4]] * 2


def test_without_subscribers_nothing_is_kept_and_nothing_refused() -> None:
    bus = InProcessBus()
    assert bus.publish(events(0, 5))
    assert bus.subscribe("late").take(10, timeout_s=0) == []


def test_what_must_not_be_lost_is_refused_as_a_whole_when_one_subscriber_is_full() -> None:
    bus = InProcessBus()
    slow, quick = bus.subscribe("slow", max_events=4), bus.subscribe("quick", max_events=100)
    assert bus.publish(events(0, 3))
    assert not bus.publish(events(3, 2))
    assert ids(quick.take(10, timeout_s=0)) == [0, 1, 2]
    slow.take(2, timeout_s=0)
    assert bus.publish(events(3, 2))
    assert ids(slow.take(10, timeout_s=0)) == [2, 3, 4]
    assert slow.dropped == quick.dropped == 0


def test_a_flood_of_droppable_events_drops_its_own_oldest_and_nothing_else() -> None:
    bus = InProcessBus()
    place = bus.subscribe("slow", max_events=16)
    assert bus.publish(events(0, 2))
    assert bus.publish(events(100, 40), droppable=True)
    taken = ids(place.take(100, timeout_s=0))
    assert taken[:2] == [0, 1]
    assert taken[-1] == 139
    assert place.dropped == 40 - (len(taken) - 2)
    assert len(taken) - 2 <= 16


def test_a_batch_larger_than_the_room_is_taken_by_an_empty_subscriber() -> None:
    bus = InProcessBus()
    place = bus.subscribe("small", max_events=4)
    assert bus.publish(events(0, 9))
    assert len(place.take(100, timeout_s=0)) == 9


def test_a_closed_subscriber_holds_nobody_up() -> None:
    bus = InProcessBus()
    place = bus.subscribe("gone", max_events=1)
    bus.publish(events(0, 1))
    place.close()
    place.close()
    assert bus.publish(events(1, 5))
    assert place.take(10, timeout_s=0) == []


def test_a_waiting_subscriber_wakes_when_something_comes() -> None:
    bus = InProcessBus()
    place = bus.subscribe("waiting")
    taken: list[Event] = []
    thread = threading.Thread(target=lambda: taken.extend(place.take(10, timeout_s=10)))
    thread.start()
    bus.publish(events(7, 1))
    thread.join(10)
    assert ids(taken) == [7]


@given(
    batches=st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=30),
    room=st.integers(1, 12),
    take_every=st.integers(1, 5),
)
def test_nothing_is_lost_but_what_is_counted(
    batches: list[tuple[int, bool]], room: int, take_every: int
) -> None:
    bus = InProcessBus()
    place = bus.subscribe("one", max_events=room)
    kept: list[int] = []
    loose = 0
    taken: list[int] = []
    start = 0
    for number, (count, droppable) in enumerate(batches):
        accepted = bus.publish(events(start, count), droppable=droppable)
        assert accepted or not droppable
        if droppable:
            loose += count
        elif accepted:
            kept += range(start, start + count)
        start += count
        if number % take_every == 0:
            taken += ids(place.take(3, timeout_s=0))
    taken += ids(place.take(10_000, timeout_s=0))
    assert taken == sorted(taken)
    assert set(kept) <= set(taken)
    assert len(taken) == len(kept) + loose - place.dropped

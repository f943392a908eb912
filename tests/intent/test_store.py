"""Sessions, bounded in number and time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentguard.intent import IntentStore

if TYPE_CHECKING:
    import pytest


def test_a_session_is_found_by_its_name_and_owner() -> None:
    store: IntentStore[str] = IntentStore()
    assert store.open(("helper", "s"), "one", 0.0)
    assert store.find(("helper", "s"), 1.0) == "one"
    assert store.find(("other", "s"), 1.0) is None
    assert store.knows(("helper", "s"))


def test_a_name_is_taken_once() -> None:
    store: IntentStore[str] = IntentStore(ttl_s=10)
    assert store.open(("helper", "s"), "one", 0.0)
    assert not store.open(("helper", "s"), "two", 0.0)
    assert store.find(("helper", "s"), 11.0) is None
    assert store.has_ended(("helper", "s"))
    assert not store.open(("helper", "s"), "two", 12.0)


def test_the_one_unused_for_longest_makes_room() -> None:
    store: IntentStore[str] = IntentStore(max_sessions=2)
    for name in ("a", "b"):
        store.open(("helper", name), name, 0.0)
    store.find(("helper", "a"), 1.0)
    store.open(("helper", "c"), "c", 2.0)
    assert store.has_ended(("helper", "b"))
    assert store.find(("helper", "a"), 3.0) == "a"


def test_a_clock_that_goes_back_ends_nothing() -> None:
    store: IntentStore[str] = IntentStore(ttl_s=10)
    store.open(("helper", "s"), "one", 100.0)
    assert store.find(("helper", "s"), 0.0) == "one"
    assert store.find(("helper", "s"), 105.0) == "one"


def test_an_end_is_told_once_and_sessions_can_be_listed() -> None:
    told: list[tuple[str, str]] = []
    store: IntentStore[str] = IntentStore(on_end=told.append)
    store.open(("helper", "s"), "one", 3.0)
    assert store.all() == [(("helper", "s"), "one", 3.0)]
    for _ in range(2):
        store.end(("helper", "s"))
    assert told == [("helper", "s")]
    assert store.all() == []


def test_the_oldest_ends_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentguard.intent._store.MAX_ENDED", 1)
    store: IntentStore[str] = IntentStore()
    for name in ("a", "b"):
        store.open(("helper", name), name, 0.0)
        store.end(("helper", name))
    assert not store.knows(("helper", "a"))
    assert store.has_ended(("helper", "b"))

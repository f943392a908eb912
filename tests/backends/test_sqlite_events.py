"""What only the file on disk can do: outlive a process, be shared, be damaged, be full."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentguard.backends import SqliteEventStore
from agentguard.core import Event, EventError, EventFilter, EventKind

if TYPE_CHECKING:
    from pathlib import Path

ALL = EventFilter()
NOW = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)


def event(event_id: str = "e-1", **payload: Any) -> Event:
    return Event(event_id, EventKind.FILE, NOW, "agent", "s-1", payload)


def test_events_outlive_the_process_that_was_killed_after_append(tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"
    code = (
        "import os, signal, sys; from pathlib import Path; from datetime import UTC, datetime;"
        "from agentguard.backends import SqliteEventStore; from agentguard.core import Event, EventKind;"
        "store = SqliteEventStore(Path(sys.argv[1]));"
        "store.append([Event(f'e-{n}', EventKind.NET, datetime.now(UTC)) for n in range(50)]);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    store = SqliteEventStore(path)
    assert len(store.read(ALL)) == 50
    store.close()


def test_two_processes_may_write_and_read_one_file(tmp_path: Path) -> None:
    one, two = (SqliteEventStore(tmp_path / "events.sqlite") for _ in range(2))
    one.append([event("e-1")])
    two.append([event("e-2")])
    assert [each.event.event_id for each in one.read(ALL)] == ["e-1", "e-2"]
    one.close()
    two.close()


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    store = SqliteEventStore(tmp_path / "new" / "events.sqlite")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "new" / "events.sqlite").stat().st_mode & 0o777 == 0o600
    store.close()


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"
    base = sqlite3.connect(path)
    base.execute("PRAGMA user_version = 99")
    base.close()
    with pytest.raises(EventError, match="newer version"):
        SqliteEventStore(path)


@pytest.mark.parametrize("content", [b"no database at all, and long enough to be looked at" * 20])
def test_a_file_that_is_no_database_is_refused_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "events.sqlite"
    path.write_bytes(content)
    with pytest.raises(EventError) as caught:
        SqliteEventStore(path)
    assert caught.value.code == "events_unavailable"
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "events.sqlite").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EventError):
        SqliteEventStore(tmp_path / "events.sqlite")
    assert not (tmp_path / "elsewhere").exists()


def test_a_batch_that_does_not_fit_is_kept_not_at_all(tmp_path: Path) -> None:
    store = SqliteEventStore(tmp_path / "events.sqlite")
    store.append([event("e-0")])
    pages = store._base.execute("PRAGMA page_count").fetchone()[0]
    store._base.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(EventError) as caught:
        store.append([event(f"e-{number}", text="x" * 1000) for number in range(1, 100)])
    assert "full" in caught.value.message
    assert [each.event.event_id for each in store.read(ALL)] == ["e-0"]
    store.close()


_TEXT = st.text(max_size=20) | st.just("half \ud800 of a pair")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(name=_TEXT, payload=st.dictionaries(_TEXT, _TEXT | st.floats() | st.binary(max_size=4), max_size=4))
def test_hostile_names_and_values_never_stop_a_batch(
    tmp_path: Path, name: str, payload: dict[str, Any]
) -> None:
    store = SqliteEventStore(tmp_path / f"{os.urandom(8).hex()}.sqlite")
    hostile = Event("e-1", EventKind.FILE, NOW, name, name, {"action": name, **payload})
    assert store.append([hostile, event("e-2")]) == 2
    assert len(store.read(ALL)) == 2
    store.close()


def test_a_time_keeps_its_microseconds(tmp_path: Path) -> None:
    store = SqliteEventStore(tmp_path / "events.sqlite")
    store.append([event()])
    assert store.read(ALL)[0].event.time == NOW
    store.close()

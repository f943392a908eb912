from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from agentguard.core import Ticket, TicketError
from agentguard.enforcement import TicketStore
from tickets import NOW, Moment

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).parents[2] / "src"


def ticket(jti: str = "t-1", *, issued_at: float = NOW) -> Ticket:
    return Ticket(
        jti, "issuer", "me", "agent", (), "act@1", "a/b", "sha256:0", "e-1", issued_at, issued_at + 60
    )


@pytest.fixture
def now() -> Moment:
    return Moment()


@pytest.fixture
def store(tmp_path: Path, now: Moment) -> Iterator[TicketStore]:
    made = TicketStore(tmp_path / "tickets.sqlite", now=now)
    yield made
    made.close()


def refused(store: TicketStore, what: Ticket) -> str:
    with pytest.raises(TicketError) as error:
        store.consume(what)
    return error.value.code


def test_a_ticket_counts_once_and_another_one_too(store: TicketStore) -> None:
    store.consume(ticket("t-1"))
    store.consume(ticket("t-2"))
    assert refused(store, ticket("t-1")) == "ticket_used"
    assert refused(store, ticket("t-2")) == "ticket_used"


def test_what_was_used_is_known_after_a_restart(store: TicketStore, tmp_path: Path, now: Moment) -> None:
    store.consume(ticket())
    store.close()
    assert refused(TicketStore(tmp_path / "tickets.sqlite", now=now), ticket()) == "ticket_used"
    # Closed, it opens again when it is asked.
    assert refused(store, ticket()) == "ticket_used"


def test_a_revoked_ticket_is_refused_and_a_used_one_is_told(store: TicketStore) -> None:
    assert store.revoke("t-1") is True
    assert store.revoke("t-1") is True
    assert refused(store, ticket("t-1")) == "ticket_revoked"
    store.consume(ticket("t-2"))
    assert store.revoke("t-2") is False


@pytest.mark.parametrize("jti", ["", "a\nb", "x" * 257, None, 1])
def test_what_is_no_id_is_not_revoked(store: TicketStore, jti: str) -> None:
    with pytest.raises(TicketError) as error:
        store.revoke(jti)
    assert error.value.code == "ticket_malformed"


def test_what_expired_is_forgotten_and_counts_no_more_when_the_clock_goes_back(
    store: TicketStore, tmp_path: Path, now: Moment
) -> None:
    store.consume(ticket("old"))
    now.at = NOW + 1000
    store.consume(ticket("new", issued_at=NOW + 1000))
    database = sqlite3.connect(tmp_path / "tickets.sqlite")
    assert database.execute("SELECT jti FROM spent").fetchall() == [("new",)]
    database.close()
    now.at = NOW
    assert refused(store, ticket("old")) == "ticket_expired"
    assert refused(store, ticket("new", issued_at=NOW + 1000)) == "ticket_used"


def test_a_clock_that_was_ahead_for_a_while_does_not_stop_the_store(store: TicketStore, now: Moment) -> None:
    store.consume(ticket("t-1"))
    now.at = NOW + 1e6
    store.consume(ticket("t-2", issued_at=NOW + 1e6))
    now.at = NOW + 61
    store.consume(ticket("t-3", issued_at=NOW + 61))


_steps = st.lists(
    st.tuples(st.just("clock"), st.integers(-200, 400))
    | st.tuples(st.sampled_from(["consume", "revoke"]), st.integers(0, 5))
    | st.tuples(st.just("reopen"), st.just(0)),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(steps=_steps)
def test_whatever_the_clock_does_no_ticket_counts_twice_nor_after_it_was_revoked(
    steps: list[tuple[str, int]],
) -> None:
    now = Moment()
    with TemporaryDirectory() as folder:
        store = TicketStore(Path(folder) / "tickets.sqlite", now=now)
        over: set[int] = set()
        for step, value in steps:
            known = ticket(f"t-{value}", issued_at=NOW + 30 * value)
            if step == "clock":
                now.at = NOW + value
            elif step == "reopen":
                store.close()
            elif step == "consume":
                if refused_or_used(store, known.jti, issued_at=known.issued_at) == "":
                    assert value not in over
                    over.add(value)
            # Nobody knows the id of a ticket that is not yet issued; the clocks agree within 5 s.
            elif known.issued_at <= now.at + 5 and store.revoke(known.jti):
                over.add(value)
        store.close()


def test_a_ticket_that_expires_while_it_waits_is_refused(store: TicketStore, now: Moment) -> None:
    now.at = NOW + 60
    assert refused(store, ticket()) == "ticket_expired"


def test_another_store_of_the_same_process_drops_no_lock(
    store: TicketStore, tmp_path: Path, now: Moment
) -> None:
    # POSIX: who closes a file gives up all locks of his process on it. SQLite's last one out removes the log.
    path, log = tmp_path / "tickets.sqlite", tmp_path / "tickets.sqlite-wal"
    store.consume(ticket("t-1"))
    other = TicketStore(path, now=now)
    before = log.stat().st_ino
    visit = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM spent').fetchall(); c.close()"
    subprocess.run([sys.executable, "-c", visit, str(path)], timeout=30, check=True)
    assert log.exists()
    assert log.stat().st_ino == before
    other.close()
    assert refused(store, ticket("t-1")) == "ticket_used"


def test_a_new_store_refuses_what_came_before_it(store: TicketStore, tmp_path: Path, now: Moment) -> None:
    store.consume(ticket("t-1"))
    store.close()
    for path in tmp_path.glob("tickets.sqlite*"):
        path.unlink()
    now.at = NOW + 1
    assert refused(store, ticket("t-1")) == "ticket_older_than_store"
    store.consume(ticket("t-2", issued_at=NOW + 1))


def test_a_store_that_is_deleted_while_it_is_open_is_made_anew(
    store: TicketStore, tmp_path: Path, now: Moment
) -> None:
    store.consume(ticket("t-1"))
    for path in tmp_path.glob("tickets.sqlite*"):
        path.unlink()
    now.at = NOW + 1
    other = TicketStore(tmp_path / "tickets.sqlite", now=now)
    other.consume(ticket("t-2", issued_at=NOW + 1))
    assert refused(store, ticket("t-2", issued_at=NOW + 1)) == "ticket_used"
    assert refused(store, ticket("t-1")) == "ticket_older_than_store"


def test_the_newest_refusals_are_kept(store: TicketStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentguard.enforcement._ticket_store.MAX_REFUSALS", 3)
    for index in range(5):
        known = ticket(f"t-{index}") if index % 2 else None
        store.note_refusal(TicketError("no", code=f"code_{index}"), known)
    kept = [(each.at, each.code, each.jti, each.audit_id) for each in store.refusals()]
    assert kept == [(NOW, "code_2", "", ""), (NOW, "code_3", "t-3", "e-1"), (NOW, "code_4", "", "")]


def test_only_the_owner_may_read_the_store(store: TicketStore, tmp_path: Path) -> None:
    store.consume(ticket())
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("tickets.sqlite*")}
    assert modes == {0o600}


def folder_in_the_way(path: Path) -> None:
    path.mkdir()


def no_database(path: Path) -> None:
    path.write_bytes(b"this is no database, and long enough to be one" * 100)


def another_programs(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("PRAGMA application_id = 7")
    database.close()


def somebodys_tables(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE mine (a)")
    database.close()


def a_link(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere"))


@pytest.mark.parametrize(
    "spoil", [folder_in_the_way, no_database, another_programs, somebodys_tables, a_link], ids=lambda each: each.__name__
)  # fmt: skip
def test_a_file_that_is_no_store_is_refused(tmp_path: Path, spoil: object) -> None:
    path = tmp_path / "tickets.sqlite"
    spoil(path)  # type: ignore[operator]  # one of the functions above
    with pytest.raises(TicketError) as error:
        TicketStore(path)
    assert error.value.code == "ticket_store_unavailable"
    assert str(path) in str(error.value)


def test_a_store_that_breaks_while_it_is_open_refuses(store: TicketStore, tmp_path: Path) -> None:
    store.consume(ticket("t-1"))
    database = sqlite3.connect(tmp_path / "tickets.sqlite")
    database.execute("DROP TABLE spent")
    database.commit()
    database.close()
    assert refused(store, ticket("t-2")) == "ticket_store_unavailable"
    with pytest.raises(TicketError):
        store.revoke("t-2")


def test_a_store_without_its_bounds_refuses(store: TicketStore, tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "tickets.sqlite")
    database.execute("DELETE FROM bounds")
    database.commit()
    database.close()
    assert refused(store, ticket()) == "ticket_store_unavailable"


def test_a_full_store_refuses_and_nothing_is_lost(store: TicketStore, tmp_path: Path) -> None:
    store.consume(ticket("t-1"))
    store.close()
    database = sqlite3.connect(tmp_path / "tickets.sqlite")
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.close()
    connection = store._connected()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    codes = [refused_or_used(store, f"long-{index}-{'x' * 200}") for index in range(40)]
    assert codes[-1] == "ticket_store_unavailable"
    assert refused(store, ticket("t-1")) == "ticket_used"


def refused_or_used(store: TicketStore, jti: str, *, issued_at: float = NOW) -> str:
    try:
        store.consume(ticket(jti, issued_at=issued_at))
    except TicketError as error:
        return error.code
    return ""


def test_a_store_that_another_holds_for_too_long_refuses(
    store: TicketStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentguard.enforcement._ticket_store._BUSY_S", 0.05)
    store.close()
    holder = sqlite3.connect(tmp_path / "tickets.sqlite", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert refused(store, ticket()) == "ticket_store_unavailable"
    holder.execute("ROLLBACK")
    holder.close()
    store.consume(ticket())


def test_of_many_threads_exactly_one_wins(store: TicketStore, tmp_path: Path, now: Moment) -> None:
    stores = [store, TicketStore(tmp_path / "tickets.sqlite", now=now)]
    barrier = threading.Barrier(8)

    def take(index: int) -> list[str]:
        barrier.wait(10)
        return [refused_or_used(stores[index % 2], f"t-{number}") for number in range(25)]

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(take, range(8)))
    for codes in zip(*taken, strict=True):
        assert sorted(codes) == ["", *["ticket_used"] * 7]
    stores[1].close()


def test_a_store_works_on_in_a_forked_child(store: TicketStore) -> None:
    store.consume(ticket("t-1"))
    child = os.fork()
    if child == 0:
        codes = (refused_or_used(store, "t-1"), refused_or_used(store, "t-2"))
        os._exit(0 if codes == ("ticket_used", "") else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert refused(store, ticket("t-2")) == "ticket_used"


TAKE_ALL = """
import sys
from agentguard.core import Ticket, TicketError
from agentguard.enforcement import TicketStore
path, now, count = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
store = TicketStore(path, now=lambda: now)
print("ready", flush=True)
sys.stdin.readline()
for number in range(count):
    jti = f"t-{number}"
    try:
        store.consume(Ticket(jti, "i", "me", "a", (), "act@1", "a/b", "sha256:0", "e", now, now + 60))
    except TicketError as error:
        assert error.code == "ticket_used", error
        continue
    print(jti, flush=True)
"""


def take_all(path: Path, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", TAKE_ALL, str(path), str(NOW), str(count)],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def start(processes: list[subprocess.Popen[str]]) -> None:
    for each in processes:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    for each in processes:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()


@pytest.mark.slow
def test_of_many_processes_exactly_one_wins(tmp_path: Path) -> None:
    processes = [take_all(tmp_path / "tickets.sqlite", 60) for _ in range(3)]
    start(processes)
    taken = [jti for each in processes for jti in each.communicate(timeout=60)[0].split()]
    assert [each.returncode for each in processes] == [0, 0, 0]
    assert sorted(taken) == sorted(f"t-{number}" for number in range(60))


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 7, 23])
def test_what_was_let_through_before_a_kill_is_refused_after_it(
    tmp_path: Path, after: int, now: Moment
) -> None:
    path = tmp_path / "tickets.sqlite"
    process = take_all(path, 100_000)
    start([process])
    assert process.stdout is not None
    taken = [process.stdout.readline().strip() for _ in range(after)]
    process.send_signal(signal.SIGKILL)
    taken += process.communicate(timeout=60)[0].split()
    # As a power cut would leave it, too: the files alone, with nobody's memory of them.
    copy = tmp_path / "copy"
    copy.mkdir()
    for each in (path, path.with_name(path.name + "-wal")):
        shutil.copy(each, copy)
    for place in (path, copy / path.name):
        reopened = TicketStore(place, now=now)
        assert {refused(reopened, ticket(jti)) for jti in taken} == {"ticket_used"}
        reopened.consume(replace(ticket("never"), issued_at=NOW))
        reopened.close()


def test_a_folder_that_is_not_there_is_named_in_words(tmp_path: Path) -> None:
    with pytest.raises(TicketError) as caught:
        TicketStore(tmp_path / "none" / "used.sqlite")
    assert caught.value.message == "the store of used tickets cannot be used: no such file or directory"
    assert str(tmp_path / "none" / "used.sqlite") in (caught.value.hint or "")

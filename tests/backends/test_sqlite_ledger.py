from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from agentguard.backends import SqliteLedger
from agentguard.core import AttemptState, Bill, Claim, Reservation, SpendError, SpendFilter, Unit
from ledger_race import race

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def wish(attempt: str, amount: int = 10, meter: str = "m") -> Reservation:
    claim = Claim(meter, Unit.USD, amount, 1_000)
    return Reservation(attempt, NOW, NOW + timedelta(minutes=1), claims=(claim,), amounts={Unit.USD: amount})


def test_what_was_reserved_outlives_a_killed_process(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    code = (
        "import os, signal, sys\n"
        "from datetime import UTC, datetime, timedelta\n"
        "from pathlib import Path\n"
        "from agentguard.backends import SqliteLedger\n"
        "from agentguard.core import Claim, Reservation, Unit\n"
        "ledger = SqliteLedger(Path(sys.argv[1]))\n"
        "at = datetime(2026, 1, 31, 12, tzinfo=UTC)\n"
        "claim = Claim('m', Unit.USD, 10, 1_000)\n"
        "ledger.reserve(Reservation('one', at, at, claims=(claim,), amounts={Unit.USD: 10}))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    ledger = SqliteLedger(path)
    assert ledger.reserve(wish("two")).rises[0].after == 10
    assert ledger.entries(SpendFilter())[0].state is AttemptState.EXPIRED
    ledger.close()


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "new" / "ledger.sqlite")
    assert (tmp_path / "new" / "ledger.sqlite").stat().st_mode & 0o777 == 0o600
    ledger.close()


def test_a_file_that_is_no_ledger_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"no database at all, and long enough to be looked at" * 20)
    with pytest.raises(SpendError) as caught:
        SqliteLedger(path)
    assert (caught.value.code, bool(caught.value.hint)) == ("spend_unavailable", True)


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    base = sqlite3.connect(path)
    base.execute("PRAGMA user_version = 99")
    base.close()
    with pytest.raises(SpendError, match="newer version"):
        SqliteLedger(path)


def test_a_full_disk_reserves_nothing_and_keeps_what_there_was(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.sqlite")
    assert ledger.reserve(wish("first")).admitted
    base = ledger._file.base
    pages = base.execute("PRAGMA page_count").fetchone()[0]
    base.execute(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        for number in range(10_000):
            ledger.reserve(wish(f"more-{number}", 0, os.urandom(50).hex()))

    with pytest.raises(SpendError, match="full"):
        fill()
    base.execute("PRAGMA max_page_count = 100000")
    assert ledger.levels([Claim("m", Unit.USD, 0, 1_000)])[0].reserved == 10
    assert ledger.settle("first", Bill({Unit.USD: 3}), at=NOW).state is AttemptState.SETTLED
    ledger.close()


def test_a_ledger_that_stays_locked_is_told_and_reserves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentguard.backends._sqlite_file._BUSY_S", 0.01)
    ledger = SqliteLedger(tmp_path / "ledger.sqlite")
    other = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(SpendError, match="locked"):
        ledger.reserve(wish("one"))
    other.execute("ROLLBACK")
    assert ledger.reserve(wish("one")).admitted
    other.close()
    ledger.close()


def test_sums_stay_inside_what_the_file_can_count(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.sqlite")
    for number in range(3):
        assert ledger.reserve(wish(f"n-{number}", 0)).admitted
    for number in range(3):
        ledger.settle(f"n-{number}", Bill({Unit.USD: 2**62}), at=NOW)
    assert not ledger.reserve(wish("more", 0)).admitted
    assert ledger.levels([Claim("m", Unit.USD, 0, 1_000)])[0].spent == 2**62
    ledger.close()


@pytest.mark.slow
def test_processes_that_are_killed_never_admit_more_than_the_limits() -> None:
    found = race(2_000, 8)
    assert found["excess_micro_usd"] == found["breaches"] == 0
    assert found["meters_that_differ_from_history"] == 0
    assert found["killed"] > 0


@pytest.mark.slow
def test_the_onlookers_see_what_a_look_and_then_a_write_admits() -> None:
    # Until they have: one short race of it may go well.
    assert any(race(1_200, 8, naive=True, kills=False)["breaches"] for _ in range(4))

"""Many processes on one ledger, killed at random: `python tests/ledger_race.py ADMISSIONS PROCESSES [--naive]`.

What the ledger says of itself is no proof. Two others look on: a trigger of the database, which adds up a meter
each time that something more is reserved on it, and the history, from which the meters are added up again. With
`--naive` reserving is what it must not be, a look and then a write: the onlookers have to see that.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agentguard.backends import SqliteLedger
from agentguard.core import AttemptState, Bill, Claim, Reservation, Spender, SpendError, SpendFilter, Unit

# One meter for all, sixteen agents, four hundred sessions; all are filled up to their limits.
_AGENTS, _SESSIONS = 16, 400
_MOST = 1_000
_LEASE = timedelta(seconds=2)
_KILLED_EACH_S = 0.15
_TRIGGER = """
CREATE TABLE breaches (meter TEXT NOT NULL, excess INTEGER NOT NULL);
CREATE TABLE limits (meter TEXT PRIMARY KEY, most INTEGER NOT NULL);
CREATE TRIGGER seen_new AFTER INSERT ON cells WHEN NEW.reserved > 0 BEGIN
    INSERT INTO breaches SELECT NEW.meter, total - most FROM limits, (
        SELECT sum(spent + reserved) AS total FROM cells WHERE meter = NEW.meter
    ) WHERE limits.meter = NEW.meter AND total > most;
END;
CREATE TRIGGER seen_more AFTER UPDATE OF reserved ON cells WHEN NEW.reserved > OLD.reserved BEGIN
    INSERT INTO breaches SELECT NEW.meter, total - most FROM limits, (
        SELECT sum(spent + reserved) AS total FROM cells WHERE meter = NEW.meter
    ) WHERE limits.meter = NEW.meter AND total > most;
END;
"""


def limits_for(admissions: int) -> dict[str, int]:
    """Return limits that are all reached: a quarter of what is asked for fits, and a third of each part."""
    asked = admissions * _MOST // 2
    limits = {"all": asked // 4}
    limits |= {f"agent-{number}": asked // _AGENTS // 3 for number in range(_AGENTS)}
    return limits | {f"session-{number}": asked // _SESSIONS // 3 for number in range(_SESSIONS)}


class _LookThenWrite:
    """How budgets are often kept: look at what is left, let the call pass, then write it down."""

    def __init__(self, path: Path) -> None:
        self._ledger = SqliteLedger(path)
        self._base = sqlite3.connect(path, timeout=30, isolation_level=None)

    def reserve(self, wish: Reservation) -> bool:
        levels = self._ledger.levels(wish.claims)
        if any(
            level.used + claim.amount > claim.limit for level, claim in zip(levels, wish.claims, strict=True)
        ):
            return False
        # The call itself, which takes far longer with a real provider.
        time.sleep(0.001)
        for claim in wish.claims:
            self._base.execute(
                "INSERT INTO cells VALUES (?, 0, 0, ?)"
                " ON CONFLICT DO UPDATE SET reserved = reserved + excluded.reserved",
                (claim.meter, claim.amount),
            )
        return True


def work(path: Path, admissions: int, seed: int, limits: dict[str, int], *, naive: bool) -> None:
    """Reserve at random, then settle, release, forget, or be killed in between."""
    chance = random.Random(seed)
    ledger = SqliteLedger(path)
    rival = _LookThenWrite(path) if naive else None
    for number in range(admissions):
        meters = ("all", f"agent-{chance.randrange(_AGENTS)}", f"session-{chance.randrange(_SESSIONS)}")
        amount = chance.randint(1, _MOST)
        claims = tuple(Claim(meter, Unit.USD, amount, limits[meter]) for meter in meters)
        now = datetime.now(UTC)
        wish = Reservation(
            f"{seed}-{number}",
            now,
            now + _LEASE,
            Spender(agent=meters[1], session=meters[2]),
            claims=claims,
            amounts={Unit.USD: amount},
        )
        sys.stdout.write(".")
        sys.stdout.flush()
        if rival is not None:
            rival.reserve(wish)
            continue
        try:
            _once(ledger, wish, amount, chance)
        except SpendError as error:
            if "locked" not in error.message:
                raise


def _once(ledger: SqliteLedger, wish: Reservation, amount: int, chance: random.Random) -> None:
    if not ledger.reserve(wish).admitted:
        return
    what = chance.random()
    if what < 0.05:
        return  # the bill never comes
    if what < 0.10:
        again = ledger.reserve(wish)
        # Where all wait for one file, the lease may have ended meanwhile.
        assert again.admitted or again.state is AttemptState.EXPIRED, "a retry of an open attempt"
    if what < 0.20:
        ledger.release(wish.attempt, at=wish.at)
    else:
        ledger.settle(wish.attempt, Bill({Unit.USD: chance.randint(0, amount)}), at=wish.at)
        if what < 0.30:
            assert ledger.settle(wish.attempt, Bill({Unit.USD: 1}), at=wish.at).repeated, "a second bill"


def race(admissions: int, processes: int, *, naive: bool = False, kills: bool = True) -> dict[str, Any]:
    """Run the race and return what the onlookers saw."""
    limits = limits_for(admissions)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "ledger.sqlite"
        SqliteLedger(path).close()
        base = sqlite3.connect(path, timeout=30, isolation_level=None)
        base.executescript(_TRIGGER)
        base.executemany("INSERT INTO limits VALUES (?, ?)", limits.items())
        start = time.perf_counter()
        asked, killed = _run(path, admissions, processes, naive=naive, kills=kills)
        seconds = time.perf_counter() - start
        (breaches, excess) = base.execute(
            "SELECT count(*), coalesce(sum(excess), 0) FROM breaches"
        ).fetchone()
        found = {
            "asked": asked,
            "processes": processes,
            "killed": killed,
            "seconds": round(seconds, 1),
            "breaches": breaches,
            "excess_micro_usd": excess,
            "used": base.execute("SELECT sum(spent + reserved) FROM cells WHERE meter = 'all'").fetchone()[0],
            "limit": limits["all"],
        }
        if not naive:
            found |= _reconciled(path, base)
        base.close()
        return found


def _run(path: Path, admissions: int, processes: int, *, naive: bool, kills: bool) -> tuple[int, int]:
    """Keep so many processes at work until all was asked for; return how much was, and how many were killed."""
    chance = random.Random(7)
    asked = killed = seed = 0
    next_kill = time.monotonic() + _KILLED_EACH_S
    running: list[subprocess.Popen[bytes]] = []
    share = max(admissions // processes // 2, 1)
    while asked < admissions or running:
        while asked < admissions and len(running) < processes:
            seed += 1
            command = [sys.executable, __file__, "--work", str(path), str(share), str(seed), str(admissions)]
            running.append(
                subprocess.Popen([*command, *(["--naive"] if naive else [])], stdout=subprocess.PIPE)
            )
            asked += share
        time.sleep(0.01)
        # Only who has begun to ask: on a busy machine none would ever come to it.
        at_work = [each for each in running if select.select([each.stdout or -1], [], [], 0)[0]]
        if kills and at_work and time.monotonic() >= next_kill:
            next_kill = time.monotonic() + _KILLED_EACH_S
            victim = chance.choice(at_work)
            victim.send_signal(signal.SIGKILL)
            victim.wait()
        for each in [each for each in running if each.poll() is not None]:
            running.remove(each)
            done = len(each.communicate()[0])
            assert each.returncode in (0, -signal.SIGKILL), f"a process failed with {each.returncode}"
            killed += each.returncode == -signal.SIGKILL
            # What a killed process did not ask for, another one does.
            asked -= share - done
    return asked, killed


def _reconciled(path: Path, base: sqlite3.Connection) -> dict[str, Any]:
    """Let what was forgotten expire; then add the meters up from the history and compare."""
    ledger = SqliteLedger(path)
    later = datetime.now(UTC) + _LEASE * 2
    while base.execute(
        "SELECT count(*) FROM attempts WHERE state = 'open' AND expires <= ?", (2**62,)
    ).fetchone()[0]:
        name = f"sweep-{os.urandom(4).hex()}"
        ledger.reserve(Reservation(name, later, later + _LEASE))
        ledger.release(name, at=later)
    sums: dict[str, int] = {}
    states: dict[str, int] = {}
    after = 0
    while page := ledger.entries(SpendFilter(), after=after, limit=5_000):
        after = page[-1].seq
        for entry in page:
            states[entry.state.value] = states.get(entry.state.value, 0) + 1
            if entry.state is not AttemptState.RELEASED:
                for meter in ("all", entry.spender.agent, entry.spender.session):
                    sums[meter] = sums.get(meter, 0) + entry.amounts.get(Unit.USD, 0)
    cells = base.execute("SELECT meter, sum(spent), sum(reserved) FROM cells GROUP BY meter").fetchall()
    wrong = [meter for meter, spent, reserved in cells if reserved or spent != sums.get(meter, 0)]
    ledger.close()
    return {"states": states, "meters": len(cells), "meters_that_differ_from_history": len(wrong)}


def main() -> None:
    """Run the race, or be one of its processes."""
    naive = "--naive" in sys.argv
    if sys.argv[1] == "--work":
        path, share, seed, admissions = Path(sys.argv[2]), *map(int, sys.argv[3:6])
        work(path, share, seed, limits_for(admissions), naive=naive)
        return
    print(json.dumps(race(int(sys.argv[1]), int(sys.argv[2]), naive=naive)))


if __name__ == "__main__":
    main()

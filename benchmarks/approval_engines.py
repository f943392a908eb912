"""Approvals on each engine and store that this machine has: how soon a caller goes on, how many a second there are.

Each approval is opened, waited for by a thread of its own, voted on and used up: one after the other, which says how soon a
caller goes on, then sixteen at once, which says how many a second there are. The servers are those that the tests start; a store whose server is missing has no row.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentguard.approvals import EmbeddedEngine, Rules
from agentguard.audit import SegmentLog
from agentguard.backends import (
    PostgresApprovalStore,
    RedisApprovalStore,
    SqliteApprovalStore,
    TemporalEngine,
    TemporalServer,
    TemporalWorker,
)
from agentguard.core import ApprovalState, CastVote, Consume, Origin

# The servers are the tests' own.
sys.path.append(str(Path(__file__).parents[1] / "tests"))
import approval_services as servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentguard.core import Approval, ApprovalEngine, ApprovalStore, Person

ALONE, AT_ONCE = 100, 16
ORIGIN = Origin("api", "127.0.0.1")
NOBODY_S = 60.0


def run(
    engine: ApprovalEngine, question: Callable[[int], Approval], person: Person, numbers: range, at_once: int
) -> list[float]:
    """Take approvals from the question to the use; return the milliseconds from vote to caller, sorted."""

    def one(number: int) -> float:
        asked = engine.open(question(number))
        resumed: list[float] = []

        def wait() -> None:
            approval = asked
            while approval.state is ApprovalState.PENDING:
                approval = engine.wait(asked.id, revision=approval.revision, timeout_s=NOBODY_S)
            resumed.append(time.perf_counter())

        caller = threading.Thread(target=wait)
        caller.start()
        cast = time.perf_counter()
        engine.apply(asked.id, CastVote(person=person, origin=ORIGIN, approves=True))
        caller.join()
        engine.apply(asked.id, Consume(binding=asked.binding, policy_version=""))
        return 1000 * (resumed[0] - cast)

    with ThreadPoolExecutor(at_once) as pool:
        return sorted(pool.map(one, numbers))


@contextlib.contextmanager
def embedded(store: ApprovalStore, folder: Path) -> Iterator[ApprovalEngine]:
    audit = SegmentLog(folder / "audit")
    engine = EmbeddedEngine(store, audit=audit, keeps_time=True)
    yield engine
    engine.close()
    audit.close()


@contextlib.contextmanager
def on_temporal(address: str, folder: Path) -> Iterator[ApprovalEngine]:
    audit, path = SegmentLog(folder / "audit"), folder / "approvals.sqlite"
    server = TemporalServer(address, "agentguard", "approvals", project=str(folder))
    kept, worked_on = SqliteApprovalStore(path), SqliteApprovalStore(path)
    worker = TemporalWorker(worked_on, server=server, audit=audit, rules=Rules())
    is_ready = threading.Event()
    working = threading.Thread(target=lambda: worker.run(on_ready=is_ready.set))
    working.start()
    is_ready.wait(NOBODY_S)
    engine = TemporalEngine(kept, server=server, audit=audit)
    yield engine
    worker.stop()
    working.join()
    engine.close()
    worked_on.close()
    audit.close()


def engines(base: Path, opened: contextlib.ExitStack) -> Iterator[tuple[str, int, Any]]:
    """Yield a name, how many approvals it takes, and the engine, to be entered."""
    folder = base / "sqlite"
    yield "embedded, SQLite", 500, embedded(SqliteApprovalStore(folder / "approvals.sqlite"), folder)
    rows: tuple[tuple[str, int, Callable[[], servers.Server], Callable[[str], Any]], ...] = (
        (
            "embedded, PostgreSQL",
            500,
            servers.PostgresServer,
            lambda url: embedded(
                PostgresApprovalStore(url, project="bench", connections=20), base / "postgres"
            ),
        ),
        (
            "embedded, Redis",
            500,
            servers.RedisServer,
            lambda url: embedded(RedisApprovalStore(url, project="bench"), base / "redis"),
        ),
        ("Temporal, SQLite", 100, servers.TemporalServer, lambda url: on_temporal(url, base / "temporal")),
    )
    for name, count, make_server, make in rows:
        try:
            server = opened.enter_context(make_server())
        except servers.MissingError as error:
            print(f"{name:22} no row: {error} is not installed")
        else:
            yield name, count, make(server.url)


def compare(question: Callable[[int], Approval], person: Person) -> None:
    """Print a row for each engine and store."""
    with contextlib.ExitStack() as opened:
        base = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        for name, count, entering in engines(base, opened):
            with entering as engine:
                waits = run(engine, question, person, range(ALONE), 1)
                start = time.perf_counter()
                run(engine, question, person, range(ALONE, ALONE + count), AT_ONCE)
                took_s = time.perf_counter() - start
            print(
                f"{name:22} {ALONE} approvals in turn: vote to caller resumed p50 {statistics.median(waits):6.2f},"
                f" p99 {waits[int(0.99 * len(waits))]:6.2f} ms; {count} approvals, {AT_ONCE} at once:"
                f" {count / took_s:.0f} a second"
            )

"""Approvals on the embedded engine: how soon a caller goes on after the vote, with a thousand waiting together.

Each approval has a caller of its own, a thread that waits. The votes come one after the other; measured is from the
vote being cast to its caller running again, the vote being on the disk and in the audit log by then. `here`: the
callers wait in the process that takes the votes, as the sidecar's do. `elsewhere`: they wait on another engine on the
same file, as an agent does that decides in its own process.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from agentguard.approvals import EmbeddedEngine
from agentguard.audit import SegmentLog
from agentguard.backends import SqliteApprovalStore
from agentguard.core import (
    APPROVER,
    Approval,
    ApprovalFilter,
    ApprovalState,
    CastVote,
    Consume,
    Origin,
    Person,
    Risk,
    Route,
)
from benchmarks.approval_engines import compare

PENDING = 1_000
P99_MS = 50.0
ANNA = Person("anna", frozenset({APPROVER}))
HERE = Origin("api", "127.0.0.1")
NOW = datetime.now(UTC)


def question(number: int) -> Approval:
    return Approval(
        id=f"ap-{number:020x}",
        binding=f"sha256:{number:064x}",
        basis="sha256:basis",
        principal="deploy-agent",
        action="restart-deployment@1",
        resource="prod/api",
        params={"namespace": "prod", "deployment": "api"},
        reason="production needs a person",
        risk=Risk.MEDIUM,
        route=Route(limit_s=3600.0),
        opened_at=NOW,
        deadline=NOW,
    )


class Callers:
    """One thread for each approval; `resumed` says when it ran again."""

    def __init__(self, engine: EmbeddedEngine, ids: list[str]) -> None:
        self.resumed: dict[str, float] = {}
        self._ready = threading.Semaphore(0)
        self._threads = [threading.Thread(target=self._wait, args=(engine, each)) for each in ids]
        for thread in self._threads:
            thread.start()
        for _ in self._threads:
            self._ready.acquire()

    def _wait(self, engine: EmbeddedEngine, approval_id: str) -> None:
        approval = engine.wait(approval_id)
        self._ready.release()
        while approval.state is ApprovalState.PENDING:
            approval = engine.wait(approval_id, revision=approval.revision, timeout_s=60.0)
        self.resumed[approval_id] = time.perf_counter()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()


def measure(folder: Path, *, callers: int, elsewhere: bool) -> dict[str, float]:
    """Return the figures of one run with a thousand approvals, `callers` of which somebody waits for."""
    audit = SegmentLog(folder / "audit")
    engine = EmbeddedEngine(SqliteApprovalStore(folder / "approvals.sqlite"), audit=audit, keeps_time=True)
    start, cpu = time.perf_counter(), time.process_time()
    ids = [engine.open(question(number)).id for number in range(PENDING)]
    opened_s, opened_cpu_s = time.perf_counter() - start, time.process_time() - cpu
    pending = engine.find(ApprovalFilter((ApprovalState.PENDING,)), limit=PENDING + 1)
    other = (
        EmbeddedEngine(SqliteApprovalStore(folder / "approvals.sqlite"), audit=audit) if elsewhere else engine
    )
    waiting = Callers(other, ids[:callers])
    cast: dict[str, float] = {}
    for each in ids[:callers]:
        cast[each] = time.perf_counter()
        engine.apply(each, CastVote(person=ANNA, origin=HERE, approves=True))
    waiting.join()
    start = time.perf_counter()
    for number, each in enumerate(ids[:callers]):
        engine.apply(each, Consume(binding=question(number).binding, policy_version=""))
    consumed_s = time.perf_counter() - start
    engine.close()
    if elsewhere:
        other.close()
    audit.close()
    waits = sorted(1000 * (waiting.resumed[each] - cast[each]) for each in cast)
    return {
        "pending": len(pending),
        "open_us": 1e6 * opened_s / PENDING,
        "open_cpu_us": 1e6 * opened_cpu_s / PENDING,
        "consume_us": 1e6 * consumed_s / callers,
        "p50_ms": statistics.median(waits),
        "p99_ms": waits[int(0.99 * len(waits))],
        "max_ms": waits[-1],
    }


def main() -> None:
    for name, callers, elsewhere in (("here", PENDING, False), ("elsewhere", 64, True)):
        with tempfile.TemporaryDirectory() as folder:
            found = measure(Path(folder), callers=callers, elsewhere=elsewhere)
        print(
            f"{name:10} {found['pending']:.0f} pending, {callers} callers: vote to caller resumed"
            f" p50 {found['p50_ms']:6.2f}, p99 {found['p99_ms']:6.2f}, max {found['max_ms']:6.2f} ms"
            f" (p99 must be at most {P99_MS:g});"
            f" open {found['open_us']:.0f} us ({found['open_cpu_us']:.0f} of processor),"
            f" use up {found['consume_us']:.0f} us"
        )
    compare(question, ANNA)


if __name__ == "__main__":
    main()

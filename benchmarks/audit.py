"""What a record costs, by durability, and how fast a log is verified: `python -m benchmarks.audit`."""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentguard.audit import MemoryLog, SegmentLog, verify

if TYPE_CHECKING:
    from agentguard.audit._log import Durability
    from agentguard.core import AuditLog

RECORD: dict[str, Any] = {
    "type": "decision",
    "correlation_id": "c-4711",
    "principal": "deploy-agent",
    "action": "restart-deployment@1",
    "resource": "staging/api",
    "params": {"namespace": "staging", "deployment": "api"},
    "effect": "allow",
    "reason": "staging may be restarted",
    "rule": "staging-allowed",
    "policy_version": "ab" * 16,
    "latency_us": 5.2,
}
VERIFIED = 1_000_000


def append_us(log: AuditLog, count: int) -> tuple[float, float]:
    times = []
    for _ in range(count):
        start = time.perf_counter_ns()
        log.append(RECORD)
        times.append(time.perf_counter_ns() - start)
    times.sort()
    return statistics.median(times) / 1000, times[count * 99 // 100] / 1000


def grouped_per_s(log: AuditLog, threads: int, each: int) -> float:
    def work() -> None:
        for _ in range(each):
            log.append(RECORD)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    start = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return threads * each / (time.perf_counter() - start)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"{'append':24}{'p50 µs':>10}{'p99 µs':>10}")
        memory = append_us(MemoryLog(), 100_000)
        print(f"{'memory':24}{memory[0]:10.2f}{memory[1]:10.2f}")
        counts: dict[Durability, int] = {"os": 100_000, "group": 5_000, "record": 5_000}
        for durability, count in counts.items():
            log = SegmentLog(folder / durability, durability=durability)
            log.append(RECORD)
            p50, p99 = min(append_us(log, count) for _ in range(3))
            print(f"{durability:24}{p50:10.2f}{p99:10.2f}")
            log.close()
        for threads in (8, 64):
            log = SegmentLog(folder / f"threads-{threads}", durability="group")
            rate = grouped_per_s(log, threads, 20_000 // threads)
            print(f"{f'group, {threads} threads':24}{rate:10,.0f} records/s")
            log.close()
        log = SegmentLog(folder / "verify")
        for _ in range(VERIFIED):
            log.append(RECORD)
        log.close()
        best = min(_verify_s(folder / "verify") for _ in range(3))
        print(f"{'verify':24}{VERIFIED / best:10,.0f} records/s of CPU time")


def _verify_s(folder: Path) -> float:
    start = time.process_time()
    result = verify(folder)
    assert result.ok
    assert result.records >= VERIFIED
    return time.process_time() - start


if __name__ == "__main__":
    main()

"""Claim against truth: the cost of comparing one event, and how long an alert takes: `python -m benchmarks truth`."""

from __future__ import annotations

import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentguard.audit import LogTail, SegmentLog
from agentguard.backends import SqliteEventStore
from agentguard.core import Event, EventKind
from agentguard.events import EventRecorder, InProcessBus, Retention, Truth, TruthFollower
from benchmarks.measure import cost

if TYPE_CHECKING:
    from collections.abc import Mapping

OPEN_CLAIMS = 200
ROUNDS = 300
LIMIT_MS = 100


def facts_of(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the facts of a file that is read."""
    return {"path.value": (str(record["resource"])[5:],), "path.access": ("read",)}


def _decision(number: int) -> dict[str, Any]:
    return {
        "type": "decision", "principal": "agent", "action": "file.read@1", "resource": f"file:/srv/data/{number}.csv", "effect": "allow", "params": {},
    }  # fmt: skip


def _read(path: str, number: int) -> Event:
    payload = {
        "action": "file.read", "resource": f"file:{path}", "effect": "deny", "rule": "own.rule", "pid": 7,
        "program": "/usr/bin/python3", "path": path,
    }  # fmt: skip
    return Event(f"e{number}-{path}", EventKind.FILE, datetime.now(UTC), "agent", "run-1", payload)


def compare() -> None:
    """Print what it costs to compare an event with so many open claims."""
    truth = Truth(facts_of, window_s=3600)
    now = datetime.now(UTC).isoformat()
    for number in range(OPEN_CLAIMS):
        truth.note({**_decision(number), "event_id": f"d{number}", "timestamp": now})
    for name, path in (("claimed", "/srv/data/0.csv"), ("not claimed", "/srv/secret.csv")):
        figures = cost(truth.judge, [_read(path, 0)], calls=2_000)
        print(f"one event, {name:11} {OPEN_CLAIMS} open claims: {figures.cpu:7.1f} us of processor time")


def latency(folder: Path) -> None:
    """Print how long after a file was opened its alert is out: bus, store on disk, log on disk, comparison."""
    bus, store = InProcessBus(), SqliteEventStore(folder / "events.sqlite")
    recorder = EventRecorder(bus, store, Retention(30, 1_000_000))
    log = SegmentLog(folder / "audit")
    came, took = threading.Event(), list[float]()

    def note(_alert: Event) -> None:
        took.append(time.perf_counter())
        came.set()

    follower = TruthFollower(
        Truth(facts_of), records=LogTail(folder / "audit"), store=store, bus=bus, on_alert=note
    )
    late = []
    for number in range(ROUNDS):
        log.append(_decision(number))
        came.clear()
        start = time.perf_counter()
        bus.publish([_read(f"/srv/secret/{number}", number)])
        came.wait(5)
        late.append((took[-1] - start) * 1000)
    follower.close()
    recorder.close()
    store.close()
    log.close()
    late.sort()
    print(
        f"event to alert, {ROUNDS} of them: p50 {late[len(late) // 2]:.1f}, p99 {late[int(len(late) * 0.99)]:.1f},"
        f" most {late[-1]:.1f} ms; must be at most {LIMIT_MS}"
    )


def main() -> None:
    """Run both."""
    compare()
    with tempfile.TemporaryDirectory() as folder:
        latency(Path(folder))

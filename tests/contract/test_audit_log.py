"""One suite for every `AuditLog`."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

import orjson
import pytest

from agentguard.audit import MAX_RECORD_BYTES, MemoryLog, SegmentLog
from agentguard.core import AuditError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agentguard.core import AuditLog


@pytest.fixture(params=["memory", "os", "group", "record"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AuditLog]:
    made: AuditLog = (
        MemoryLog() if request.param == "memory" else SegmentLog(tmp_path / "audit", durability=request.param)
    )
    yield made
    made.close()


def test_a_record_appended_is_read_back_with_the_log_s_own_fields_first(log: AuditLog) -> None:
    event_id = log.append({"type": "decision", "effect": "allow", "params": {"n": 1}})
    (record,) = log.read()
    assert list(record)[:5] == ["prev", "seq", "event_id", "timestamp", "type"]
    assert record["prev"] == "0" * 64
    assert record["seq"] == 1
    assert record["event_id"] == event_id
    assert re.fullmatch(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", event_id)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", record["timestamp"])
    assert record["params"] == {"n": 1}


def test_an_empty_record_is_a_record(log: AuditLog) -> None:
    log.append({})
    assert [record["seq"] for record in log.read()] == [1]


def test_records_from_many_threads_are_totally_ordered_with_ids_of_their_own(log: AuditLog) -> None:
    ids: list[str] = []

    def work() -> None:
        ids.extend(log.append({"type": "decision"}) for _ in range(50))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = list(log.read())
    assert [record["seq"] for record in records] == list(range(1, 301))
    assert {record["event_id"] for record in records} == set(ids)
    assert len(set(ids)) == 300


@pytest.mark.parametrize(
    ("after", "limit", "expected"),
    [(0, None, [1, 2, 3]), (1, None, [2, 3]), (0, 2, [1, 2]), (2, 0, []), (9, 1, [])],
)
def test_reading_starts_after_a_seq_and_stops_at_the_limit(
    log: AuditLog, after: int, limit: int | None, expected: list[int]
) -> None:
    for _ in range(3):
        log.append({"type": "decision"})
    assert [record["seq"] for record in log.read(after=after, limit=limit)] == expected


def test_large_params_are_replaced_by_their_digest(log: AuditLog) -> None:
    log.append({"type": "decision", "params": {"text": "x" * 70_000}, "reason": "y" * 60_000})
    (record,) = log.read()
    assert record["params"]["digest"].startswith("sha256:")
    assert record["params"]["bytes"] == 70_011
    assert record["reason"] == "y" * 60_000
    assert len(orjson.dumps(record)) <= MAX_RECORD_BYTES


def test_other_large_fields_follow_the_largest_first(log: AuditLog) -> None:
    log.append({"type": "decision", "params": {}, "findings": ["x" * 70_000], "reason": "y" * 900})
    (record,) = log.read()
    assert record["findings"]["bytes"] == 70_004
    assert record["reason"] == "y" * 900


@pytest.mark.parametrize(
    "bad",
    [
        {"seq": 7},
        {"prev": "0" * 64},
        {"x": object()},
        {"x": 2**70},
        {"x": "\ud800"},
        {f"k{i}": "x" * 60 for i in range(2000)},
    ],
)
def test_a_record_that_cannot_be_written_is_refused_and_the_log_goes_on(
    log: AuditLog, bad: dict[str, object]
) -> None:
    with pytest.raises(AuditError) as caught:
        log.append(bad)
    assert caught.value.code == "record_invalid"
    log.append({"type": "decision"})
    assert [record["seq"] for record in log.read()] == [1]


def test_closing_twice_is_fine_and_appending_afterwards_is_refused(log: AuditLog) -> None:
    log.append({"type": "decision"})
    log.close()
    log.close()
    with pytest.raises(AuditError, match="closed"):
        log.append({"type": "decision"})
    assert len(list(log.read())) == 1

from __future__ import annotations

import hashlib

import pytest

from agentguard.audit import MemoryLog, Rejections
from agentguard.core import AuditError


class Ticks:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_rejected_request_leaves_size_and_digest_and_no_content() -> None:
    log = MemoryLog()
    Rejections(log).record("127.0.0.1", "bad_json", b"hunter2")
    (record,) = log.read()
    assert record["type"] == "rejected"
    assert (record["kind"], record["peer"], record["bytes"]) == ("bad_json", "127.0.0.1", 7)
    assert record["sha256"] == hashlib.sha256(b"hunter2").hexdigest()
    assert b"hunter2" not in log.lines[0]


def test_a_kind_or_peer_that_could_carry_content_is_cut_down() -> None:
    log = MemoryLog()
    Rejections(log).record("p\n" * 100, "Bearer hunter2", b"")
    (record,) = log.read()
    assert record["kind"] == "other"
    assert record["peer"] == "p" * 32


def test_the_surplus_of_a_peer_becomes_one_counted_record_and_others_are_unharmed() -> None:
    log, ticks = MemoryLog(), Ticks()
    rejections = Rejections(log, per_peer_rate=1, burst=2, interval_s=10, monotonic=ticks)
    for _ in range(50):
        rejections.record("loud", "no_token", b"abc")
    rejections.record("quiet", "no_token", b"abc")
    assert [record["peer"] for record in log.read()] == ["loud", "loud", "quiet"]
    ticks.now = 11
    rejections.record("quiet", "no_token", b"")
    records = list(log.read(after=3))
    assert (records[0]["kind"], records[0]["peer"], records[0]["count"]) == ("surplus", "loud", 48)
    assert records[0]["bytes"] == 144
    assert records[1]["peer"] == "quiet"
    rejections.flush()
    assert len(log.lines) == 5


def test_many_peers_cannot_flood_the_log_or_the_memory() -> None:
    log, ticks = MemoryLog(), Ticks()
    rejections = Rejections(log, total_rate=5, max_peers=10, monotonic=ticks)
    for number in range(1000):
        rejections.record(f"peer-{number}", "no_token", b"x")
    assert len(log.lines) == 20
    rejections.flush()
    surplus = list(log.read(after=20))
    assert len(surplus) == 11
    assert sum(record["count"] for record in surplus) == 980
    assert surplus[-1]["peer"] == "others"


def test_a_log_that_takes_no_records_is_said() -> None:
    log = MemoryLog()
    log.close()
    with pytest.raises(AuditError):
        Rejections(log).record("p", "no_token", b"")

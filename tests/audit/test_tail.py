"""Following a log that others write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentguard.audit import LogTail, SegmentLog

if TYPE_CHECKING:
    from pathlib import Path


def take(tail: LogTail) -> list[int]:
    return [record["number"] for record in tail.take() if record["type"] == "test"]


def test_tail_yields_each_record_once_over_segments(tmp_path: Path) -> None:
    tail = LogTail(tmp_path / "audit")
    assert tail.take() == []
    log = SegmentLog(tmp_path / "audit", max_segment_bytes=4096)
    log.append({"type": "test", "number": 0})
    assert take(tail) == [0]
    assert take(tail) == []
    for number in range(1, 100):
        log.append({"type": "test", "number": number, "text": "x" * 100})
    assert len(list((tmp_path / "audit").glob("*.jsonl"))) > 2
    assert take(tail) == list(range(1, 100))
    log.close()
    assert take(tail) == []
    tail.close()
    tail.close()


def test_tail_begins_shortly_before_the_end(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path / "audit")
    for number in range(40):
        log.append({"type": "test", "number": number, "text": "x" * 60_000})
    tail = LogTail(tmp_path / "audit")
    numbers = take(tail)
    tail.close()
    assert numbers == list(range(numbers[0], 40))
    assert 10 < len(numbers) < 20
    log.close()


def test_line_is_taken_when_it_is_whole_and_only_if_it_is_a_record(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path / "audit")
    log.append({"type": "test", "number": 0})
    tail = LogTail(tmp_path / "audit")
    assert take(tail) == [0]
    log.append({"type": "test", "number": 1})
    log.close()
    [segment] = (tmp_path / "audit").glob("*.jsonl")
    copy = segment.read_bytes().splitlines(keepends=True)[1]
    with segment.open("ab", buffering=0) as file:
        file.write(b"no record\n" + copy[:50])
        assert take(tail) == [1]
        file.write(copy[50:])
        assert take(tail) == [1]
        file.write(copy[:95] + b"}\n")
        assert take(tail) == []
    tail.close()

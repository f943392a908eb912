from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from agentguard.audit import Filter, SegmentLog, export_csv, export_json_lines, read_records
from agentguard.core import ConfigError, IntegrityError

if TYPE_CHECKING:
    from pathlib import Path

    from audit_doubles import SetClock

START = datetime(2026, 11, 21, 23, 59, 59, 999_990, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path, clock: SetClock) -> Path:
    log = SegmentLog(tmp_path / "log", clock=clock)
    for number in range(6):
        log.append(
            {
                "type": "decision",
                "n": number + 1,
                "correlation_id": f"c-{number % 3}",
                "principal": {"id": f"deploy-{number % 2}"} if number < 3 else f"deploy-{number % 2}",
                "action": f"restart-{number}@1",
                "effect": "deny" if number == 4 else "allow",
                "reason": "=1+1",
            }
        )
        clock.advance(minutes=1)
    log.close()
    return tmp_path / "log"


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filter(), [1, 2, 3, 4, 5, 6]),
        (Filter(principal="deploy-1"), [2, 4, 6]),
        (Filter(principal="deploy-*", last=2), [5, 6]),
        (Filter(action="restart-3"), [4]),
        (Filter(action="restart-3@1"), [4]),
        (Filter(effect="deny"), [5]),
        (Filter(correlation_id="c-1"), [2, 5]),
        (Filter(since=START + timedelta(minutes=2), until=START + timedelta(minutes=4)), [3, 4]),
        (Filter(last=0), []),
        (Filter(last=4), [3, 4, 5, 6]),
        (Filter(last=99), [1, 2, 3, 4, 5, 6]),
    ],
)
def test_a_filter_lets_through_what_it_says(folder: Path, filters: Filter, expected: list[int]) -> None:
    assert [record["n"] for record in read_records(folder, filters) if "n" in record] == expected


def test_a_line_that_is_no_record_stops_the_reading_with_its_place(folder: Path) -> None:
    path = min(folder.glob("*.jsonl"))
    path.chmod(0o600)
    path.write_bytes(path.read_bytes() + b'{"prev":"' + b"0" * 64 + b'","seq":9,\n')
    with pytest.raises(IntegrityError) as caught:
        list(read_records(path))
    assert caught.value.location is not None
    assert caught.value.location.file == path.name


def test_a_log_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no audit log"):
        read_records(tmp_path / "nowhere")


def test_csv_has_a_header_and_no_formulas(folder: Path) -> None:
    stream = io.StringIO(newline="")
    assert export_csv(read_records(folder, Filter(last=2)), stream) == 2
    header, first, _ = stream.getvalue().splitlines()
    assert header.startswith("seq,timestamp,type,event_id,correlation_id,principal,action,")
    assert ",deploy-0,restart-4@1,,deny,,'=1+1," in first


def test_json_lines_are_the_lines_of_the_log(folder: Path) -> None:
    stream = io.StringIO()
    assert export_json_lines(read_records(folder), stream) == 7
    assert stream.getvalue() == "".join(path.read_text() for path in sorted(folder.glob("*.jsonl")))

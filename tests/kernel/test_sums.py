"""Sums of single reads and writes: nothing is added twice, and there is a bound."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agentguard.kernel._layout import IO_SLOT, SUM_KEY, Kind
from agentguard.kernel._sums import Sums

CALL = st.tuples(st.integers(1, 3), st.integers(1, 3), st.booleans(), st.integers(0, 1 << 40))


def rows_of(calls: list[tuple[int, int, bool, int]]) -> np.ndarray:
    rows = np.zeros(len(calls), IO_SLOT)
    for row, (pid, ino, is_write, size) in zip(rows, calls, strict=True):
        row["pid"], row["start_ns"], row["cgroup"] = pid, pid * 1000, 7
        row["a0"], row["a1"], row["ret"] = ino, 5, size
        row["kind"] = Kind.WRITE if is_write else Kind.READ
    return rows


@given(st.lists(st.lists(CALL, min_size=1), min_size=1, max_size=4))
def test_sums_are_those_of_all_calls(batches: list[list[tuple[int, int, bool, int]]]) -> None:
    sums, expected = Sums(), Counter[tuple[int, int, str]]()
    for calls in batches:
        assert sums.add(rows_of(calls)) == 0
        for pid, ino, is_write, size in calls:
            expected[pid, ino, "writes" if is_write else "reads"] += 1
            expected[pid, ino, "written_bytes" if is_write else "read_bytes"] += size
    keys, values = sums.all()
    found = {
        (int(key["pid"]), int(key["ino"]), name): int(value[name])
        for key, value in zip(keys, values, strict=True)
        for name in ("reads", "read_bytes", "writes", "written_bytes")
    }
    assert +Counter(found) == +expected
    assert {int(each) for each in keys["dev"]} == {5}


def test_what_finds_no_room_is_counted_and_what_is_there_goes_on() -> None:
    sums = Sums(most=2)
    calls = [(1, ino, False, 10) for ino in (1, 2, 3, 3, 4)]
    lost = sums.add(rows_of(calls)) + sums.add(rows_of(calls))
    assert (len(sums), lost) == (2, 10 - int(sums.all()[1]["reads"].sum()))
    assert lost >= 4


def test_forgetting_makes_room() -> None:
    sums = Sums(most=2)
    sums.add(rows_of([(1, 1, False, 10), (1, 2, False, 20)]))
    keys, values = sums.all()
    sums.forget(keys[values["read_bytes"] == 10])
    sums.forget(np.zeros(1, SUM_KEY))
    assert sums.add(rows_of([(1, 3, True, 30), (1, 2, False, 1)])) == 0
    keys, values = sums.all()
    assert dict(zip(keys["ino"].tolist(), values["read_bytes"].tolist(), strict=True)) == {2: 21, 3: 0}

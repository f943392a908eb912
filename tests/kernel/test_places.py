"""The table that the kernel fills in, here a file in its place."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from agentguard.kernel._layout import PID_BITS, PLACE
from agentguard.kernel._places import Places

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNT = 64


class Table:
    """Takes places as the kernel does."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(COUNT * PLACE.itemsize))
        self.file = path.open("r+b")
        self.rows: Any = np.memmap(path, PLACE, "r+")
        self.places = Places(self.file.fileno(), COUNT)

    def take(self, index: int, pid: int, ino: int, **counts: int) -> None:
        row = {
            "start_ns": pid * 10,
            "ino": ino,
            "cgroup": 7,
            "who": pid | 0o10 << PID_BITS,
            "dev": 3,
            **counts,
        }
        for name, value in row.items():
            self.rows[index][name] = value


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    made = Table(tmp_path / "table")
    yield made
    made.places.close()
    made.places.close()
    made.file.close()


def test_places_that_are_taken_are_told_with_pid_and_kind_apart(table: Table) -> None:
    table.take(5, pid=4_194_303, ino=9, reads=2, read_bytes=1 << 40)
    keys, values = table.places.all()
    assert keys.tolist() == [(41_943_030, 9, 7, 4_194_303, 3)]
    assert values[["reads", "read_bytes", "writes", "written_bytes"]].tolist() == [(2, 1 << 40, 0, 0)]
    assert stat.S_ISREG(int(values["mode"][0]))


def test_what_is_forgotten_is_free_and_empty_and_the_rest_stays(table: Table) -> None:
    table.take(1, pid=1, ino=1, reads=1)
    table.take(2, pid=1, ino=2, writes=1, written_bytes=8)
    table.take(3, pid=2, ino=1, reads=1)
    # Two threads at once may take two places for one file.
    table.take(63, pid=1, ino=1, reads=5)
    keys, values = table.places.all()
    assert values["reads"].sum() == 7
    table.places.forget(keys[(keys["pid"] == 1) & (keys["ino"] == 1)])
    table.places.forget(keys[:0])
    assert table.places.all()[0][["pid", "ino"]].tolist() == [(1, 2), (2, 1)]
    assert table.rows[1].tobytes() == table.rows[63].tobytes() == bytes(PLACE.itemsize)

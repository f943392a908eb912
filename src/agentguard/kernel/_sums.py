"""Sums of single reads and writes for which the kernel had no room: as many as there, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from agentguard.kernel._layout import SUM, SUM_KEY, Kind

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

MAX_SUMS = 65_536
_ODD = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5], "<u8")
# As `SUM_KEY` has them: a record of a single read or write names its file in a0 and a1.
_COLUMNS = {"start_ns": "start_ns", "ino": "a0", "cgroup": "cgroup", "pid": "pid", "dev": "a1"}
_VALUES = ("reads", "read_bytes", "writes", "written_bytes")


class Sums:
    """What each process has moved through each file, for `most` of these at once. For one thread at a time."""

    def __init__(self, most: int = MAX_SUMS) -> None:
        self._most = most
        self._places: dict[bytes, int] = {}
        # They grow with what is there: most observers never need them.
        self._keys, self._values = np.zeros(0, SUM_KEY), np.zeros(0, SUM)

    def __len__(self) -> int:
        return len(self._places)

    def add(self, rows: NDArray[Any]) -> int:
        """Add records of single reads and writes, and return how many of them found no room."""
        firsts, counts, sums = _added_up(rows)
        keys = np.zeros(len(firsts), SUM_KEY)
        for name, column in _COLUMNS.items():
            keys[name] = firsts[column]
        self._make_room(len(self._places) + len(keys))
        lost = 0
        for index in range(len(keys)):
            place = self._place(keys[index : index + 1])
            if place is None:
                lost += int(counts[index])
                continue
            for name in _VALUES:
                self._values[name][place] += sums[name][index]
        return lost

    def _place(self, key: NDArray[Any]) -> int | None:
        raw = key.tobytes()
        place = self._places.get(raw)
        if place is None and len(self._places) < self._most:
            place = self._places[raw] = len(self._places)
            self._keys[place] = key[0]
        return place

    def _make_room(self, count: int) -> None:
        if (count := min(count, self._most)) > len(self._keys):
            more = min(max(count, 2 * len(self._keys)), self._most) - len(self._keys)
            self._keys = np.concatenate((self._keys, np.zeros(more, SUM_KEY)))
            self._values = np.concatenate((self._values, np.zeros(more, SUM)))

    def all(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return keys and values of what was added up."""
        count = len(self._places)
        return self._keys[:count].copy(), self._values[:count].copy()

    def forget(self, keys: NDArray[Any]) -> None:
        """Make room: these are not asked for any more."""
        gone = {
            place
            for index in range(len(keys))
            if (place := self._places.get(keys[index].tobytes())) is not None
        }
        if not gone:
            return
        kept = [place for place in range(len(self._places)) if place not in gone]
        self._keys, self._values = self._keys[kept], self._values[kept]
        self._places = {self._keys[place].tobytes(): place for place in range(len(kept))}


def _added_up(rows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[Any]]:
    """Return a record of each process and file, how many there are of it, and their sums."""
    mixed = rows["start_ns"] * _ODD[0]
    mixed ^= rows["a0"] * _ODD[1] + rows["a1"] * _ODD[2]
    mixed ^= rows["cgroup"] * _ODD[3]
    order = np.argsort(mixed, kind="stable")
    mixed = mixed[order]
    first = np.flatnonzero(np.concatenate(([True], mixed[1:] != mixed[:-1])))
    is_write = (rows["kind"] == Kind.WRITE)[order]
    sizes = rows["ret"].astype("<u8")[order]
    written = np.where(is_write, sizes, 0)
    sums = np.zeros(len(first), SUM)
    for name, each in zip(_VALUES, (~is_write, sizes - written, is_write, written), strict=True):
        sums[name] = np.add.reduceat(each.astype("<u8"), first)
    return rows[order[first]], np.diff(first, append=len(rows)), sums

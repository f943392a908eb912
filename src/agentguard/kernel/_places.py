"""The kernel's table of what processes have moved, mapped into memory: read as it is, and freed place by place."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

import numpy as np

from agentguard.kernel._layout import PID_BITS, PLACE, SUM, SUM_KEY
from agentguard.kernel._ring import barrier

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

_ODD = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5], "<u8")
_PID = np.uint32((1 << PID_BITS) - 1)
_COUNTS = ("reads", "read_bytes", "writes", "written_bytes")


class Places:
    """The table behind `descriptor`, of `count` places. The kernel takes places, whoever has read them frees them."""

    def __init__(self, descriptor: int, count: int) -> None:
        self._memory = mmap.mmap(descriptor, count * PLACE.itemsize, mmap.MAP_SHARED)
        self._table: NDArray[Any] = np.frombuffer(self._memory, PLACE)
        self._barrier = barrier()

    def all(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return keys and values of the places that are taken. One process and file may have two of them."""
        taken = self._table[self._table["start_ns"] != 0]
        keys, values = np.zeros(len(taken), SUM_KEY), np.zeros(len(taken), SUM)
        for name in ("start_ns", "ino", "cgroup", "dev"):
            keys[name] = taken[name]
        keys["pid"] = taken["who"] & _PID
        values["mode"] = taken["who"] >> np.uint32(PID_BITS) << np.uint32(12)
        for name in _COUNTS:
            values[name] = taken[name]
        return keys, values

    def forget(self, keys: NDArray[Any]) -> None:
        """Free the places of these; their processes have ended, so that the kernel adds no more to them."""
        table = self._table
        taken = np.flatnonzero(table["start_ns"])
        rows = table[taken]
        gone = taken[np.isin(_mixed(rows, rows["who"] & _PID), _mixed(keys, keys["pid"]))]
        if not len(gone):
            return
        for name in ("ino", "cgroup", "who", "dev", *_COUNTS):
            table[name][gone] = 0
        # INVARIANT: a place is empty before it is free, as the kernel may take it at once.
        self._barrier()
        table["start_ns"][gone] = 0

    def close(self) -> None:
        """Unmap. Idempotent."""
        # The view goes first: a mapping with a view on it cannot be closed.
        self._table = np.zeros(0, PLACE)
        self._memory.close()


def _mixed(rows: NDArray[Any], pids: NDArray[Any]) -> NDArray[np.uint64]:
    mixed: NDArray[np.uint64] = rows["start_ns"] * _ODD[0]
    mixed ^= rows["ino"] * _ODD[1]
    mixed ^= rows["cgroup"] * _ODD[2]
    mixed ^= (rows["dev"].astype("<u8") << np.uint64(32) | pids) * _ODD[3]
    return mixed

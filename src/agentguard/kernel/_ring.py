"""A BPF ring buffer, mapped into memory and read in batches: numpy sees the kernel's own pages."""

from __future__ import annotations

import ctypes
import mmap
import platform
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BUSY = np.uint32(1 << 31)
_STRONG_ORDER = platform.machine() in {"x86_64", "i686"}
_MEMBARRIER, _PRIVATE_EXPEDITED, _REGISTER = 283, 8, 16  # on arm64


class Ring:
    """One ring whose records all have the shape `slot`. For one reader at a time.

    The kernel maps the data twice in a row, so a batch that runs over the end is still one piece of memory.
    """

    def __init__(self, descriptor: int, size: int, slot: np.dtype[Any]) -> None:
        page = mmap.PAGESIZE
        self._slot, self._size = slot, size
        self._mask = size - 1
        self._consumer_page = mmap.mmap(descriptor, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._pages = mmap.mmap(descriptor, page + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        self._consumer = np.frombuffer(self._consumer_page, "<u8", 1)
        self._producer = np.frombuffer(self._pages, "<u8", 1)
        self._data_offset = page
        self._barrier = _nothing if _STRONG_ORDER else _make_barrier()

    @property
    def waiting(self) -> int:
        """How many bytes wait to be read."""
        return int(self._producer[0]) - int(self._consumer[0])

    def drain(self, most: int = 1 << 16) -> NDArray[Any]:
        """Return up to `most` records in the order in which they were begun, and give their room back."""
        start = int(self._consumer[0])
        end = int(self._producer[0])
        # INVARIANT: nothing of a record is read before the position that says that it is there.
        self._barrier()
        count = min((end - start) // self._slot.itemsize, most)
        if count <= 0:
            return np.empty(0, self._slot)
        view: NDArray[Any] = np.frombuffer(
            self._pages, self._slot, count, offset=self._data_offset + (start & self._mask)
        )
        busy = (view["size"] & _BUSY) != 0
        if busy.any():
            # Somebody is still writing this one; what comes after it waits, so that the order holds.
            count = int(busy.argmax())
            view = view[:count]
        self._barrier()
        # As one piece: numpy copies records field by field, which takes ten times as long.
        batch = whole(view).copy().view(self._slot)
        self._consumer[0] = start + count * self._slot.itemsize
        return batch

    def close(self) -> None:
        """Unmap. Idempotent."""
        # The views go first: a mapping with a view on it cannot be closed.
        self._consumer = self._producer = np.zeros(1, "<u8")
        self._consumer_page.close()
        self._pages.close()


def whole(rows: NDArray[Any]) -> NDArray[Any]:
    """Return records as blocks without fields, which are copied and picked much faster."""
    return rows.view(np.dtype((np.void, rows.dtype.itemsize)))


def _nothing() -> None:
    """x86 keeps loads in order by itself."""


def _make_barrier() -> Any:
    """Return what keeps loads in order on other machines: a system call that the kernel defines so."""
    call = ctypes.CDLL(None).syscall
    call(_MEMBARRIER, _REGISTER, 0, 0)

    def barrier() -> None:
        call(_MEMBARRIER, _PRIVATE_EXPEDITED, 0, 0)

    return barrier

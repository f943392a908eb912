"""A BPF ring buffer, mapped into memory and read in batches: numpy sees the kernel's own pages."""

from __future__ import annotations

import ctypes
import mmap
import platform
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_BUSY = 1 << 31
_LENGTH = struct.Struct("<I")
_FEW = 48  # records, up to which plain Python is quicker than numpy
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
        self._consumer = memoryview(self._consumer_page)[:8].cast("Q")
        self._producer = memoryview(self._pages)[:8].cast("Q")
        self._memory = memoryview(self._pages)
        self._data_offset = page
        self._barrier = barrier()

    @property
    def waiting(self) -> int:
        """How many bytes wait to be read."""
        return self._producer[0] - self._consumer[0]

    def drain(self, most: int = 1 << 16, *, after: bytes = b"") -> bytes:
        """Return up to `most` records as one block, in the order in which they were begun, and give their room back.

        `after` is what the block begins with: to put it there later would copy all of it once more.
        """
        start = self._consumer[0]
        end = self._producer[0]
        size = self._slot.itemsize
        count = min((end - start) // size, most)
        if count <= 0:
            return after
        # INVARIANT: nothing of a record is read before the position that says that it is there.
        self._barrier()
        offset = self._data_offset + (start & self._mask)
        count = self._ready(offset, count)
        self._barrier()
        block = b"".join((after, self._memory[offset : offset + count * size]))
        self._consumer[0] = start + count * size
        return block

    def view(self, most: int = 1 << 16) -> NDArray[Any]:
        """Return up to `most` records where they lie, until `advance` gives their room back: nothing is copied."""
        start = self._consumer[0]
        count = min((self._producer[0] - start) // self._slot.itemsize, most)
        self._barrier()
        offset = self._data_offset + (start & self._mask)
        rows: NDArray[Any] = np.frombuffer(self._pages, self._slot, self._ready(offset, count), offset=offset)
        self._barrier()
        return rows

    def advance(self, count: int) -> None:
        """Give back the room of the first `count` records; nobody may look at them any more."""
        self._consumer[0] += count * self._slot.itemsize

    def _ready(self, offset: int, count: int) -> int:
        """Return how many are written; what comes after one that is not waits, so that the order holds."""
        size = self._slot.itemsize
        if count <= _FEW:
            for index in range(count):
                if _LENGTH.unpack_from(self._memory, offset + index * size)[0] & _BUSY:
                    return index
            return count
        view: NDArray[Any] = np.frombuffer(self._pages, self._slot, count, offset=offset)
        busy = (view["size"] & np.uint32(_BUSY)) != 0
        return int(busy.argmax()) if busy.any() else count

    def close(self) -> None:
        """Unmap. Idempotent."""
        # The views go first: a mapping with a view on it cannot be closed.
        for view in (self._consumer, self._producer, self._memory):
            view.release()
        self._consumer_page.close()
        self._pages.close()


def whole(rows: NDArray[Any]) -> NDArray[Any]:
    """Return records as blocks without fields, which are copied and picked much faster."""
    return rows.view(np.dtype((np.void, rows.dtype.itemsize)))


def barrier() -> Callable[[], None]:
    """Return what keeps this thread's loads in order, and its stores."""
    return _nothing if _STRONG_ORDER else _make_barrier()


def _nothing() -> None:
    """x86 keeps loads in order by itself, and stores."""


def _make_barrier() -> Callable[[], None]:
    """Return what keeps them in order on other machines: a system call that the kernel defines so."""
    call = ctypes.CDLL(None).syscall
    call(_MEMBARRIER, _REGISTER, 0, 0)

    def ask() -> None:
        call(_MEMBARRIER, _PRIVATE_EXPEDITED, 0, 0)

    return ask

"""One io_uring operation, by hand: enough to open a file or to connect a socket past the ordinary system calls."""

from __future__ import annotations

import ctypes
import mmap
import os
import struct

_LIBC = ctypes.CDLL(None, use_errno=True)
_SETUP, _ENTER = 425, 426
_OPENAT, _CONNECT = 18, 16
_AT_FDCWD = -100


def _submit(opcode: int, fd: int, address: int, length: int, offset: int, flags: int) -> int:
    params = ctypes.create_string_buffer(120)
    ring = _LIBC.syscall(_SETUP, 4, params)
    if ring < 0:
        raise OSError(ctypes.get_errno(), "io_uring_setup")
    words = struct.unpack_from("=10I", params.raw)
    sq = struct.unpack_from("=10I", params.raw, 40)  # head tail mask entries flags dropped array
    cq = struct.unpack_from("=10I", params.raw, 80)  # head tail mask entries overflow cqes
    entries, cq_entries = words[0], words[1]
    sq_map = mmap.mmap(ring, sq[6] + entries * 4, offset=0)
    cq_map = mmap.mmap(ring, cq[5] + cq_entries * 16, offset=0x8000000)
    sqes = mmap.mmap(ring, entries * 64, offset=0x10000000)
    sqes[0:64] = struct.pack("=BBHiQQIIQ24x", opcode, 0, 0, fd, offset, address, length, flags, 7)
    struct.pack_into("=I", sq_map, sq[6], 0)
    struct.pack_into("=I", sq_map, sq[1], struct.unpack_from("=I", sq_map, sq[1])[0] + 1)
    if _LIBC.syscall(_ENTER, ring, 1, 1, 1, None, 0) < 0:
        raise OSError(ctypes.get_errno(), "io_uring_enter")
    result: int = struct.unpack_from("=Qi", cq_map, cq[5])[1]
    os.close(ring)
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


def uring_open(path: str) -> int:
    """Open a file for reading."""
    text = ctypes.create_string_buffer(path.encode())
    return _submit(_OPENAT, _AT_FDCWD, ctypes.addressof(text), 0, 0, os.O_RDONLY)


def uring_connect(fd: int, address: bytes) -> None:
    """Connect a socket."""
    buffer = ctypes.create_string_buffer(address, len(address))
    _submit(_CONNECT, fd, ctypes.addressof(buffer), 0, len(address), 0)

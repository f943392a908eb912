"""One segment file of the buffer: records, each with its place and a checksum over both."""

from __future__ import annotations

import os
import struct
import zlib
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Length of the body, CRC-32 of place and body, place.
_HEAD = struct.Struct("<IIQ")
HEAD_BYTES = _HEAD.size
MAX_BODY = 1 << 20
SUFFIX = ".spool"


# How many bytes of each agent.
Shares = dict[str, int]


class Scan(msgspec.Struct, frozen=True):
    """What a segment holds: `good_bytes` of records up to place `last`.

    What follows them is the beginning of a record whose writing was cut off (`is_torn`), damage, or nothing.
    """

    last: int
    good_bytes: int
    size: int
    is_torn: bool = False
    shares: Shares = {}


def name_of(first: int) -> str:
    """Return the file name of the segment whose first record has this place."""
    return f"{first:020d}{SUFFIX}"


def first_of(path: Path) -> int | None:
    """Return the place of a segment's first record, by its name; None if it is no segment."""
    digits = path.name.removesuffix(SUFFIX)
    is_ours = path.name.endswith(SUFFIX) and len(digits) == 20 and digits.isascii() and digits.isdigit()  # noqa: PLR2004 - as `name_of` writes it
    return int(digits) if is_ours else None


def pack(place: int, body: bytes) -> bytes:
    """Return a record as it is written."""
    return _HEAD.pack(len(body), _checksum(place, body), place) + body


def records(descriptor: int, offset: int, place: int) -> Iterator[tuple[bytes, int]]:
    """Yield bodies from `offset` on, each with the offset after it, as long as they are good.

    `place` is that of the first; a record with another one is not good.
    """
    while True:
        head = os.pread(descriptor, HEAD_BYTES, offset)
        if len(head) < HEAD_BYTES:
            return
        length, checksum, own = _HEAD.unpack(head)
        if length > MAX_BODY or own != place:
            return
        body = os.pread(descriptor, length, offset + HEAD_BYTES)
        if len(body) < length or _checksum(place, body) != checksum:
            return
        offset += HEAD_BYTES + length
        place += 1
        yield body, offset


def scan(descriptor: int, first: int, *, agent_of: Callable[[bytes], str]) -> Scan:
    """Return what is in a segment, and whose, as `agent_of` says of each body."""
    last, good = first - 1, 0
    shares: Shares = {}
    for body, end in records(descriptor, 0, first):
        agent = agent_of(body)
        shares[agent] = shares.get(agent, 0) + end - good
        last, good = last + 1, end
    size = os.fstat(descriptor).st_size
    head = os.pread(descriptor, HEAD_BYTES, good)
    is_torn = good < size and (len(head) < HEAD_BYTES or good + HEAD_BYTES + _HEAD.unpack(head)[0] > size)
    return Scan(last, good, size, is_torn, shares)


def _checksum(place: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(place.to_bytes(8, "little")))

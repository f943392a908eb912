"""How many records of each agent were lost and not told yet: kept in a file, which takes no room that it has not got."""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

_BYTES = 1 << 17
# CRC-32 and length of what follows.
_HEAD = struct.Struct("<II")
# Beyond these they are counted together with those of nobody in particular.
MAX_AGENTS = 600


class Losses:
    """Counts by agent. Without a folder they are nowhere but in memory.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._counts: dict[str, int] = {}
        self._file = -1
        if folder is None:
            return
        self._file = os.open(folder / "losses", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with contextlib.suppress(OSError):
            # The disk may be full when it is needed.
            os.posix_fallocate(self._file, 0, _BYTES)
        self._counts = self._read()

    def _read(self) -> dict[str, int]:
        raw = os.pread(self._file, _BYTES, 0)
        if len(raw) < _HEAD.size:
            return {}
        checksum, length = _HEAD.unpack_from(raw)
        body = raw[_HEAD.size : _HEAD.size + length]
        if zlib.crc32(body) != checksum:
            return {}
        try:
            return msgspec.msgpack.decode(body, type=dict[str, int])
        except msgspec.MsgspecError:
            return {}

    def counts(self) -> dict[str, int]:
        """Return how many each agent lost."""
        return dict(self._counts)

    def add(self, agent: str, count: int) -> None:
        """Count what an agent lost; of very many agents only the first ones by name."""
        if agent in self._counts or len(self._counts) < MAX_AGENTS:
            self._counts[agent] = self._counts.get(agent, 0) + count
            self._write()

    def clear(self) -> None:
        """Forget them: they were told."""
        if self._counts:
            self._counts = {}
            self._write()

    def _write(self) -> None:
        body = msgspec.msgpack.encode(self._counts)
        if self._file >= 0 and _HEAD.size + len(body) <= _BYTES:
            # In place: see above.
            with contextlib.suppress(OSError):
                os.pwrite(self._file, _HEAD.pack(zlib.crc32(body), len(body)) + body, 0)

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

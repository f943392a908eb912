"""Following a log while it is written: each whole record once, from where the last look ended."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import orjson

from agentguard.audit._record import place_of
from agentguard.audit._segment import Segment, is_sealed, list_segments

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

_FIRST_LOOK_BYTES = 1024 * 1024


class LogTail:
    """Reads what any process appends to the log in `folder`. For one thread.

    It begins `_FIRST_LOOK_BYTES` before the end, so that what was decided just before is known. It proves
    nothing and skips lines that are no records: whoever needs proof asks `verify`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._segment: Segment | None = None
        self._file: BinaryIO | None = None
        self._rest = b""

    def take(self) -> list[dict[str, Any]]:
        """Return the records that came since the last look, oldest first.

        Raises:
            OSError: the log cannot be read.
        """
        found: list[dict[str, Any]] = []
        if self._file is None and not self._open_newest():
            return found
        while True:
            assert self._file is not None
            # Sealed before it is read to its end: what is sealed grows no more.
            sealed = is_sealed(_mode(self._file))
            found.extend(self._read())
            if not sealed or not self._open_next():
                return found

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read(self) -> list[dict[str, Any]]:
        assert self._file is not None
        data = self._file.read()
        if not data:
            return []
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [record for line in lines if (record := _record(line)) is not None]

    def _open_newest(self) -> bool:
        segments = list_segments(self._folder) if self._folder.is_dir() else []
        if not segments:
            return False
        self._open(segments[-1])
        assert self._file is not None
        start = max(0, self._file.seek(0, 2) - _FIRST_LOOK_BYTES)
        self._file.seek(start)
        if start:
            self._file.readline()
        return True

    def _open_next(self) -> bool:
        assert self._segment is not None
        later = [each for each in list_segments(self._folder) if each.number > self._segment.number]
        if not later:
            return False
        self.close()
        self._open(later[0])
        return True

    def _open(self, segment: Segment) -> None:
        self._segment, self._rest = segment, b""
        self._file = segment.path.open("rb")


def _mode(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_mode


def _record(line: bytes) -> dict[str, Any] | None:
    if place_of(line) is None:
        return None
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return record if isinstance(record, dict) else None

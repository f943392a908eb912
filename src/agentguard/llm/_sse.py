"""Server-sent events (HTML standard, section 9.2): cuts a stream into events without changing a byte of them."""

from __future__ import annotations

import re

import msgspec

# A line ends with CR LF, LF or CR; an empty line ends an event. Atomic: a CR LF is never two line ends.
_END = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE = re.compile(rb"\r\n|\n|\r")


class SseEvent(msgspec.Struct, frozen=True):
    """One event: its bytes as they came, with the empty line, and its data lines joined."""

    raw: bytes
    data: bytes


class SseSplitter:
    """Cuts chunks into events; `max_bytes` is how large one event may be."""

    def __init__(self, max_bytes: int) -> None:
        self._buffer = bytearray()
        self._max_bytes = max_bytes

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Return the events that are complete now.

        Raises:
            OverflowError: an event is too large.
        """
        buffer = self._buffer
        looked = max(len(buffer) - 3, 0)
        buffer += chunk
        events: list[SseEvent] = []
        start = 0
        while (end := _END.search(buffer, max(start, looked))) is not None:
            # A CR at the very end may be the first half of a CR LF.
            if end.end() == len(buffer) and buffer.endswith(b"\r"):
                break
            events.append(read_event(bytes(buffer[start : end.end()])))
            start = end.end()
        del buffer[:start]
        if len(buffer) > self._max_bytes:
            raise OverflowError("an event is too large")
        return events

    def finish(self) -> list[SseEvent]:
        """Return what is left at the end of the stream; a reader may take it for an event."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return [read_event(rest)] if rest else []


def read_event(raw: bytes) -> SseEvent:
    """Return the event in `raw`."""
    if raw.startswith(b"data: ") and raw.endswith(b"\n\n") and raw.count(b"\n") == 2 and b"\r" not in raw:  # noqa: PLR2004 - one line and its empty one
        return SseEvent(raw, raw[6:-2])
    lines = [line for line in _LINE.split(raw) if line.startswith(b"data:") or line == b"data"]
    return SseEvent(raw, b"\n".join(line[5:].removeprefix(b" ") for line in lines))


def write_event(data: object, name: str = "") -> SseEvent:
    """Return an event with `data` as JSON."""
    body = msgspec.json.encode(data)
    head = f"event: {name}\n".encode() if name else b""
    return SseEvent(head + b"data: " + body + b"\n\n", body)

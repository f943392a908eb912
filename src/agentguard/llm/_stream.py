"""A provider's answer as a stream: tool calls are held back until they are decided, and texts as far as wanted."""

from __future__ import annotations

import enum
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from agentguard.llm._answer import READERS
from agentguard.llm._call import Wire
from agentguard.llm._chat import ChatStream
from agentguard.llm._messages import MessageStream
from agentguard.llm._responses import ResponseStream
from agentguard.llm._sse import SseEvent, SseSplitter, write_event
from agentguard.llm._tool import UnreadableError, read_object

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentguard.llm._place import Channel
    from agentguard.llm._tool import ToolCall, Verdict


class _Holder(Protocol):
    """Holds back the events that make up tool calls; there is one for each wire."""

    is_ready: bool

    @property
    def holds(self) -> bool: ...
    def take(self, event: dict[str, Any], /) -> bool: ...
    def end(self) -> bool: ...
    def tools(self) -> list[ToolCall]: ...
    def release(self, verdicts: Sequence[Verdict]) -> list[dict[str, Any]]: ...
    def amend(self, event: dict[str, Any], /) -> dict[str, Any]: ...


MAX_HELD_BYTES = 16 * 1024 * 1024
_STREAMS: dict[Wire, type[_Holder]] = {
    Wire.CHAT: ChatStream,
    Wire.RESPONSES: ResponseStream,
    Wire.MESSAGES: MessageStream,
}
_DONE = b"[DONE]"
_LAST = frozenset(("message_stop", "response.completed", "response.incomplete", "response.failed"))


class StreamMode(enum.Enum):
    """How much of a stream's text is held back from the caller: nothing, its newest characters, or all of it."""

    TAP = "tap"
    WINDOW = "window"
    BUFFER = "buffer"


class AnswerStream:
    """Takes a stream in as it comes and gives out what the caller may have of it.

    Where `pending` names tool calls, nothing moves until `decide` was called. `window` is how many characters of
    text are held back; None holds back everything until `finish`. With `edit` each text is held back whole and
    goes out as `edit(text)`. `on_event` sees each event, as parsed. `drop_usage` keeps the chunk from the caller
    that has nothing but the usage, which the caller had not asked for.
    """

    def __init__(
        self,
        wire: Wire,
        *,
        window: int | None = 0,
        edit: Callable[[str], str] | None = None,
        on_event: Callable[[dict[str, Any]], None] | None = None,
        drop_usage: bool = False,
    ) -> None:
        self._wire, self._reader = wire, READERS[wire]
        self._stream: _Holder = _STREAMS[wire]()
        self._splitter = SseSplitter(MAX_HELD_BYTES)
        self._waiting: deque[SseEvent] = deque()
        self._raw: dict[int, tuple[dict[str, Any], SseEvent]] = {}
        self._out: deque[tuple[dict[str, Any] | None, bytes, int]] = deque()
        self._window = None if edit is not None else window
        self._edit = edit
        self._on_event = on_event
        self._drop_usage = drop_usage
        self._held_chars = 0
        self._held_bytes = 0
        self._texts: dict[Channel, list[str]] = {}
        self.pending: list[ToolCall] = []
        # A reader may hang up once it has seen the last event, without waiting for the end of the stream.
        self.is_complete = False

    def feed(self, chunk: bytes) -> bytes:
        """Take in bytes and return those that the caller may have now.

        Raises:
            UnreadableError: nobody can read what came; the caller must get nothing more.
        """
        try:
            self._waiting += self._splitter.feed(chunk)
        except OverflowError as error:
            raise UnreadableError(str(error)) from None
        return self._advance()

    def decide(self, verdicts: Sequence[Verdict]) -> bytes:
        """Carry out one verdict for each call in `pending`, and return what the caller may have now.

        Raises:
            UnreadableError: as `feed` does.
        """
        self.pending = []
        for event in self._stream.release(verdicts):
            held = self._raw.get(id(event))
            self._emit(event, event, None if held is None else held[1])
        if not self._stream.holds:
            self._raw.clear()
            self._held_bytes = 0
        return self._advance()

    def finish(self) -> bytes:
        """Take in that the stream has ended, and return what the caller may have now; `pending` may name calls.

        Call it again after `decide`, until nothing is pending.

        Raises:
            UnreadableError: as `feed` does.
        """
        # An event without its empty line was cut off, and no reader takes it; unless it is whole all the same.
        self._waiting += [event for event in self._splitter.finish() if _is_whole(event)]
        out = self._advance()
        if self.pending:
            return out
        if self._stream.end():
            self.pending = self._stream.tools()
            return out
        if self._edit is not None:
            self._edit_texts(self._edit)
        return out + self._flush(0)

    def texts(self) -> list[str]:
        """Return what the model has said so far, held back or not."""
        return ["".join(pieces) for pieces in self._texts.values()]

    def _advance(self) -> bytes:
        while self._waiting and not self.pending:
            self._take(self._waiting.popleft())
        if self._held_bytes > MAX_HELD_BYTES:
            raise UnreadableError("more of the answer is held back than there is room for")
        return b"" if self._window is None else self._flush(self._window)

    def _take(self, event: SseEvent) -> None:
        if not event.data or event.data.startswith(_DONE):
            self.is_complete |= bool(event.data)
            self._put(None, event.raw, 0)
            return
        body = read_object(event.data, "an event of the answer")
        if self._on_event is not None:
            self._on_event(body)
        self.is_complete |= body.get("type") in _LAST
        if self._stream.take(body):
            # With the object itself, so that no other one can get its id.
            self._raw[id(body)] = (body, event)
            self._held_bytes += len(event.raw)
            if self._stream.is_ready:
                self.pending = self._stream.tools()
        else:
            self._emit(body, self._stream.amend(body), event)

    def _emit(self, body: dict[str, Any], amended: dict[str, Any], event: SseEvent | None) -> None:
        if self._drop_usage and self._wire is Wire.CHAT and body.get("usage") and not body.get("choices"):
            return
        if event is None or amended is not body:
            name = "" if self._wire is Wire.CHAT else str(amended.get("type", ""))
            event = write_event(amended, name)
        chars = 0
        for channel, place in self._reader.delta_texts(amended):
            self._texts.setdefault(channel, []).append(place.text)
            chars += len(place.text)
        self._put(amended, event.raw, chars)

    def _put(self, body: dict[str, Any] | None, raw: bytes, chars: int) -> None:
        self._out.append((body if self._edit is not None else None, raw, chars))
        self._held_chars += chars
        if self._window is None:
            self._held_bytes += len(raw)

    def _flush(self, window: int) -> bytes:
        out = []
        while self._out and self._held_chars - self._out[0][2] >= window:
            _, raw, chars = self._out.popleft()
            self._held_chars -= chars
            out.append(raw)
        return b"".join(out)

    def _edit_texts(self, edit: Callable[[str], str]) -> None:
        """Let the first piece of each text say all of the edited one, and what repeats it the same."""
        edited = {channel: edit("".join(pieces)) for channel, pieces in self._texts.items()}
        for at, (body, _, chars) in enumerate(self._out):
            if body is None:
                continue
            changed = False
            for channel, place in self._reader.delta_texts(body):
                text, edited[channel] = edited[channel], ""
                changed |= text != place.text
                place.write(text)
            for place in self._reader.whole_texts(body):
                text = edit(place.text)
                changed |= text != place.text
                place.write(text)
            if changed:
                name = "" if self._wire is Wire.CHAT else str(body.get("type", ""))
                self._out[at] = (body, write_event(body, name).raw, chars)


def _is_whole(event: SseEvent) -> bool:
    try:
        return event.data.startswith(_DONE) or type(msgspec.json.decode(event.data)) is dict
    except (ValueError, RecursionError):
        return False

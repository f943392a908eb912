"""A provider's whole answer: which tool calls it proposes, what it says, and how both are changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agentguard.llm import _chat, _messages, _responses
from agentguard.llm._call import Wire
from agentguard.llm._tool import read_object

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentguard.llm._tool import ToolCall, Verdict

READERS = {Wire.CHAT: _chat, Wire.RESPONSES: _responses, Wire.MESSAGES: _messages}


class Answer:
    """An answer in the shape of `wire`.

    Raises:
        UnreadableError: it is no JSON object, so nobody knows which tool calls it proposes.
    """

    def __init__(self, wire: Wire, content: bytes) -> None:
        body = self.body = read_object(content, "the answer")
        self._content = content
        self._reader = READERS[wire]
        self._found = self._reader.find_tools(body)
        self._is_changed = False

    @property
    def tools(self) -> list[ToolCall]:
        """The tool calls that it proposes, in order."""
        return [found.tool for found in self._found]

    def texts(self) -> list[str]:
        """Return what it says."""
        return [place.text for place in self._reader.find_texts(self.body)]

    def decide(self, verdicts: Sequence[Verdict]) -> None:
        """Carry out one verdict for each tool call."""
        for found, verdict in zip(self._found, verdicts, strict=True):
            if verdict.is_change:
                self._reader.change_tool(found, verdict)
                self._is_changed = True

    def edit(self, change: Callable[[str], str]) -> None:
        """Put `change(text)` in the place of each text."""
        for place in self._reader.find_texts(self.body):
            text = change(place.text)
            if text != place.text:
                place.write(text)
                self._is_changed = True

    def content(self) -> bytes:
        """Return the answer: the bytes as they came, unless something was changed."""
        return msgspec.json.encode(self.body) if self._is_changed else self._content

    @property
    def is_changed(self) -> bool:
        """Whether it is another one than came."""
        return self._is_changed

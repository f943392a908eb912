"""Where in an answer something stands, so that it can be changed in its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentguard.llm._tool import ToolCall

# Which text of an answer a piece belongs to.
Channel = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A proposed call, the object that says it, and the object around that one (a choice, or the whole answer)."""

    tool: ToolCall
    item: dict[str, Any]
    frame: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TextPlace:
    """A text of an answer."""

    holder: dict[str, Any]
    key: str

    @property
    def text(self) -> str:
        """The text that stands there."""
        return str(self.holder[self.key])

    def write(self, text: str) -> None:
        """Put another text there."""
        self.holder[self.key] = text

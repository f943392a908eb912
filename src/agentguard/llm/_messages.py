"""Anthropic's messages: prompts, answers, and answers that come as events."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from agentguard.llm._place import Channel, Found, TextPlace
from agentguard.llm._tool import Said, ToolCall, items, read_arguments, text_of, texts_in, write_arguments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentguard.llm._tool import Verdict

OUTPUT_LIMITS = ("max_tokens",)
# The provider has run these itself.
_HOSTED = frozenset(("server_tool_use", "mcp_tool_use"))


def read_prompt(body: dict[str, Any]) -> list[Said]:
    """Return the texts of a request in order."""
    said = [Said("system", text) for text in texts_in(body.get("system"))]
    names: dict[str, str] = {}
    for message in items(body.get("messages")):
        role, content = text_of(message.get("role")), message.get("content")
        if type(content) is str:
            said += [Said(role, text) for text in texts_in(content)]
            continue
        for block in items(content):
            if _is_call(block):
                tool = _read_block(block)
                names[tool.id] = tool.name
                said.append(Said(role, write_arguments(tool.arguments or {})))
            elif "tool_use_id" in block:
                call_id = text_of(block["tool_use_id"])
                texts = texts_in(block.get("content"))
                said += [Said("tool", text, call_id, names.get(call_id, "")) for text in texts]
            else:
                said += [Said(role, text) for text in texts_in([block])]
    return said


def find_tools(body: dict[str, Any]) -> list[Found]:
    """Return the tool calls that a whole answer proposes."""
    return [Found(_read_block(block), block, body) for block in items(body.get("content")) if _is_call(block)]


def change_tool(found: Found, verdict: Verdict) -> None:
    """Carry a verdict out on the answer that the call was found in."""
    if verdict.arguments is not None:
        found.item["input"] = verdict.arguments
        return
    content = found.frame["content"]
    at = next(index for index, block in enumerate(content) if block is found.item)
    content[at] = {"type": "text", "text": verdict.refusal}
    if found.frame.get("stop_reason") == "tool_use" and not find_tools(found.frame):
        found.frame["stop_reason"] = "end_turn"


def find_texts(body: dict[str, Any]) -> list[TextPlace]:
    """Return the texts of a whole answer."""
    blocks = items(body.get("content"))
    return [
        TextPlace(block, key)
        for block in blocks
        for key in ("text", "thinking")
        if type(block.get(key)) is str
    ]


def delta_texts(event: dict[str, Any]) -> list[tuple[Channel, TextPlace]]:
    """Return the piece of text in an event, and which text it goes on with."""
    delta = event.get("delta")
    if event.get("type") != "content_block_delta" or type(delta) is not dict:
        return []
    index = event.get("index")
    return [
        ((index, key), TextPlace(delta, key)) for key in ("text", "thinking") if type(delta.get(key)) is str
    ]


def whole_texts(_event: dict[str, Any]) -> list[TextPlace]:
    """Return the texts that an event says again as a whole: here none does."""
    return []


class MessageStream:
    """Holds back the events of each tool call until it is complete."""

    def __init__(self) -> None:
        self._held: list[dict[str, Any]] = []
        self._index: Any = None
        self._passed = 0
        self._refused = 0
        self.is_ready = False

    @property
    def holds(self) -> bool:
        """Whether anything is held back."""
        return bool(self._held)

    def take(self, event: dict[str, Any]) -> bool:
        """Take in an event, and tell whether it is held back. `is_ready` then says that a call is complete."""
        kind, block = event.get("type"), event.get("content_block")
        if kind == "content_block_start" and type(block) is dict and _is_call(block):
            self._held, self._index = [event], event.get("index")
            return True
        if self._held and kind in ("content_block_delta", "content_block_stop"):
            if event.get("index") != self._index:
                return False
            self._held.append(event)
            self.is_ready = kind == "content_block_stop"
            return True
        return False

    def end(self) -> bool:
        """Tell whether a complete call is held back at the end of the stream: what is incomplete is dropped."""
        return False

    def tools(self) -> list[ToolCall]:
        """Return the call that is complete."""
        return [self._tool()]

    def _tool(self) -> ToolCall:
        block = self._held[0]["content_block"]
        pieces = [event["delta"] for event in self._held[1:] if type(event.get("delta")) is dict]
        text = "".join(text_of(piece.get("partial_json")) for piece in pieces)
        given = _read_block(block)
        return ToolCall(given.id, given.name, read_arguments(text) if text else given.arguments)

    def release(self, verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
        """Return the events that the caller gets: those that were held, or others where a verdict changes one."""
        held, verdict = self._held, verdicts[0]
        self._held, self._index, self.is_ready = [], None, False
        if verdict.refusal:
            self._refused += 1
            delta = {"type": "text_delta", "text": verdict.refusal}
            return _block(held, {"type": "text", "text": ""}, delta)
        self._passed += 1
        if verdict.arguments is None:
            return held
        block = copy.deepcopy(held[0]["content_block"])
        delta = {"type": "input_json_delta", "partial_json": write_arguments(verdict.arguments)}
        return _block(held, {**block, "input": {}}, delta)

    def amend(self, event: dict[str, Any]) -> dict[str, Any]:
        """Return an event as it fits what was changed before it; itself, if that is as it came."""
        if event.get("type") != "message_delta" or not self._refused or self._passed:
            return event
        delta = event.get("delta")
        if type(delta) is not dict or delta.get("stop_reason") != "tool_use":
            return event
        return {**event, "delta": {**delta, "stop_reason": "end_turn"}}


def _block(held: list[dict[str, Any]], block: dict[str, Any], delta: dict[str, Any]) -> list[dict[str, Any]]:
    index = held[0].get("index")
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        {"type": "content_block_delta", "index": index, "delta": delta},
        {"type": "content_block_stop", "index": index},
    ]


def _is_call(block: dict[str, Any]) -> bool:
    kind = text_of(block.get("type"))
    return kind.endswith("tool_use") and kind not in _HOSTED


def _read_block(block: dict[str, Any]) -> ToolCall:
    given = block.get("input")
    name = text_of(block.get("name"))
    return ToolCall(text_of(block.get("id")), name, given if type(given) is dict else None)

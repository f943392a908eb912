"""OpenAI's Responses API: prompts, answers, and answers that come as events."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from agentguard.llm._place import Channel, Found, TextPlace
from agentguard.llm._tool import Said, ToolCall, items, read_arguments, text_of, texts_in, write_arguments

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agentguard.llm._tool import Verdict

OUTPUT_LIMITS = ("max_output_tokens",)
# What is no call, or what the provider has run itself. Any other kind of item is for the caller to carry out.
_NO_CALLS = frozenset(
    (
        "message", "reasoning", "compaction", "program", "program_output", "additional_tools", "tool_search_output",
        "file_search_call", "web_search_call", "code_interpreter_call", "image_generation_call", "mcp_call",
        "mcp_list_tools", "mcp_approval_response", "tool_search_call",
    )
)  # fmt: skip
_NAMED = frozenset(("function_call", "mcp_approval_request"))
_NO_ARGUMENTS = frozenset(("id", "type", "status", "call_id", "name"))
_TEXT_DELTAS = frozenset(
    (
        "response.output_text.delta", "response.refusal.delta", "response.reasoning_text.delta",
        "response.reasoning_summary_text.delta",
    )
)  # fmt: skip
_FINALS = frozenset(("response.completed", "response.incomplete", "response.failed"))


def read_prompt(body: dict[str, Any]) -> list[Said]:
    """Return the texts of a request in order."""
    said = [Said("system", text) for text in texts_in(body.get("instructions"))]
    given = body.get("input")
    if type(given) is str:
        return [*said, Said("user", given)] if given else said
    names: dict[str, str] = {}
    for item in items(given):
        if _is_call(item) and not text_of(item.get("type")).endswith("_output") and "role" not in item:
            tool = _read_item(item)
            names[tool.id] = tool.name
            said.append(Said("assistant", write_arguments(tool.arguments or {})))
            continue
        call_id = text_of(item.get("call_id"))
        role = text_of(item.get("role")) or ("tool" if call_id else "assistant")
        content = item.get("output") if "output" in item else item.get("content")
        said += [Said(role, text, call_id, names.get(call_id, "")) for text in texts_in(content)]
    return said


def find_tools(body: dict[str, Any]) -> list[Found]:
    """Return the tool calls that a whole answer proposes."""
    return [Found(_read_item(item), item, body) for item in items(body.get("output")) if _is_call(item)]


def change_tool(found: Found, verdict: Verdict) -> None:
    """Carry a verdict out on the answer that the call was found in."""
    if verdict.arguments is not None:
        _write_arguments(found.item, verdict.arguments)
        return
    output = found.frame["output"]
    at = next(index for index, item in enumerate(output) if item is found.item)
    output[at] = _message(found.item, verdict.refusal)


def find_texts(body: dict[str, Any]) -> list[TextPlace]:
    """Return the texts of a whole answer."""
    places: list[TextPlace] = []
    for item in items(body.get("output")):
        for part in [*items(item.get("content")), *items(item.get("summary"))]:
            places += [TextPlace(part, key) for key in ("text", "refusal") if type(part.get(key)) is str]
    if type(body.get("output_text")) is str:
        places.append(TextPlace(body, "output_text"))
    return places


def delta_texts(event: dict[str, Any]) -> list[tuple[Channel, TextPlace]]:
    """Return the piece of text in an event, and which text it goes on with."""
    kind = event.get("type")
    if kind not in _TEXT_DELTAS or type(event.get("delta")) is not str:
        return []
    channel = (kind, event.get("item_id"), event.get("content_index"), event.get("summary_index"))
    return [(channel, TextPlace(event, "delta"))]


def whole_texts(event: dict[str, Any]) -> list[TextPlace]:
    """Return the texts that an event says again as a whole."""
    places = [
        TextPlace(holder, key)
        for holder in (event, event.get("part"))
        for key in ("text", "refusal")
        if type(holder) is dict and type(holder.get(key)) is str
    ]
    item, body = event.get("item"), event.get("response")
    if type(item) is dict:
        places += find_texts({"output": [item]})
    return places + find_texts(body) if type(body) is dict else places


class ResponseStream:
    """Holds back the events of each tool call until it is complete."""

    def __init__(self) -> None:
        self._held: dict[int, list[dict[str, Any]]] = {}
        self._ready: list[dict[str, Any]] = []
        self._final: dict[str, Any] | None = None
        self._changed: dict[str, dict[str, Any]] = {}
        self._seen: set[str] = set()
        self._shift = 0
        self.is_ready = False

    @property
    def holds(self) -> bool:
        """Whether anything is held back."""
        return bool(self._held or self._ready or self._final)

    def take(self, event: dict[str, Any]) -> bool:
        """Take in an event, and tell whether it is held back. `is_ready` then says that a call is complete."""
        kind, index = event.get("type"), event.get("output_index")
        item = event.get("item")
        if kind == "response.output_item.added" and type(item) is dict and _is_call(item):
            self._held[_number(index)] = [event]
            return True
        if kind == "response.output_item.done" and type(item) is dict and _is_call(item):
            self._ready = [*self._held.pop(_number(index), []), event]
            self.is_ready = True
            return True
        if kind in _FINALS:
            return self._take_final(event)
        if index is not None and _number(index) in self._held:
            self._held[_number(index)].append(event)
            return True
        return False

    def _take_final(self, event: dict[str, Any]) -> bool:
        body = event.get("response")
        calls = find_tools(body) if type(body) is dict else []
        self._held.clear()
        # What no event announced is decided here.
        if any(_key(found.item) not in self._seen for found in calls):
            self._final, self.is_ready = event, True
            return True
        return False

    def end(self) -> bool:
        """Tell whether a complete call is held back at the end of the stream: what is incomplete is dropped."""
        self._held.clear()
        return False

    def tools(self) -> list[ToolCall]:
        """Return the calls that are complete."""
        if self._final is not None:
            return [found.tool for found in self._unseen()]
        return [_read_item(self._ready[-1]["item"])]

    def release(self, verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
        """Return the events that the caller gets: those that were held, or others where a verdict changes one."""
        self.is_ready = False
        if self._final is not None:
            return self._release_final(verdicts)
        held, verdict = self._ready, verdicts[0]
        self._ready = []
        item = held[-1]["item"]
        self._seen.add(_key(item))
        if not verdict.is_change:
            return [self.amend(event) for event in held]
        changed = copy.deepcopy(item)
        if verdict.arguments is not None:
            _write_arguments(changed, verdict.arguments)
        else:
            changed = _message(item, verdict.refusal)
        self._changed[_key(item)] = changed
        first = _number(held[0].get("sequence_number")) + self._shift
        made = list(_announce(changed, _number(held[-1].get("output_index")), first))
        self._shift += len(made) - len(held)
        return made

    def _release_final(self, verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
        event = self._final
        assert event is not None
        if any(verdict.is_change for verdict in verdicts):
            self._final = event = copy.deepcopy(event)
        for found, verdict in zip(self._unseen(), verdicts, strict=True):
            if verdict.is_change:
                change_tool(found, verdict)
        self._final = None
        return [self.amend(event)]

    def _unseen(self) -> list[Found]:
        assert self._final is not None
        return [found for found in find_tools(self._final["response"]) if _key(found.item) not in self._seen]

    def amend(self, event: dict[str, Any]) -> dict[str, Any]:
        """Return an event as it fits what was changed before it; itself, if that is as it came."""
        body = event.get("response")
        if event.get("type") in _FINALS and type(body) is dict and self._changed:
            output = [self._changed.get(_key(item), item) for item in items(body.get("output"))]
            event = {**event, "response": {**body, "output": output}}
        if self._shift and type(event.get("sequence_number")) is int:
            event = {**event, "sequence_number": event["sequence_number"] + self._shift}
        return event


def _announce(item: dict[str, Any], index: int, number: int) -> Iterator[dict[str, Any]]:
    """Yield the events that say a whole item, numbered from `number` on."""

    def event(kind: str, **more: Any) -> dict[str, Any]:
        nonlocal number
        number += 1
        return {"type": kind, "sequence_number": number - 1, "output_index": index, **more}

    place = {"item_id": item.get("id")}
    if item["type"] == "message":
        part = item["content"][0]
        place["content_index"] = 0
        yield event("response.output_item.added", item={**item, "status": "in_progress", "content": []})
        yield event("response.content_part.added", **place, part={**part, "text": ""})
        yield event("response.output_text.delta", **place, delta=part["text"], logprobs=[])
        yield event("response.output_text.done", **place, text=part["text"], logprobs=[])
        yield event("response.content_part.done", **place, part=part)
    elif item["type"] == "function_call":
        yield event("response.output_item.added", item={**item, "status": "in_progress", "arguments": ""})
        yield event("response.function_call_arguments.delta", **place, delta=item["arguments"])
        yield event(
            "response.function_call_arguments.done", **place, arguments=item["arguments"], name=item["name"]
        )
    else:
        yield event("response.output_item.added", item=item)
    yield event("response.output_item.done", item=item)


def _is_call(item: dict[str, Any]) -> bool:
    kind = text_of(item.get("type")) or "message"
    return kind not in _NO_CALLS and not kind.endswith("_call_output")


def _read_item(item: dict[str, Any]) -> ToolCall:
    kind, call_id = text_of(item.get("type")), text_of(item.get("call_id")) or text_of(item.get("id"))
    if kind in _NAMED:
        return ToolCall(call_id, text_of(item.get("name")), read_arguments(item.get("arguments")))
    if kind == "custom_tool_call":
        return ToolCall(call_id, text_of(item.get("name")), {"input": item.get("input")})
    rest = {key: value for key, value in item.items() if key not in _NO_ARGUMENTS}
    return ToolCall(call_id, kind.removesuffix("_call"), rest)


def _write_arguments(item: dict[str, Any], arguments: dict[str, Any]) -> None:
    kind = item.get("type")
    if kind in _NAMED:
        item["arguments"] = write_arguments(arguments)
    elif kind == "custom_tool_call":
        item["input"] = arguments.get("input")
    else:
        for key in [key for key in item if key not in _NO_ARGUMENTS]:
            del item[key]
        item.update(arguments)


def _message(item: dict[str, Any], text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    name = f"msg_{text_of(item.get('id')) or text_of(item.get('call_id'))}"
    return {"id": name, "type": "message", "status": "completed", "role": "assistant", "content": [part]}


def _key(item: dict[str, Any]) -> str:
    return text_of(item.get("call_id")) or text_of(item.get("id"))


def _number(value: Any) -> int:
    return value if type(value) is int else 0

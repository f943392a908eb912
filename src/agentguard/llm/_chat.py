"""OpenAI's chat completions: prompts, answers, and answers that come as chunks."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from agentguard.llm._place import Channel, Found, TextPlace
from agentguard.llm._tool import Said, ToolCall, items, read_arguments, text_of, texts_in, write_arguments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentguard.llm._tool import Verdict

OUTPUT_LIMITS = ("max_completion_tokens", "max_tokens")
_FINISHED_BY_TOOLS = ("tool_calls", "function_call")
_TEXTS = ("content", "refusal", "reasoning_content", "reasoning")


def read_prompt(body: dict[str, Any]) -> list[Said]:
    """Return the texts of a request in order."""
    said: list[Said] = []
    names: dict[str, str] = {}
    for message in items(body.get("messages")):
        role = text_of(message.get("role"))
        for call in items(message.get("tool_calls")):
            tool = _read_call(call)
            names[tool.id] = tool.name
            said.append(Said(role, write_arguments(tool.arguments or {})))
        call_id = text_of(message.get("tool_call_id"))
        tool_name = names.get(call_id, "") or (text_of(message.get("name")) if role == "function" else "")
        said += [Said(role, text, call_id, tool_name) for text in texts_in(message.get("content"))]
    prompt = body.get("prompt")  # of the older completions
    return said + [Said("user", text) for text in (texts_in(prompt) or _texts(prompt))]


def _texts(value: Any) -> list[str]:
    return [each for each in value if type(each) is str] if type(value) is list else []


def find_tools(body: dict[str, Any]) -> list[Found]:
    """Return the tool calls that a whole answer proposes."""
    found: list[Found] = []
    for choice in items(body.get("choices")):
        message = choice.get("message")
        if type(message) is not dict:
            continue
        found += [Found(_read_call(call), call, choice) for call in items(message.get("tool_calls"))]
        if type(message.get("function_call")) is dict:
            call = message["function_call"]
            found.append(Found(_read_function("", call), call, choice))
    return found


def change_tool(found: Found, verdict: Verdict) -> None:
    """Carry a verdict out on the answer that the call was found in."""
    message = found.frame["message"]
    if verdict.arguments is not None:
        _write_arguments(found.item, verdict.arguments)
        return
    if message.get("function_call") is found.item:
        del message["function_call"]
    else:
        message["tool_calls"] = [each for each in message["tool_calls"] if each is not found.item]
        if not message["tool_calls"]:
            del message["tool_calls"]
    said = message.get("content")
    message["content"] = f"{said}\n\n{verdict.refusal}" if said else verdict.refusal
    if not message.keys() & {"tool_calls", "function_call"}:
        _end_without_tools(found.frame)


def find_texts(body: dict[str, Any]) -> list[TextPlace]:
    """Return the texts of a whole answer."""
    places: list[TextPlace] = []
    for choice in items(body.get("choices")):
        message = choice.get("message")
        if type(message) is dict:
            places += [TextPlace(message, key) for key in _TEXTS if type(message.get(key)) is str]
        elif type(choice.get("text")) is str:
            places.append(TextPlace(choice, "text"))
    return places


def delta_texts(chunk: dict[str, Any]) -> list[tuple[Channel, TextPlace]]:
    """Return the pieces of text in a chunk, and which text each goes on with."""
    pieces: list[tuple[Channel, TextPlace]] = []
    for choice in items(chunk.get("choices")):
        index, delta = choice.get("index", 0), choice.get("delta")
        if type(delta) is dict:
            pieces += [((index, key), TextPlace(delta, key)) for key in _TEXTS if type(delta.get(key)) is str]
        elif type(choice.get("text")) is str:
            pieces.append(((index, "text"), TextPlace(choice, "text")))
    return pieces


def whole_texts(_chunk: dict[str, Any]) -> list[TextPlace]:
    """Return the texts that a chunk says again as a whole: here none does."""
    return []


class ChatStream:
    """Holds back the chunks that make up tool calls until all of them are complete."""

    def __init__(self) -> None:
        self._held: list[dict[str, Any]] = []
        self._calls: dict[tuple[int, int], dict[str, str]] = {}
        self._open: set[int] = set()
        self.is_ready = False

    @property
    def holds(self) -> bool:
        """Whether anything is held back."""
        return bool(self._held)

    def take(self, chunk: dict[str, Any]) -> bool:
        """Take in a chunk, and tell whether it is held back. `is_ready` then says that the calls are complete."""
        holds = False
        for choice in items(chunk.get("choices")):
            index, delta = choice.get("index", 0), choice.get("delta")
            if type(delta) is dict and (delta.get("tool_calls") or delta.get("function_call")):
                self._add(index, delta)
                self._open.add(index)
                holds = True
            if choice.get("finish_reason") is not None and self._calls:
                self._open.discard(index)
                holds = True
        if holds:
            self._held.append(chunk)
            self.is_ready = not self._open
        return holds

    def end(self) -> bool:
        """Tell whether calls are held back at the end of the stream."""
        self.is_ready = bool(self._held)
        return self.is_ready

    def tools(self) -> list[ToolCall]:
        """Return the calls that are held back."""
        return [
            ToolCall(call["id"], call["name"], _arguments(call)) for _, call in sorted(self._calls.items())
        ]

    def release(self, verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
        """Return the chunks that the caller gets: those that were held, or others where a verdict changes one."""
        held, calls = self._held, sorted(self._calls.items())
        self._held, self._calls, self._open, self.is_ready = [], {}, set(), False
        if not any(verdict.is_change for verdict in verdicts):
            return held
        frame = {key: value for key, value in held[0].items() if key not in ("choices", "usage")}
        made = [_chunk(frame, at[0], delta) for at, delta in _rewritten(calls, verdicts)]
        kept = {at[0] for (at, _), verdict in zip(calls, verdicts, strict=True) if not verdict.refusal}
        before: list[dict[str, Any]] = []
        after: list[dict[str, Any]] = []
        for chunk in (copy.deepcopy(each) for each in held):
            is_last = any(choice.get("finish_reason") is not None for choice in items(chunk.get("choices")))
            for choice in items(chunk.get("choices")):
                if type(choice.get("delta")) is dict:
                    choice["delta"].pop("tool_calls", None)
                    choice["delta"].pop("function_call", None)
                if choice.get("index", 0) not in kept:
                    _end_without_tools(choice)
            (after if is_last else before).append(chunk)
        return [each for each in before if _says_something(each)] + made + after

    def amend(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """Return a later chunk as it fits what was changed before it: here nothing has to."""
        return chunk

    def _add(self, index: int, delta: dict[str, Any]) -> None:
        legacy = delta.get("function_call")
        for call in [*items(delta.get("tool_calls")), *([legacy] if type(legacy) is dict else [])]:
            number = -1 if call is legacy else call.get("index", 0)
            known = self._calls.setdefault((index, number), {"id": "", "name": "", "text": "", "kind": ""})
            known["id"] += text_of(call.get("id"))
            known["kind"] = text_of(call.get("type")) or known["kind"]
            inner = call if call is legacy else call.get("function") or call.get("custom") or {}
            known["kind"] = "custom" if "custom" in call else known["kind"]
            known["name"] += text_of(inner.get("name"))
            known["text"] += text_of(inner.get("arguments")) or text_of(inner.get("input"))


def _arguments(call: dict[str, str]) -> dict[str, Any] | None:
    return {"input": call["text"]} if call["kind"] == "custom" else read_arguments(call["text"])


def _rewritten(
    calls: list[tuple[tuple[int, int], dict[str, str]]], verdicts: Sequence[Verdict]
) -> list[tuple[tuple[int, int], dict[str, Any]]]:
    """Return one delta for each call that was held: the call, whole and numbered anew, or the refusal."""
    made: list[tuple[tuple[int, int], dict[str, Any]]] = []
    passed: dict[int, int] = {}
    for (at, call), verdict in zip(calls, verdicts, strict=True):
        if verdict.refusal:
            made.append((at, {"content": verdict.refusal}))
            continue
        text = call["text"] if verdict.arguments is None else write_arguments(verdict.arguments)
        if at[1] < 0:
            made.append((at, {"function_call": {"name": call["name"], "arguments": text}}))
            continue
        number = passed[at[0]] = passed.get(at[0], -1) + 1
        head: dict[str, Any] = {"index": number, "id": call["id"], "type": call["kind"] or "function"}
        if call["kind"] == "custom":
            raw = text if verdict.arguments is None else text_of(verdict.arguments.get("input"))
            head["custom"] = {"name": call["name"], "input": raw}
        else:
            head["function"] = {"name": call["name"], "arguments": text}
        made.append((at, {"tool_calls": [head]}))
    return made


def _chunk(frame: dict[str, Any], index: int, delta: dict[str, Any]) -> dict[str, Any]:
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
    return {**frame, "choices": [choice]}


def _says_something(chunk: dict[str, Any]) -> bool:
    choices = items(chunk.get("choices"))
    return not choices or any(choice.get("delta") for choice in choices) or bool(chunk.get("usage"))


def _end_without_tools(choice: dict[str, Any]) -> None:
    if choice.get("finish_reason") in _FINISHED_BY_TOOLS:
        choice["finish_reason"] = "stop"


def _read_call(call: dict[str, Any]) -> ToolCall:
    call_id = text_of(call.get("id"))
    custom = call.get("custom")
    if type(custom) is dict:
        return ToolCall(call_id, text_of(custom.get("name")), {"input": custom.get("input")})
    function = call.get("function")
    return _read_function(call_id, function) if type(function) is dict else ToolCall(call_id, "", None)


def _read_function(call_id: str, function: dict[str, Any]) -> ToolCall:
    return ToolCall(call_id, text_of(function.get("name")), read_arguments(function.get("arguments")))


def _write_arguments(call: dict[str, Any], arguments: dict[str, Any]) -> None:
    if type(call.get("custom")) is dict:
        call["custom"]["input"] = arguments.get("input")
    else:
        call.get("function", call)["arguments"] = write_arguments(arguments)

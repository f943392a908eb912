"""Traces of agents: JSON lines of what the user wanted, which tools were called, and what came back.

Besides its own lines this reads messages as the chat APIs of OpenAI and Anthropic have them, one a line.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import DocumentError, Location
from agentguard.documents import parse_foreign

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_CALLS = 10_000
_OPENING = frozenset(("intent", "tools", "principal", "subject"))
_CALL = frozenset(("tool", "args", "id", "result", "error"))
_BACK = frozenset(("id", "result", "error"))
_KINDS = "give `intent`, `tool`, `result` or `error`, or a chat message with a `role`"


class Opening(msgspec.Struct, frozen=True):
    """The user's words (None: as before), the tools (None: as before), whose session it is, and names of the user.

    `adds` says that the words follow earlier ones of the same conversation.
    """

    line: int
    intent: str | None = None
    tools: Any = None
    principal: str = ""
    subject: tuple[str, ...] = ()
    adds: bool = False


class Call(msgspec.Struct, frozen=True):
    """A call of a tool; `id` ties what comes back to it."""

    line: int
    tool: str
    args: dict[str, Any]
    id: str = ""


class Back(msgspec.Struct, frozen=True):
    """What a call gave back; without an `id` it is of the latest call."""

    line: int
    id: str = ""
    result: Any = None
    error: str = ""


Event = Opening | Call | Back


def read_trace(text: str, *, file: str) -> list[Event]:
    """Return the events of a trace; `file` names it in errors.

    Raises:
        DocumentError: a line is no JSON object, or none that says what happened; names the line.
    """
    events: list[Event] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            events += _Line(file, number).events(line)
    calls = sum(isinstance(each, Call) for each in events)
    if not calls:
        raise DocumentError("holds no call of a tool", location=Location(file), hint=_KINDS)
    if calls > MAX_CALLS:
        raise DocumentError(f"holds more than {MAX_CALLS} calls", location=Location(file), hint="split it")
    return events


class _Line:
    """Reads one line, and knows which one it is."""

    def __init__(self, file: str, number: int) -> None:
        self._file = file
        self._number = number

    def events(self, text: str) -> Iterator[Event]:
        if not text.lstrip().startswith("{"):
            raise self._wrong("is no JSON object")
        try:
            value = parse_foreign(text, file=self._file)
        except DocumentError as error:
            raise self._wrong(error.message) from None
        if "role" in value or "type" in value:
            yield from self._message(value)
        elif "intent" in value or "messages" in value or "tools" in value:
            yield from self._opening(value)
        elif "tool" in value:
            yield from self._call(value)
        elif "result" in value or "error" in value:
            self._known(value, _BACK)
            yield self._back(value)
        else:
            raise self._wrong("says nothing that is known here", hint=_KINDS)

    def _wrong(self, message: str, *, hint: str | None = None) -> DocumentError:
        return DocumentError(message, location=Location(self._file, self._number), hint=hint)

    def _known(self, value: dict[str, Any], keys: frozenset[str]) -> None:
        unknown = next((key for key in value if key not in keys), None)
        if unknown is not None:
            raise self._wrong(f"unknown key `{unknown[:60]}`", hint=f"known are {', '.join(sorted(keys))}")

    def _text(self, value: dict[str, Any], key: str) -> str:
        text = value.get(key, "")
        if not isinstance(text, str):
            raise self._wrong(f"`{key}` must be a text")
        return text

    def _opening(self, value: dict[str, Any]) -> Iterator[Event]:
        if "messages" in value:
            # The body of a request to a chat API.
            yield Opening(self._number, tools=value.get("tools"))
            messages = value["messages"]
            if not isinstance(messages, list):
                raise self._wrong("`messages` must be a list")
            for each in messages:
                yield from self._message(each)
            return
        self._known(value, _OPENING)
        subject = value.get("subject", [])
        subject = [subject] if isinstance(subject, str) else subject
        if not isinstance(subject, list) or not all(isinstance(each, str) for each in subject):
            raise self._wrong("`subject` must be a text or a list of texts")
        intent = self._text(value, "intent") if "intent" in value else None
        principal = self._text(value, "principal")
        yield Opening(self._number, intent, value.get("tools"), principal, tuple(subject))

    def _call(self, value: dict[str, Any]) -> Iterator[Event]:
        self._known(value, _CALL)
        call_id = self._text(value, "id")
        yield Call(self._number, self._text(value, "tool"), self._args(value.get("args", {})), call_id)
        if "result" in value or "error" in value:
            yield self._back(value)

    def _back(self, value: dict[str, Any]) -> Back:
        return Back(self._number, self._text(value, "id"), value.get("result"), self._text(value, "error"))

    def _args(self, value: Any) -> dict[str, Any]:
        if isinstance(value, str):
            try:
                value = json.loads(value) if value.strip() else {}
            except (ValueError, RecursionError):
                raise self._wrong("the arguments are no JSON") from None
        if not isinstance(value, dict):
            raise self._wrong("the arguments are no object")
        return value

    def _message(self, value: Any) -> Iterator[Event]:
        """Yield what a chat message says: of a user his words, of the model its calls, of a tool what it gave."""
        if not isinstance(value, dict):
            raise self._wrong("a message is no object")
        kind, role = value.get("type"), value.get("role")
        if kind == "function_call":
            yield Call(
                self._number,
                self._name(value),
                self._args(value.get("arguments")),
                str(value.get("call_id", "")),
            )
        elif kind == "function_call_output":
            yield Back(self._number, str(value.get("call_id", "")), value.get("output"))
        elif role == "tool":
            yield Back(self._number, str(value.get("tool_call_id", "")), _flat(value.get("content")))
        elif role == "assistant":
            yield from self._calls(value)
        elif role == "user":
            yield from self._said(value.get("content"))
        elif role not in ("system", "developer") and kind != "reasoning":
            raise self._wrong("is no message that is known here", hint=_KINDS)

    def _calls(self, value: dict[str, Any]) -> Iterator[Event]:
        calls, content = value.get("tool_calls"), value.get("content")
        for each in calls if isinstance(calls, list) else ():
            function = each.get("function") if isinstance(each, dict) else None
            if not isinstance(function, dict):
                raise self._wrong("a call of a tool has no `function`")
            yield Call(
                self._number,
                self._name(function),
                self._args(function.get("arguments")),
                str(each.get("id", "")),
            )
        for each in content if isinstance(content, list) else ():
            if isinstance(each, dict) and each.get("type") == "tool_use":
                yield Call(
                    self._number, self._name(each), self._args(each.get("input", {})), str(each.get("id", ""))
                )

    def _said(self, content: Any) -> Iterator[Event]:
        blocks = content if isinstance(content, list) else []
        for each in blocks:
            if isinstance(each, dict) and each.get("type") == "tool_result":
                text, call_id = _flat(each.get("content")), str(each.get("tool_use_id", ""))
                failed = each.get("is_error") is True
                yield Back(self._number, call_id, None if failed else text, str(text) if failed else "")
        words = _flat([each for each in blocks if not _is_result(each)]) if blocks else content
        if isinstance(words, str) and words.strip():
            yield Opening(self._number, words, adds=True)

    def _name(self, value: dict[str, Any]) -> str:
        name = value.get("name")
        if not isinstance(name, str) or not name:
            raise self._wrong("a call names no tool")
        return name


def _is_result(block: Any) -> bool:
    return isinstance(block, dict) and block.get("type") == "tool_result"


def _flat(content: Any) -> Any:
    """Return the text of a list of text blocks; another content as it is."""
    if not isinstance(content, list):
        return content
    texts = [each.get("text") for each in content if isinstance(each, dict)]
    return "\n".join(each for each in texts if isinstance(each, str))

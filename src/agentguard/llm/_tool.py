"""Tool calls that a model proposes, and texts that somebody says."""

from __future__ import annotations

from typing import Any

import msgspec

from agentguard.core import RequestError, read_json_object


class Said(msgspec.Struct, frozen=True):
    """A text of a prompt: `role` says it. `call_id` names the tool call whose result it is, `tool` that tool."""

    role: str
    text: str
    call_id: str = ""
    tool: str = ""


class ToolCall(msgspec.Struct, frozen=True):
    """A tool call that a model proposes to its caller; all of it is hostile.

    `arguments` is None where they are no JSON object, so that nobody can say what would be done.
    """

    id: str
    name: str
    arguments: dict[str, Any] | None


class Verdict(msgspec.Struct, frozen=True):
    """What becomes of a proposed call: `refusal` in its place, or other `arguments`; neither lets it pass as it is."""

    refusal: str = ""
    arguments: dict[str, Any] | None = None

    @property
    def is_change(self) -> bool:
        """Whether the caller gets something else than the model proposed."""
        return bool(self.refusal) or self.arguments is not None


PASS = Verdict()


class UnreadableError(Exception):
    """An answer that nobody can read, so that nobody knows which tool calls it proposes; the text says why."""


def read_arguments(text: Any) -> dict[str, Any] | None:
    """Return the arguments in a JSON text; none at all is the empty object.

    None where two readers could read them in two ways: a key that stands twice, or what is no number.
    """
    if text is None or text == "":
        return {}
    if type(text) is not str:
        return None
    try:
        return read_json_object(text)
    except RequestError:
        return None


def read_object(content: bytes, what: str) -> dict[str, Any]:
    """Return the JSON object in `content`.

    Where it may hold a tool call's arguments, it is read so that nobody can read it in another way.

    Raises:
        UnreadableError: it is none.
    """
    try:
        if b"tool_use" in content or b"_call" in content:
            return read_json_object(content)
        value = msgspec.json.decode(content)
    except (ValueError, RecursionError, RequestError):
        raise UnreadableError(f"{what} is no JSON") from None
    if type(value) is not dict:
        raise UnreadableError(f"{what} is no JSON object")
    return value


def write_arguments(arguments: dict[str, Any]) -> str:
    """Return arguments as JSON."""
    return msgspec.json.encode(arguments).decode()


def texts_in(content: Any) -> list[str]:
    """Return the texts of a message's content: a text, or parts of which some have one."""
    if type(content) is str:
        return [content] if content else []
    if type(content) is not list:
        return []
    return [part["text"] for part in content if type(part) is dict and type(part.get("text")) is str]


def items(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list; of anything else none."""
    return [each for each in value if type(each) is dict] if type(value) is list else []


def text_of(value: Any) -> str:
    """Return a text, or the empty one in place of anything else."""
    return value if type(value) is str else ""

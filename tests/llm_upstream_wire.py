"""What OpenAI and Anthropic say on the wire: whole bodies, and server-sent events in their order."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

CREATED = 1_790_000_000


@dataclass(frozen=True)
class ToolUse:
    """A tool call that the model proposes; `arguments` as a text goes out as it is, well formed or not."""

    name: str
    arguments: dict[str, Any] | str = field(default_factory=dict)
    id: str = ""

    @property
    def text(self) -> str:
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments)

    @property
    def value(self) -> Any:
        return json.loads(self.text)


@dataclass(frozen=True)
class Usage:
    """What the provider reports. `input` includes `cached`, as OpenAI counts; `output` includes `reasoning`."""

    input: int = 9
    output: int = 12
    cached: int = 0
    reasoning: int = 0
    cache_write: int = 0


@dataclass(frozen=True)
class Reply:
    """What the upstream answers to one request.

    `usage` None reports none. `cut_after` breaks the connection off (RST) after so many events of a stream, or
    bytes of a whole body. `raw` is sent in place of the body or the events. `hold` is waited for before the first
    byte, `hold_after` (an event and a number) after so many events. With `endless` the text never ends.
    `piece` is how many characters a delta has; `gzip` compresses. `error` names an error of `status` 4xx and 5xx.
    """

    text: str = "Hello there, how can I help?"
    tools: tuple[ToolUse, ...] = ()
    usage: Usage | None = field(default_factory=Usage)
    status: int = 200
    error: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    raw: bytes | None = None
    hold: threading.Event | None = None
    hold_after: tuple[threading.Event, int] | None = None
    endless: bool = False
    piece: int = 5
    gzip: bool = False
    finish: str = ""
    model: str = ""

    def tool_id(self, number: int) -> str:
        return self.tools[number].id or f"call_{number:024d}"


def pieces(text: str, size: int) -> list[str]:
    """Return `text` in pieces of `size` characters."""
    return [text[start : start + size] for start in range(0, len(text), size)]


def chat(asked: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """Return a chat completion."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": reply.text or None,
        "refusal": None,
        "annotations": [],
    }
    if reply.tools:
        message["tool_calls"] = [
            {
                "id": reply.tool_id(number),
                "type": "function",
                "function": {"name": tool.name, "arguments": tool.text},
            }
            for number, tool in enumerate(reply.tools)
        ]
    body: dict[str, Any] = {
        "id": "chatcmpl-C0ffee",
        "object": "chat.completion",
        "created": CREATED,
        "model": reply.model or asked["model"],
        "choices": [
            {"index": index, "message": message, "logprobs": None, "finish_reason": _chat_finish(reply)}
            for index in range(asked.get("n") or 1)
        ],
        "service_tier": "default",
        "system_fingerprint": "fp_50906f2aac",
    }
    if reply.usage is not None:
        body["usage"] = _chat_usage(reply.usage)
    return body


def chat_events(asked: dict[str, Any], reply: Reply) -> Iterator[bytes]:
    """Yield the chunks of a chat completion, then `[DONE]`."""
    wants_usage = bool((asked.get("stream_options") or {}).get("include_usage"))

    def chunk(delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        body = {
            "id": "chatcmpl-C0ffee",
            "object": "chat.completion.chunk",
            "created": CREATED,
            "model": reply.model or asked["model"],
            "service_tier": "default",
            "system_fingerprint": "fp_50906f2aac",
            "choices": [] if delta is None else [choice],
            **({"usage": None} if wants_usage else {}),
            **more,
        }
        return _data(body)

    yield chunk({"role": "assistant", "content": "" if reply.text else None, "refusal": None})
    for piece in _endless(reply):
        yield chunk({"content": piece})
    for number, tool in enumerate(reply.tools):
        head = {
            "index": number,
            "id": reply.tool_id(number),
            "type": "function",
            "function": {"name": tool.name, "arguments": ""},
        }
        yield chunk({"tool_calls": [head]})
        for piece in pieces(tool.text, reply.piece):
            yield chunk({"tool_calls": [{"index": number, "function": {"arguments": piece}}]})
    yield chunk({}, _chat_finish(reply))
    if wants_usage and reply.usage is not None:
        yield chunk(None, usage=_chat_usage(reply.usage))
    yield b"data: [DONE]\n\n"


def completion(asked: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """Return a completion of the older kind."""
    return {
        "id": "cmpl-C0ffee",
        "object": "text_completion",
        "created": CREATED,
        "model": reply.model or asked["model"],
        "choices": [{"text": reply.text, "index": 0, "logprobs": None, "finish_reason": "stop"}],
        "usage": _chat_usage(reply.usage or Usage()),
    }


def response(asked: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """Return a response of the Responses API."""
    body = _response_frame(asked, reply, "completed")
    body["output"] = [item for item, _ in _response_items(reply)]
    body["usage"] = None if reply.usage is None else _response_usage(reply.usage)
    return body


def response_events(asked: dict[str, Any], reply: Reply) -> Iterator[bytes]:
    """Yield the events of a response."""
    number = -1

    def event(kind: str, **more: Any) -> bytes:
        nonlocal number
        number += 1
        return _event(kind, {"type": kind, "sequence_number": number, **more})

    frame = _response_frame(asked, reply, "in_progress")
    yield event("response.created", response=frame)
    yield event("response.in_progress", response=frame)
    for index, (item, tool) in enumerate(_response_items(reply)):
        place = {"item_id": item["id"], "output_index": index}
        if tool is not None:
            yield event(
                "response.output_item.added",
                output_index=index,
                item={**item, "arguments": "", "status": "in_progress"},
            )
            for piece in pieces(tool.text, reply.piece):
                yield event("response.function_call_arguments.delta", **place, delta=piece)
            yield event(
                "response.function_call_arguments.done", **place, arguments=tool.text, name=item["name"]
            )
        else:
            part = item["content"][0]
            place["content_index"] = 0
            yield event(
                "response.output_item.added",
                output_index=index,
                item={**item, "content": [], "status": "in_progress"},
            )
            yield event("response.content_part.added", **place, part={**part, "text": ""})
            for piece in _endless(reply):
                yield event("response.output_text.delta", **place, delta=piece, logprobs=[])
            yield event("response.output_text.done", **place, text=reply.text, logprobs=[])
            yield event("response.content_part.done", **place, part=part)
        yield event("response.output_item.done", output_index=index, item=item)
    yield event("response.completed", response=response(asked, reply))


def message(asked: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """Return an Anthropic message."""
    text: list[dict[str, Any]] = [{"type": "text", "text": reply.text}] if reply.text else []
    tools = [
        {"type": "tool_use", "id": reply.tool_id(number), "name": tool.name, "input": tool.value}
        for number, tool in enumerate(reply.tools)
    ]
    body = _message_frame(asked, reply)
    body |= {"content": text + tools, "stop_reason": _message_stop(reply)}
    body["usage"] = _message_usage(reply.usage or Usage(0, 0))
    return body


def message_events(asked: dict[str, Any], reply: Reply) -> Iterator[bytes]:
    """Yield the events of an Anthropic message."""
    usage = reply.usage or Usage(0, 0)

    def event(kind: str, **more: Any) -> bytes:
        return _event(kind, {"type": kind, **more})

    yield event(
        "message_start",
        message=_message_frame(asked, reply) | {"usage": _message_usage(usage) | {"output_tokens": 1}},
    )
    index = 0
    if reply.text:
        yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        yield event("ping")
        for piece in _endless(reply):
            yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
        yield event("content_block_stop", index=0)
        index = 1
    for number, tool in enumerate(reply.tools):
        block = {"type": "tool_use", "id": reply.tool_id(number), "name": tool.name, "input": {}}
        yield event("content_block_start", index=index, content_block=block)
        for piece in ["", *pieces(tool.text, reply.piece)]:
            yield event(
                "content_block_delta", index=index, delta={"type": "input_json_delta", "partial_json": piece}
            )
        yield event("content_block_stop", index=index)
        index += 1
    yield event(
        "message_delta",
        delta={"stop_reason": _message_stop(reply), "stop_sequence": None},
        usage={"output_tokens": usage.output},
    )
    yield event("message_stop")


def embeddings(asked: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """Return one vector of three numbers for each input; floats whatever encoding was asked for."""
    given = asked["input"]
    count = len(given) if isinstance(given, list) and given and not isinstance(given[0], int) else 1
    tokens = (reply.usage or Usage()).input
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": [0.5, -0.25, 1.0]} for index in range(count)
        ],
        "model": reply.model or asked["model"],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def moderation(asked: dict[str, Any], _reply: Reply) -> dict[str, Any]:
    """Return a moderation that flags nothing."""
    return {
        "id": "modr-C0ffee",
        "model": asked.get("model") or "omni-moderation-latest",
        "results": [
            {"flagged": False, "categories": {}, "category_scores": {}, "category_applied_input_types": {}}
        ],
    }


def error(status: int, kind: str, *, is_anthropic: bool) -> dict[str, Any]:
    """Return an error's body."""
    text = f"the upstream says {kind}"
    if is_anthropic:
        return {
            "type": "error",
            "error": {"type": kind, "message": text},
            "request_id": "req_011CSHoEeqs5C35K",
        }
    return {"error": {"message": text, "type": kind, "param": None, "code": kind if status != 500 else None}}


def _endless(reply: Reply) -> Iterator[str]:
    while True:
        yield from pieces(reply.text, reply.piece)
        if not reply.endless:
            return


def _data(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


def _event(kind: str, body: dict[str, Any]) -> bytes:
    return f"event: {kind}\n".encode() + _data(body)


def _chat_finish(reply: Reply) -> str:
    return reply.finish or ("tool_calls" if reply.tools else "stop")


def _message_stop(reply: Reply) -> str:
    return reply.finish or ("tool_use" if reply.tools else "end_turn")


def _chat_usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning, "audio_tokens": 0},
    }


def _response_usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cached},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
    }


def _message_usage(usage: Usage) -> dict[str, Any]:
    # Anthropic counts what was read from the cache and written to it beside `input_tokens`.
    return {
        "input_tokens": usage.input - usage.cached,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.output,
        "service_tier": "standard",
    }


def _response_frame(asked: dict[str, Any], reply: Reply, status: str) -> dict[str, Any]:
    return {
        "id": "resp_C0ffee",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": asked.get("instructions"),
        "max_output_tokens": asked.get("max_output_tokens"),
        "model": reply.model or asked["model"],
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": asked.get("previous_response_id"),
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": asked.get("tools", []),
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        "user": None,
        "metadata": {},
    }


def _response_items(reply: Reply) -> list[tuple[dict[str, Any], ToolUse | None]]:
    items: list[tuple[dict[str, Any], ToolUse | None]] = []
    if reply.text:
        part = {"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}
        items.append(
            (
                {
                    "id": "msg_C0ffee",
                    "type": "message",
                    "status": "completed",
                    "role": "assistant",
                    "content": [part],
                },
                None,
            )
        )
    for number, tool in enumerate(reply.tools):
        call = {
            "id": f"fc_{number:024d}",
            "type": "function_call",
            "status": "completed",
            "call_id": reply.tool_id(number),
            "name": tool.name,
            "arguments": tool.text,
        }
        items.append((call, tool))
    return items


def _message_frame(asked: dict[str, Any], reply: Reply) -> dict[str, Any]:
    return {
        "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
        "type": "message",
        "role": "assistant",
        "model": reply.model or asked["model"],
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }

"""Reads what an agent asks for, so that no provider can read it differently, and writes it anew for the provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.gateway._refusal import RefusalError
from agentguard.llm import (
    CHAT,
    FormError,
    FormPart,
    LlmCall,
    Wire,
    fields_of,
    read_call,
    read_form,
    write_form,
)

if TYPE_CHECKING:
    from agentguard.gateway._door import Asked, Door

# What decides must be spelt as every provider reads it: some do not tell `Model` from `model`.
_TELLING = frozenset(
    ("model", "messages", "input", "prompt", "instructions", "system", "tools", "functions", "tool_choice", "stream",
     "stream_options", "n", "best_of", "max_tokens", "max_completion_tokens", "max_output_tokens", "store",
     "mcp_servers", "web_search_options", "previous_response_id", "conversation", "service_tier", "purpose",
     "input_file_id", "endpoint", "requests")
)  # fmt: skip
JSON = "application/json"


class Reading(msgspec.Struct, frozen=True):
    """A request as it was read. `sent` is its JSON, also where the call is not told by it; `form` the parts of a form."""

    call: LlmCall
    sent: dict[str, Any] | None = None
    form: list[FormPart] | None = None

    def encode(self, body: dict[str, Any] | None) -> tuple[str, bytes]:
        """Return the content type and the bytes for the provider; `body` is the JSON, or the fields, as decided."""
        if self.form is not None:
            return write_form([_decided(part, body) for part in self.form])
        body = self.sent if body is None else body
        return ("", b"") if body is None else (JSON, msgspec.json.encode(body))


def read(door: Door, asked: Asked) -> Reading:
    """Return what a request asks for.

    Raises:
        RefusalError: 400, nobody can read it, or two readers could read it differently.
    """
    path = "/v1/messages" if door.rest == "messages/count_tokens" else door.path
    path = "/v1/responses" if door.rest == "responses/input_tokens" else path
    if asked.method != "POST" or door.rest.endswith("/cancel"):
        return Reading(read_call(asked.method, "", path, asked.body, is_json=False))
    kind = next((value for name, value in asked.headers if name == b"content-type"), b"").decode("latin-1")
    if door.takes_forms and kind.lower().startswith("multipart/"):
        return _read_form(asked, path, kind)
    call = read_call(asked.method, "", path, asked.body, is_json=True)
    body = call.body if call.body is not None else _object(asked.body)
    if body is None:
        raise RefusalError(400, "json_invalid", "the body is no JSON object")
    _check_keys(body)
    if door.counts_only:
        call = msgspec.structs.replace(call, action=CHAT, wire=Wire.NONE, is_stream=False)
    elif _streams_media(door, body):
        call = msgspec.structs.replace(call, is_stream=True)
    return Reading(call, body)


def read_entry(path: str, content: bytes) -> LlmCall:
    """Return what one request of a batch asks for; where nobody can read it, it has no body.

    Raises:
        RefusalError: 400, two readers could read it differently.
    """
    call = read_call("POST", "", path, content, is_json=True)
    _check_keys(call.body or {})
    return call


def _read_form(asked: Asked, path: str, kind: str) -> Reading:
    try:
        form = read_form(kind, asked.body)
        fields = fields_of(form)
    except FormError as error:
        raise RefusalError(400, "form_invalid", str(error)) from None
    _check_keys(fields)
    call = read_call(asked.method, "", path, msgspec.json.encode(fields), is_json=True)
    params = {**call.params, "input_bytes": len(asked.body)}
    call = msgspec.structs.replace(
        call, params=params, input_bytes=len(asked.body), is_stream=fields.get("stream") == "true"
    )
    return Reading(call, fields, form)


def _check_keys(body: dict[str, Any]) -> None:
    if any(key not in _TELLING and key.lower() in _TELLING for key in body):
        raise RefusalError(
            400, "json_invalid", "the body has a key that differs from a known one only in case"
        )


def _streams_media(door: Door, body: dict[str, Any]) -> bool:
    """Tell whether an answer with images or sound comes as events."""
    return door.is_media and (body.get("stream") is True or body.get("stream_format") == "sse")


def _decided(part: FormPart, body: dict[str, Any] | None) -> FormPart:
    if body is None or part.filename is not None or part.name not in body:
        return part
    return msgspec.structs.replace(part, content=str(body[part.name]).encode())


def _object(content: bytes) -> dict[str, Any] | None:
    try:
        value = msgspec.json.decode(content)
    except (ValueError, RecursionError):
        return None
    return value if type(value) is dict else None

"""The OpenAPI description of the LLM gateway: which paths of the providers are served. What they carry is the providers'."""

from __future__ import annotations

from typing import Any

_SAID = [{"role": "user", "content": "Hello"}]
_CHAT = {"model": "gpt-5.4", "messages": _SAID}
_ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-5.4",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
}
_RESPONSE = {"id": "resp_1", "object": "response", "model": "gpt-5.4", "output": []}
_VECTORS = {"object": "list", "model": "text-embedding-3-small", "data": []}
_IMAGE = {"model": "gpt-image-1", "prompt": "A pen"}
_IMAGES = {"created": 1769860800, "data": [{"b64_json": "iVBORw0KGgo="}]}
_SPEECH = {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": "Hello"}
_BATCH = {"id": "batch_1", "object": "batch", "status": "validating"}
_FILE = {"id": "file-1", "object": "file", "purpose": "batch"}
_LIST: dict[str, Any] = {"object": "list", "data": []}
_ASKED = {"model": "claude-sonnet-4-5", "max_tokens": 1024, "messages": _SAID}
_MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [{"type": "text", "text": "Hello."}],
    "usage": {"input_tokens": 9, "output_tokens": 2},
}
_MESSAGE_BATCH = {"id": "msgbatch_1", "type": "message_batch", "processing_status": "in_progress"}
_FORM = "multipart/form-data"
_FIELDS = {"model": "gpt-4o-transcribe"}
_BYTES = "application/octet-stream"

# Method, path, summary, an example of what it takes, and of what it gives; a text is a form, or bytes.
_SERVED: tuple[tuple[str, str, str, Any, Any], ...] = (
    ("post", "/openai/v1/chat/completions", "Chat; also as a stream", _CHAT, _ANSWER),
    ("post", "/openai/v1/completions", "Complete a text", {"model": "gpt-5.4", "prompt": "Hello"}, _ANSWER),
    ("post", "/openai/v1/responses", "Respond; also as a stream", {"model": "gpt-5.4", "input": "Hello"}, _RESPONSE),
    ("get", "/openai/v1/responses/{id}", "Read a stored response", None, _RESPONSE),
    ("post", "/openai/v1/embeddings", "Embed", {"model": "text-embedding-3-small", "input": "Hello"}, _VECTORS),
    ("post", "/openai/v1/moderations", "Moderate", {"input": "Hello"}, {"id": "modr-1", "results": []}),
    ("get", "/openai/v1/models", "List the models", None, _LIST),
    ("post", "/openai/v1/images/generations", "Make images", _IMAGE, _IMAGES),
    ("post", "/openai/v1/images/edits", "Change images", _FORM, _IMAGES),
    ("post", "/openai/v1/audio/speech", "Speak a text", _SPEECH, _BYTES),
    ("post", "/openai/v1/audio/transcriptions", "Write down what is said", _FORM, {"text": "Hello"}),
    ("post", "/openai/v1/audio/translations", "Write down in English what is said", _FORM, {"text": "Hello"}),
    ("post", "/openai/v1/files", "Hand in a file; a batch is decided call by call", _FORM, _FILE),
    ("get", "/openai/v1/files", "List the files", None, _LIST),
    ("get", "/openai/v1/files/{id}", "Read about a file", None, _FILE),
    ("get", "/openai/v1/files/{id}/content", "Read a file", None, _BYTES),
    ("delete", "/openai/v1/files/{id}", "Delete a file", None, {"id": "file-1", "deleted": True}),
    ("post", "/openai/v1/batches", "Begin a batch, reserved at batch prices",
     {"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "completion_window": "24h"}, _BATCH),
    ("get", "/openai/v1/batches", "List the batches", None, _LIST),
    ("get", "/openai/v1/batches/{id}", "Read about a batch", None, _BATCH),
    ("post", "/openai/v1/batches/{id}/cancel", "Cancel a batch", None, _BATCH),
    ("post", "/openai/deployments/{name}/chat/completions", "Chat with an Azure deployment", {"messages": _SAID},
     _ANSWER),
    ("post", "/openai/deployments/{name}/embeddings", "Embed with an Azure deployment", {"input": "Hello"}, _VECTORS),
    ("post", "/anthropic/v1/messages", "Chat; also as a stream", _ASKED, _MESSAGE),
    ("post", "/anthropic/v1/messages/count_tokens", "Count tokens", _ASKED, {"input_tokens": 9}),
    ("get", "/anthropic/v1/models", "List the models", None, {"data": [], "has_more": False}),
    ("post", "/anthropic/v1/messages/batches", "Begin a batch, decided call by call",
     {"requests": [{"custom_id": "a", "params": _ASKED}]}, _MESSAGE_BATCH),
    ("get", "/anthropic/v1/messages/batches/{id}", "Read about a batch", None, _MESSAGE_BATCH),
    ("get", "/anthropic/v1/messages/batches/{id}/results", "Read the results of a batch", None, _BYTES),
)  # fmt: skip
_ERRORS = {
    "400": "The request cannot be read safely",
    "401": "The token proves nobody",
    "403": "A rule denied the call, or a person has to approve",
    "404": "Not served, or no upstream serves the model",
    "429": "A budget or a limit is used up, or the provider's own",
    "502": "The provider is down, broke off, or answered what nobody can read",
}


def gateway_paths() -> dict[str, Any]:
    """Return the paths that the gateway serves where the settings name upstreams."""
    paths: dict[str, Any] = {}
    for method, path, summary, takes, gives in _SERVED:
        paths.setdefault(path, {})[method] = _operation(path, summary, takes, gives)
    return paths


def _operation(path: str, summary: str, takes: Any, gives: Any) -> dict[str, Any]:
    error = {
        "application/json": {
            "schema": {"type": "object", "description": "The error in the provider's own shape"}
        }
    }
    operation: dict[str, Any] = {
        "summary": summary,
        "tags": ["LLM gateway"],
        "security": [{"agent": []}, {"agent_key": []}],
        "responses": {"200": {"description": "The provider's answer", "content": _content(gives)}}
        | {status: {"description": text, "content": error} for status, text in _ERRORS.items()},
    }
    name = path.partition("{")[2].partition("}")[0]
    if name:
        operation["parameters"] = [
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": "Its name at the provider",
                "schema": {"type": "string"},
            }
        ]
    if takes is not None:
        operation["requestBody"] = {"required": True, "content": _content(takes)}
    return operation


def _content(example: Any) -> dict[str, Any]:
    if example == _BYTES:
        return {_BYTES: {"schema": {"type": "string"}, "example": "..."}}
    if example == _FORM:
        return {_FORM: {"schema": {"type": "object"}, "example": _FIELDS}}
    return {"application/json": {"schema": {"type": "object"}, "example": example}}

from __future__ import annotations

import json
from typing import Any

import pytest

from agentguard.core import normalise_resource_id
from agentguard.llm import RewriteError, Said, Wire, provider_of, read_call, resource_of, rewrite


def post(path: str, body: dict[str, Any], host: str = "api.openai.com") -> Any:
    return read_call("POST", host, path, json.dumps(body).encode(), is_json=True)


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("api.openai.com", "openai"),
        ("eu.api.openai.com", "openai"),
        ("API.OpenAI.com.", "openai"),
        ("api.openai.com.evil.example", "api.openai.com.evil.example"),
        ("evilapi.openai.com", "evilapi.openai.com"),
        ("shop.openai.azure.com", "azure"),
        ("api.anthropic.com", "anthropic"),
        ("bedrock-runtime.eu-west-1.amazonaws.com", "bedrock"),
        ("europe-west1-aiplatform.googleapis.com", "vertex"),
        ("127.0.0.1", "127.0.0.1"),
    ],
)
def test_a_provider_is_known_by_its_own_hosts_alone(host: str, provider: str) -> None:
    assert provider_of(host) == provider


@pytest.mark.parametrize("model", ["gpt-5.4", "ft:gpt-4o:org::id", "meta/llama 3", "../../x", "a//b", "é", "a\\b\x00", "%2e", "."])  # fmt: skip
def test_every_model_has_a_resource_that_stays_below_its_provider(model: str) -> None:
    resource = resource_of("openai", model)
    assert normalise_resource_id(resource) == resource
    assert resource.startswith("llm/openai/")


@pytest.mark.parametrize(
    ("method", "path", "action", "wire"),
    [
        ("POST", "/v1/chat/completions", "llm.chat", Wire.CHAT),
        ("POST", "/v1/completions", "llm.chat", Wire.CHAT),
        ("POST", "/openai/deployments/gpt/chat/completions", "llm.chat", Wire.CHAT),
        ("POST", "/v1/responses", "llm.chat", Wire.RESPONSES),
        ("POST", "/v1/messages", "llm.chat", Wire.MESSAGES),
        ("POST", "/v1/projects/p/locations/l/publishers/anthropic/models/claude:streamRawPredict", "llm.chat", Wire.MESSAGES),
        ("POST", "/model/claude/invoke", "llm.chat", Wire.MESSAGES),
        ("POST", "/v1/embeddings", "llm.embed", Wire.NONE),
        ("POST", "/v1/moderations", "llm.moderate", Wire.NONE),
        ("POST", "/v1/images/generations", "llm.media", Wire.NONE),
        ("POST", "/v1/audio/speech", "llm.media", Wire.NONE),
        ("GET", "/v1/models", "llm.models", Wire.NONE),
        ("GET", "/v1/models/gpt-5.4", "llm.models", Wire.NONE),
        ("POST", "/v1/files", "llm.api", Wire.NONE),
        ("POST", "/v1/threads/t1/messages", "llm.api", Wire.NONE),
        ("POST", "/v1/messages/batches", "llm.api", Wire.NONE),
        ("GET", "/v1/responses/resp_1", "llm.api", Wire.RESPONSES),
        ("GET", "/v1/chat/completions/c1", "llm.api", Wire.CHAT),
        ("DELETE", "/v1/models/mine", "llm.api", Wire.NONE),
    ],
)  # fmt: skip
def test_method_and_path_say_what_is_asked_for(method: str, path: str, action: str, wire: Wire) -> None:
    call = read_call(method, "api.openai.com", path, b"{}", is_json=True)
    assert (call.action, call.wire) == (action, wire)


def test_a_chat_says_its_model_limits_tools_and_texts() -> None:
    body = {
        "model": "gpt-5.4",
        "max_completion_tokens": 50,
        "stream": True,
        "store": True,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {}}]},
            {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "found"},
        ],
        "tools": [{"type": "function", "function": {"name": "look"}}],
        "web_search_options": {},
    }  # fmt: skip
    call = post("/v1/chat/completions", body)
    assert call.resource == "llm/openai/gpt-5.4"
    assert call.said == [
        Said("system", "Be brief."),
        Said("user", "Hi"),
        Said("assistant", "{}"),
        Said("tool", "found", "c1", "look"),
    ]
    size = call.params.pop("input_bytes")
    assert size == call.input_bytes == len(json.dumps(body))
    assert call.params.pop("input")[1] == {"role": "user", "text": "Hi"}
    assert call.params == {
        "model": "gpt-5.4",
        "max_output_tokens": 50,
        "stream": True,
        "store": True,
        "tools": ["look"],
        "hosted_tools": ["web_search"],
    }


def test_a_response_says_the_same() -> None:
    body = {
        "model": "gpt-5.4",
        "instructions": "Be brief.",
        "max_output_tokens": 9,
        "input": [
            {"role": "user", "content": "Hi"},
            {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "found"},
        ],
        "tools": [
            {"type": "function", "name": "look"},
            {"type": "mcp", "server_url": "https://mcp.example"},
            {"type": "shell", "environment": {"type": "container_auto"}},
            {"type": "local_shell"},
        ],
    }
    call = post("/v1/responses", body)
    assert call.said[-1] == Said("tool", "found", "c1", "look")
    assert call.params["tools"] == ["look", "local_shell"]
    assert [(each.kind, each.server) for each in call.hosted] == [
        ("mcp", "https://mcp.example"),
        ("shell", ""),
    ]


def test_a_message_says_the_same() -> None:
    body = {
        "model": "claude",
        "max_tokens": 7,
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "found"}]}]},
        ],
        "tools": [{"name": "look"}, {"type": "bash_20250124", "name": "bash"}, {"type": "web_search_20250305", "name": "web_search"}],
        "mcp_servers": [{"url": "https://mcp.example"}],
    }  # fmt: skip
    call = post("/v1/messages", body, "api.anthropic.com")
    assert call.resource == "llm/anthropic/claude"
    assert call.said[-1] == Said("tool", "found", "t1", "look")
    assert call.params["tools"] == ["look", "bash"]
    assert call.params["hosted_tools"] == ["web_search_20250305", "mcp"]


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"\xff\xfe"])
def test_a_body_that_cannot_be_read_is_of_an_unknown_model(content: bytes | None) -> None:
    call = read_call("POST", "api.openai.com", "/v1/chat/completions", content, is_json=True)
    assert (call.body, call.model, call.resource) == (None, "unknown", "llm/openai/unknown")


def test_an_address_may_name_the_model() -> None:
    call = read_call(
        "POST", "x.openai.azure.com", "/openai/deployments/mine/images/generations", b"{}", is_json=True
    )
    assert call.resource == "llm/azure/mine"


CHANGES: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ("/v1/chat/completions", {}, {"max_output_tokens": 5}, {"max_completion_tokens": 5}),
    ("/v1/chat/completions", {"max_tokens": 9}, {"max_output_tokens": 5}, {"max_tokens": 5}),
    ("/v1/completions", {"prompt": "x"}, {"max_output_tokens": 5}, {"prompt": "x", "max_tokens": 5}),
    ("/v1/responses", {}, {"max_output_tokens": 5}, {"max_output_tokens": 5}),
    ("/v1/messages", {"max_tokens": 9}, {"max_output_tokens": 5}, {"max_tokens": 5}),
    ("/v1/chat/completions", {}, {"store": False}, {"store": False}),
    ("/v1/chat/completions", {}, {"model": "small"}, {"model": "small"}),
    (
        "/v1/responses",
        {"tools": [{"type": "function", "name": "a"}, {"type": "web_search"}], "tool_choice": "auto"},
        {"hosted_tools": []},
        {"tools": [{"type": "function", "name": "a"}], "tool_choice": "auto"},
    ),
    (
        "/v1/messages",
        {"tools": [{"name": "a"}], "tool_choice": {"type": "any"}, "mcp_servers": [{"url": "u"}]},
        {"tools": [], "hosted_tools": []},
        {},
    ),
]


@pytest.mark.parametrize(("path", "body", "change", "expected"), CHANGES)
def test_what_was_decided_is_written_into_the_request(
    path: str, body: dict[str, Any], change: dict[str, Any], expected: dict[str, Any]
) -> None:
    call = post(path, {"model": "big", **body})
    assert rewrite(call, {**call.params, **change}) == {"model": "big", **expected}
    # What came is left as it came.
    assert call.body == {"model": "big", **body}


@pytest.mark.parametrize("change", [{"input": []}, {"stream": True}, {"input_bytes": 0}, {"new": 1}])
def test_what_cannot_be_changed_on_the_way_is_not_sent(change: dict[str, Any]) -> None:
    call = post("/v1/chat/completions", {"model": "m"})
    with pytest.raises(RewriteError, match=f"`{next(iter(change))}`"):
        rewrite(call, {**call.params, **change})


def test_a_model_in_the_address_cannot_be_changed() -> None:
    call = read_call("POST", "h", "/model/claude/invoke", b'{"messages": []}', is_json=True)
    with pytest.raises(RewriteError, match="address"):
        rewrite(call, {**call.params, "model": "other"})

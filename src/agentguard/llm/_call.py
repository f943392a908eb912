"""A request to a provider, as the enforcement points see it: what is asked for, of whom, with which texts."""

from __future__ import annotations

import enum
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from agentguard.llm import _chat, _messages, _responses
from agentguard.llm._tool import Said, items, text_of, texts_in

if TYPE_CHECKING:
    from collections.abc import Callable

CHAT, EMBED, MODERATE, MEDIA = "llm.chat", "llm.embed", "llm.moderate", "llm.media"
MODELS, HOSTED_TOOL, API = "llm.models", "llm.hosted-tool", "llm.api"
UNKNOWN = "unknown"


class Wire(enum.Enum):
    """Whose shapes a request and its answer have; `NONE` has no answer that is looked into."""

    CHAT = "chat"
    RESPONSES = "responses"
    MESSAGES = "messages"
    NONE = "none"

    # By identity, which is what equality is: an enumeration's own is a call of Python for each look-up.
    __hash__ = object.__hash__


class HostedTool(msgspec.Struct, frozen=True):
    """A tool that the provider would run itself; `server` is the address that it would call, where there is one."""

    kind: str
    server: str = ""


class LlmCall(msgspec.Struct, frozen=True):
    """What a request asks for. `body` is its JSON, None where it has none that can be read; all of it is hostile.

    `action`, `resource` and `params` are what is decided on; `said` the texts in it, in order.
    """

    action: str
    resource: str
    params: dict[str, Any]
    provider: str
    model: str = ""
    wire: Wire = Wire.NONE
    body: dict[str, Any] | None = None
    said: list[Said] = []
    hosted: list[HostedTool] = []
    is_stream: bool = False
    input_bytes: int = 0
    content: bytes | None = None

    @property
    def is_seen(self) -> bool:
        """Whether what comes back is somebody's words, which an agent may be talked into things by."""
        return self.action == API or self.wire is not Wire.NONE


_OWN_HOSTS = (
    (re.compile(r"(.+\.)?api\.openai\.com|api\.openai\.com"), "openai"),
    (re.compile(r".+\.(openai\.azure\.com|cognitiveservices\.azure\.com|services\.ai\.azure\.com)"), "azure"),
    (re.compile(r"(.+\.)?api\.anthropic\.com|api\.anthropic\.com"), "anthropic"),
    (re.compile(r"bedrock-(runtime|mantle)(-fips)?\..+\.(amazonaws\.com|api\.aws)"), "bedrock"),
    (re.compile(r"(.+-)?aiplatform\.googleapis\.com"), "vertex"),
)
# What no id of a resource can have, encoded or not.
_NO_ID = re.compile(r"[\x00-\x1f\x7f\\%]")
_MEDIA = re.compile(r"/(images/[a-z]+|audio/[a-z]+|videos)$")
_VERTEX = re.compile(r"/models/([^/:]+):(?:stream)?[rR]awPredict$")
_BEDROCK = re.compile(r"/model/([^/]+)/invoke(-with-response-stream)?$")
_DEPLOYMENT = re.compile(r"/deployments/([^/]+)/")
_ONE_MODEL = re.compile(r"/models/([^/]+)$")
_STORED = re.compile(r"/(chat/completions|responses)/[^/]+$")
_PROMPTS: dict[Wire, Callable[[dict[str, Any]], list[Said]]] = {
    Wire.CHAT: _chat.read_prompt,
    Wire.RESPONSES: _responses.read_prompt,
    Wire.MESSAGES: _messages.read_prompt,
}
_OUTPUT_LIMITS: dict[Wire, tuple[str, ...]] = {
    Wire.CHAT: _chat.OUTPUT_LIMITS,
    Wire.RESPONSES: _responses.OUTPUT_LIMITS,
    Wire.MESSAGES: _messages.OUTPUT_LIMITS,
}
_FUNCTION_TOOLS = frozenset(("", "function", "custom", "namespace", "tool_search"))
# These go back to the caller to be carried out, under the name of their kind.
_CALLER_TOOLS = frozenset(("local_shell", "shell", "apply_patch", "computer", "computer_use_preview"))
_ANTHROPIC_CALLER_TOOLS = ("bash_", "text_editor_", "computer_", "memory_", "custom")


@lru_cache(maxsize=256)
def provider_of(host: str) -> str:
    """Return whose host it is; a host that is nobody's known one stands for itself."""
    host = host.lower().rstrip(".")
    return next((name for pattern, name in _OWN_HOSTS if pattern.fullmatch(host)), host or UNKNOWN)


@lru_cache(maxsize=1024)
def resource_of(provider: str, model: str) -> str:
    """Return the id of a model as a resource."""
    model = _NO_ID.sub("_", model)
    name = "/".join(quote(part, safe=" :@+,=~!$&'()*;.-_") or "_" for part in model.split("/"))
    segments = ["_" + part if part in (".", "..") else part for part in name.strip().split("/")]
    return f"llm/{provider.replace(':', '_')}/{'/'.join(segments)}"


def read_call(
    method: str, host: str, path: str, content: bytes | None, *, is_json: bool, provider: str = ""
) -> LlmCall:
    """Return what a request asks for. `content` is its body, None where it cannot be read as one piece.

    `provider` is whose host it is, where that is known better than by its name.
    """
    provider = provider or provider_of(host)
    body = _read_body(content) if is_json else None
    size = len(content) if content is not None else 0
    wire, action = _kind(method, path)
    if action == API:
        return _other(method, path, provider, size, _stored_wire(method, path))
    if action == MODELS:
        found = _ONE_MODEL.search(path)
        model = found.group(1) if found else "any"
        return LlmCall(MODELS, resource_of(provider, model), {"model": model}, provider, model)
    model = _model(path, body or {})
    params: dict[str, Any] = {"model": model, "input_bytes": size}
    said = _said(wire, body or {})
    if said:
        params["input"] = [{"role": each.role[:100], "text": each.text} for each in said]
    if action == MEDIA:
        params["kind"] = path.rpartition("/v1/")[2][:100] or "media"
    hosted: list[HostedTool] = []
    is_stream = False
    if action == CHAT:
        is_stream = (body or {}).get("stream") is True or path.endswith(("stream", "streamRawPredict"))
        hosted = _describe_chat(wire, body or {}, params, is_stream=is_stream)
    return LlmCall(
        action, resource_of(provider, model), params, provider, model, wire, body, said, hosted, is_stream, size,
        content,
    )  # fmt: skip


def _read_body(content: bytes | None) -> dict[str, Any] | None:
    try:
        value = msgspec.json.decode(content or b"null")
    except (ValueError, RecursionError):
        return None
    return value if type(value) is dict else None


@lru_cache(maxsize=256)
def _kind(method: str, path: str) -> tuple[Wire, str]:
    if method == "GET":
        is_models = path.endswith("/models") or _ONE_MODEL.search(path) is not None
        return Wire.NONE, MODELS if is_models else API
    if method != "POST":
        return Wire.NONE, API
    if path.endswith(("/chat/completions", "/completions")):
        return Wire.CHAT, CHAT
    if path.endswith("/responses"):
        return Wire.RESPONSES, CHAT
    if path.endswith("/messages") and "/threads/" not in path:
        return Wire.MESSAGES, CHAT
    if _VERTEX.search(path) or _BEDROCK.search(path):
        return Wire.MESSAGES, CHAT
    if path.endswith("/embeddings"):
        return Wire.NONE, EMBED
    if path.endswith("/moderations"):
        return Wire.NONE, MODERATE
    return Wire.NONE, MEDIA if _MEDIA.search(path) else API


def _stored_wire(method: str, path: str) -> Wire:
    """Return the shape of an answer that was stored, and is read now for the first time perhaps."""
    found = _STORED.search(path) if method == "GET" else None
    if found is None:
        return Wire.NONE
    return Wire.RESPONSES if found.group(1) == "responses" else Wire.CHAT


def _other(method: str, path: str, provider: str, size: int, wire: Wire) -> LlmCall:
    params = {"method": method, "path": path[:2048], "input_bytes": size}
    return LlmCall(
        API, f"llm/{provider.replace(':', '_')}/api", params, provider, wire=wire, input_bytes=size
    )


def _model(path: str, body: dict[str, Any]) -> str:
    named = text_of(body.get("model"))
    if not named:
        found = _DEPLOYMENT.search(path) or _VERTEX.search(path) or _BEDROCK.search(path)
        named = found.group(1) if found else UNKNOWN
    return named[:256]


def _said(wire: Wire, body: dict[str, Any]) -> list[Said]:
    if wire is not Wire.NONE:
        return _PROMPTS[wire](body)
    said = []
    for name in ("input", "prompt", "instructions"):
        given = body.get(name)
        texts = [each for each in given if type(each) is str] if type(given) is list else []
        said += [Said("user", text) for text in texts or texts_in(given)]
    return said


def _describe_chat(
    wire: Wire, body: dict[str, Any], params: dict[str, Any], *, is_stream: bool
) -> list[HostedTool]:
    """Put what a chat asks for into `params`, and return the tools that the provider would run."""
    limit = next((body[name] for name in _OUTPUT_LIMITS[wire] if body.get(name) is not None), None)
    if limit is not None:
        params["max_output_tokens"] = limit
    if is_stream:
        params["stream"] = True
    if type(body.get("store")) is bool:
        params["store"] = body["store"]
    offered = [*items(body.get("tools")), *items(body.get("functions"))]
    mine = [tool for tool in offered if not is_hosted(wire, tool)]
    hosted = [
        HostedTool(_hosted_kind(tool), text_of(tool.get("server_url")))
        for tool in offered
        if is_hosted(wire, tool)
    ]
    hosted += [HostedTool("mcp", text_of(server.get("url"))) for server in items(body.get("mcp_servers"))]
    if type(body.get("web_search_options")) is dict:
        hosted.append(HostedTool("web_search"))
    if mine:
        params["tools"] = [tool_name(tool) for tool in mine]
    if hosted:
        params["hosted_tools"] = [each.kind for each in hosted]
    return hosted


def is_hosted(wire: Wire, tool: dict[str, Any]) -> bool:
    """Tell whether the provider would run a tool of a request itself."""
    kind = text_of(tool.get("type"))
    if wire is Wire.MESSAGES:
        return bool(kind) and not kind.startswith(_ANTHROPIC_CALLER_TOOLS)
    if kind == "shell" and type(tool.get("environment")) is dict:
        return bool(tool["environment"].get("type") != "local")
    return kind not in _FUNCTION_TOOLS and kind not in _CALLER_TOOLS


def tool_name(tool: dict[str, Any]) -> str:
    """Return the name of a tool that a request offers."""
    for inner in (tool, tool.get("function"), tool.get("custom")):
        if type(inner) is dict and type(inner.get("name")) is str:
            return inner["name"][:500] or "_"
    return text_of(tool.get("type"))[:500] or "_"


def _hosted_kind(tool: dict[str, Any]) -> str:
    return text_of(tool.get("type"))[:500] or "_"

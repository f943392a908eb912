"""Carries a rewritten decision out on a request: what can be changed is changed, and nothing else passes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentguard.llm import _chat, _messages, _responses
from agentguard.llm._call import CHAT, LlmCall, Wire, is_hosted, tool_name
from agentguard.llm._tool import items, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_READERS = {Wire.CHAT: _chat, Wire.RESPONSES: _responses, Wire.MESSAGES: _messages}
_CHANGEABLE = frozenset(("model", "max_output_tokens", "store", "tools", "hosted_tools"))


class RewriteError(Exception):
    """The request cannot be made what was decided; the text says why."""


def rewrite(call: LlmCall, decided: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request's body as `decided`, the parameters of the decision, want it.

    Raises:
        RewriteError: they differ in what cannot be changed here, or the body cannot be changed.
    """
    changed = {name for name in {*decided, *call.params} if decided.get(name) != call.params.get(name)}
    if not changed:
        return call.body or {}
    stuck = sorted(changed - _CHANGEABLE)
    if stuck or (call.action != CHAT and changed != {"model"}):
        name = stuck[0] if stuck else min(changed)
        raise RewriteError(f"the decision changes `{name}`, which cannot be changed on its way")
    if call.body is None:
        raise RewriteError("the decision changes a request whose body cannot be read")
    body = dict(call.body)
    if "model" in changed:
        if "model" not in body:
            raise RewriteError("the decision changes the model, which stands in the address")
        body["model"] = decided.get("model")
    if "max_output_tokens" in changed:
        write_output_limit(call.wire, body, decided.get("max_output_tokens"))
    if "store" in changed:
        _put(body, "store", decided.get("store"))
    if changed & {"tools", "hosted_tools"}:
        _keep_tools(call.wire, body, decided)
    return body


def write_output_limit(wire: Wire, body: dict[str, Any], limit: Any) -> None:
    """Write how many tokens the answer may have, under the name that the caller used for it, if there is one."""
    names = _READERS[wire].OUTPUT_LIMITS
    used = [name for name in names if body.get(name) is not None]
    first = "max_tokens" if "prompt" in body and wire is Wire.CHAT else names[0]
    for name in used or [first]:
        _put(body, name, limit)


def _put(body: dict[str, Any], name: str, value: Any) -> None:
    if value is None:
        body.pop(name, None)
    else:
        body[name] = value


def _keep_tools(wire: Wire, body: dict[str, Any], decided: Mapping[str, Any]) -> None:
    """Leave only the tools that were decided."""
    mine, hosted = set(decided.get("tools") or ()), set(decided.get("hosted_tools") or ())
    for key in ("tools", "functions"):
        if key not in body:
            continue
        body[key] = [
            tool
            for tool in items(body[key])
            if (text_of(tool.get("type")) in hosted if is_hosted(wire, tool) else tool_name(tool) in mine)
        ]
        if not body[key]:
            del body[key]
            body.pop("tool_choice" if key == "tools" else "function_call", None)
            body.pop("parallel_tool_calls", None)
    if "mcp" not in hosted:
        body.pop("mcp_servers", None)
    if "web_search" not in hosted:
        body.pop("web_search_options", None)

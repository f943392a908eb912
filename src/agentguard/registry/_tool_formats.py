"""Lists of tools as OpenAI, Anthropic and MCP write them, and how to tell which it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentguard.core import RegistryError
from agentguard.registry._tool import Tool
from agentguard.registry._tool_names import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FORMATS = ("openai", "anthropic", "mcp", "openapi", "python")
MAX_TOOLS = 5_000


def recognise(document: Any) -> str | None:
    """Return the format of a document (`openai`, `anthropic`, `mcp`, `openapi`), or None for none of them."""
    if isinstance(document, dict) and "openapi" in document and "paths" in document:
        return "openapi"
    first = next((each for each in _listed(document) if isinstance(each, dict)), None)
    if first is None:
        return None
    if "inputSchema" in first:
        return "mcp"
    if "input_schema" in first:
        return "anthropic"
    if first.get("type") == "function" or isinstance(first.get("function"), dict):
        return "openai"
    if "annotations" in first:
        return "mcp"
    return "openai" if "name" in first and ("parameters" in first or "description" in first) else None


def read_openai(document: Any) -> list[Tool]:
    """Return the tools of a list of OpenAI tools, of either shape (chat completions, responses)."""
    return list(_tools(document, _openai))


def read_anthropic(document: Any) -> list[Tool]:
    """Return the tools of a list of Anthropic tools."""
    return list(_tools(document, lambda each, where: _tool(each, where, each.get("input_schema"))))


def read_mcp(document: Any) -> list[Tool]:
    """Return the tools of the result of an MCP server's `tools/list`. Its hints and words are not vouched for."""
    return list(_tools(document, _mcp))


def _openai(each: dict[str, Any], where: str) -> Tool | None:
    if each.get("type", "function") != "function":
        # Tools that the model's provider runs itself (search, code): nothing is called here.
        return None
    inner = each.get("function", each)
    if not isinstance(inner, dict):
        raise RegistryError(f"{where}: `function` is no object")
    return _tool(inner, where, inner.get("parameters"))


def _mcp(each: dict[str, Any], where: str) -> Tool:
    hints = each.get("annotations")
    hints = hints if isinstance(hints, dict) else {}
    return _tool(
        each,
        where,
        each.get("inputSchema"),
        destructive=hints.get("destructiveHint") is True and hints.get("readOnlyHint") is not True,
        open_world=hints.get("openWorldHint") is True,
        changes=hints.get("readOnlyHint") is False,
        vouched=False,
    )


def _tool(each: dict[str, Any], where: str, schema: Any, **hints: Any) -> Tool:
    name = each.get("name")
    if not isinstance(name, str) or not name:
        raise RegistryError(
            f"{where}: a tool has no name", hint="see `--format` for the formats that are read"
        )
    description = each.get("description")
    return Tool(name, description if isinstance(description, str) else "", schema, where=where, **hints)


def _tools(document: Any, read: Callable[[dict[str, Any], str], Tool | None]) -> Iterator[Tool]:
    listed = _listed(document)
    if len(listed) > MAX_TOOLS:
        raise RegistryError(f"{len(listed)} tools are more than the {MAX_TOOLS} that are read")
    for index, each in enumerate(listed):
        where = f"tools[{index}]"
        if not isinstance(each, dict):
            raise RegistryError(f"{where}: is a {type(each).__name__}, not an object")
        tool = read(each, where)
        if tool is not None:
            yield tool


def _listed(document: Any) -> list[Any]:
    """Return the list of tools in a document: itself, or under `tools`, `result` or `functions`."""
    if isinstance(document, dict):
        for key in ("result", "tools", "functions"):
            if key in document:
                return _listed(document[key])
        return [document] if "name" in document or "function" in document else []
    return document if isinstance(document, list) else []


_KINDS = {
    list: "a list",
    str: "a text",
    int: "a number",
    float: "a number",
    bool: "a truth value",
    type(None): "nothing",
}


def no_format(document: Any) -> RegistryError:
    """Return the error for a document of no known format."""
    kind = "an empty list" if document == [] else _KINDS.get(type(document), "this")
    keys = (
        ", ".join(f"`{shown(str(key))}`" for key in list(document)[:5]) if isinstance(document, dict) else ""
    )
    what = f"an object with {keys}" if keys else kind
    return RegistryError(
        f"{what} is no list of tools that is known here",
        hint=f"known are {', '.join(FORMATS)}; `actions import --format` names one",
    )

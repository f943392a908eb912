"""Tools of other frameworks as actions: what they are called, what they take, and what they can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentguard.core import Access, Action, Location, RegistryError, Role
from agentguard.documents import parse_foreign
from agentguard.registry._actions import ActionRegistry
from agentguard.registry._tool import ImportedAction, Tool
from agentguard.registry._tool_action import read_access, read_flow, read_label, read_risk
from agentguard.registry._tool_arguments import find_arguments
from agentguard.registry._tool_formats import (
    FORMATS,
    no_format,
    read_anthropic,
    read_mcp,
    read_openai,
    recognise,
)
from agentguard.registry._tool_names import TOOL_TAG, action_names, shown
from agentguard.registry._tool_openapi import read_openapi
from agentguard.registry._tool_python import read_functions, read_source
from agentguard.registry._tool_schema import enforceable, import_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agentguard.registry._tool_arguments import Found

MAX_DESCRIPTION = 400

_READERS: dict[str, Callable[[Any], list[Tool]]] = {
    "openai": read_openai,
    "anthropic": read_anthropic,
    "mcp": read_mcp,
    "openapi": read_openapi,
    "python": read_functions,
}


def import_tools(
    document: Any,
    *,
    format: str = "auto",  # noqa: A002 - its name everywhere
    versions: Mapping[str, int] | None = None,
) -> tuple[ImportedAction, ...]:
    """Return the tools of `document` as actions, with what was inferred of each and why.

    `document` is what a framework takes: a list of OpenAI or Anthropic tools, the result of an MCP server's
    `tools/list`, an OpenAPI document, a Python function or a list of them. `format` is one of `openai`,
    `anthropic`, `mcp`, `openapi`, `python`; with `auto` it is recognised. `versions` gives by name the version
    that an action gets, where that is not 1.

    Names, descriptions and schemas are hostile text: they are bounded, and where they contradict each other the
    stricter holds. The actions pass `ActionRegistry.build`. It takes about a millisecond a tool.

    Raises:
        RegistryError: the format is not known, or a tool has no name or stands twice.
    """
    return _import_all(_read(document, format), versions)


def import_text(
    text: str,
    *,
    file: str,
    format: str = "auto",  # noqa: A002 - its name everywhere
    versions: Mapping[str, int] | None = None,
) -> tuple[ImportedAction, ...]:
    """Return the tools in the text of a file as actions; `file` names it in errors.

    JSON and YAML are read as `import_tools` does; a file `*.py`, or the format `python`, is Python source,
    whose public functions are read without running it.

    Raises:
        DocumentError: the text is neither JSON nor YAML.
        RegistryError: as `import_tools`.
    """
    try:
        if format == "python" or (format == "auto" and file.endswith(".py")):
            return _import_all(read_source(text, file=file), versions)
        return import_tools(parse_foreign(text, file=file), format=format, versions=versions)
    except RegistryError as error:
        place = error.location or Location(file)
        raise RegistryError(error.message, location=place, hint=error.hint) from None


def _import_all(tools: Sequence[Tool], versions: Mapping[str, int] | None) -> tuple[ImportedAction, ...]:
    names = action_names([tool.name for tool in tools])
    pairs = zip(tools, names, strict=True)
    return tuple(_import(tool, name, (versions or {}).get(name, 1)) for tool, name in pairs)


def _read(document: Any, kind: str) -> list[Tool]:
    if kind != "auto" and kind not in _READERS:
        raise RegistryError(f"unknown format `{shown(kind)}`", hint=f"one of auto, {', '.join(FORMATS)}")
    functions = [document] if callable(document) else document
    if isinstance(functions, list | tuple) and functions and all(callable(each) for each in functions):
        return read_functions(list(functions))
    if isinstance(document, tuple):
        document = list(document)
    chosen = recognise(document) if kind == "auto" else kind
    if chosen is None or chosen == "python":
        raise no_format(document)
    return _READERS[chosen](document)


def _import(tool: Tool, name: str, version: int) -> ImportedAction:
    params, notes = import_schema(tool.schema, tool.root)
    reading = read_access(tool)
    found = find_arguments(tool, params, reading)
    arguments = {pointer: each.argument for pointer, each in found.items()}
    label, said = read_label(tool, reading)
    risk, why = read_risk(tool, reading, arguments, label)
    flow, where = read_flow(tool, reading, arguments, label)
    because = {"access": reading.because, "risk": why, "flow": f"{where}; {said}"}
    if name != tool.name:
        because["name"] = f"the tool is called `{shown(tool.name)}`"
    because.update((pointer, each.because) for pointer, each in found.items())
    action = Action(
        name,
        version,
        _description(tool),
        risk,
        enforceable(_marked(params, found)),
        flow=flow,
        tags=_tags(tool, name, reading.access),
        access=reading.access,
        arguments=arguments,
    )
    unsure = (("access",) if reading.unsure else ()) + tuple(p for p, each in found.items() if each.unsure)
    return ImportedAction(_checked(action), tool.name, because, unsure, tool.notes + notes)


def _checked(action: Action) -> Action:
    """Return the action as the registry declares it; what the registry refuses never leaves."""
    return next(iter(ActionRegistry.build([action])))


def _description(tool: Tool) -> str:
    text = " ".join(
        "".join(c if c.isprintable() else " " for c in tool.description[: MAX_DESCRIPTION * 4]).split()
    )
    if len(text) > MAX_DESCRIPTION:
        text = text[: MAX_DESCRIPTION - 1] + "…"
    return text or f"The tool {shown(tool.name)}"


def _tags(tool: Tool, name: str, access: Access) -> tuple[str, ...]:
    tags = ["imported"]
    if access is Access.READ:
        tags.append("read-only")
    if name != tool.name:
        tags.append(f"{TOOL_TAG}{shown(tool.name)}")
    return tuple(tags)


def _marked(params: dict[str, Any], found: Mapping[str, Found]) -> dict[str, Any]:
    """Return the parameters with `facts` and `secret` where an argument is found to hold them."""
    made = params
    for pointer, each in found.items():
        marks: dict[str, Any] = {"facts": each.facts} if each.facts else {}
        if each.argument.role is Role.PAYLOAD and each.argument.kind == "secret":
            marks["secret"] = True
        if marks:
            made = _mark(made, pointer.split("/")[1:], marks)
    return made


def _mark(schema: dict[str, Any], steps: list[str], marks: dict[str, Any]) -> dict[str, Any]:
    if not steps:
        kept = {key: value for key, value in marks.items() if key not in schema}
        return {**schema, **kept}
    step = steps[0].replace("~1", "/").replace("~0", "~")
    if step == "*":
        items = schema.get("items")
        return {**schema, "items": _mark(items, steps[1:], marks)} if isinstance(items, dict) else schema
    below = schema.get("properties", {}).get(step)
    if not isinstance(below, dict):
        return schema
    return {**schema, "properties": {**schema["properties"], step: _mark(below, steps[1:], marks)}}

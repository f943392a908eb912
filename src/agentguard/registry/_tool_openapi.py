"""Operations of an OpenAPI 3.0 or 3.1 document as tools: parameters and body laid together, references resolved."""

from __future__ import annotations

import re
from typing import Any

from agentguard.core import RegistryError
from agentguard.registry._schema import follow
from agentguard.registry._tool import Tool
from agentguard.registry._tool_formats import MAX_TOOLS

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
MAX_FOLLOWED = 8

_UNSAFE = re.compile(r"[^A-Za-z0-9]+")
# Headers that the client sets itself are no parameters (OpenAPI 3.1, section 4.8.12.1).
_NOT_PARAMETERS = frozenset(("accept", "content-type", "authorization"))


def read_openapi(document: Any) -> list[Tool]:
    """Return the operations of an OpenAPI document.

    Raises:
        RegistryError: it is none, or of a version that is not read.
    """
    version = str(document.get("openapi", "")) if isinstance(document, dict) else ""
    if not version.startswith(("3.0", "3.1", "3.2")):
        hint = "convert it: 3.0, 3.1 and 3.2 are read"
        raise RegistryError(f"OpenAPI `{version[:20] or 'without a version'}` is not read", hint=hint)
    paths = document.get("paths")
    if not isinstance(paths, dict):
        raise RegistryError("`paths` is no object")
    tools: list[Tool] = []
    for path, item in paths.items():
        item = _followed(document, item)  # noqa: PLW2901 - a path item may be a reference too
        if not isinstance(item, dict):
            raise RegistryError(f"paths.{str(path)[:100]}: is no object")
        for method in METHODS:
            operation = item.get(method)
            if isinstance(operation, dict):
                tools.append(_operation(document, str(path), method, item, operation))
        if len(tools) > MAX_TOOLS:
            raise RegistryError(f"there are more than the {MAX_TOOLS} operations that are read")
    return tools


def _operation(
    document: dict[str, Any], path: str, method: str, item: dict[str, Any], operation: dict[str, Any]
) -> Tool:
    notes: list[str] = []
    properties: dict[str, Any] = {}
    required: list[str] = []
    for each in [*_list(item.get("parameters")), *_list(operation.get("parameters"))]:
        _parameter(document, each, properties, required, notes)
    _body(document, operation.get("requestBody"), properties, required, notes)
    name = operation.get("operationId")
    said = operation.get("summary") or operation.get("description")
    return Tool(
        name if isinstance(name, str) and name else _path_name(method, path),
        said if isinstance(said, str) else "",
        {"type": "object", "properties": properties, "required": list(dict.fromkeys(required))},
        root=document,
        method=method.upper(),
        where=f"{method.upper()} {path}",
        notes=tuple(notes),
    )


def _path_name(method: str, path: str) -> str:
    return _UNSAFE.sub("_", f"{method}_{path}").strip("_").lower()


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _parameter(
    document: dict[str, Any], each: Any, properties: dict[str, Any], required: list[str], notes: list[str]
) -> None:
    parameter = _followed(document, each)
    if not isinstance(parameter, dict) or not isinstance(parameter.get("name"), str):
        notes.append("a parameter without a name is left out, so it is refused")
        return
    name, place = parameter["name"], parameter.get("in")
    if place == "header" and name.lower() in _NOT_PARAMETERS:
        return
    schema = parameter.get("schema")
    if schema is None:
        schema = _schema_of(parameter.get("content"))
    if isinstance(schema, dict) and isinstance(parameter.get("description"), str):
        schema = {**schema, "description": parameter["description"]}
    properties[name] = schema
    if parameter.get("required") is True or place == "path":
        required.append(name)


def _schema_of(content: Any) -> Any:
    """Return the schema of the JSON variant of a `content`, or else of its first."""
    if not isinstance(content, dict) or not content:
        return {}
    kind = next((key for key in content if "json" in str(key)), next(iter(content)))
    media = content[kind]
    return media.get("schema", {}) if isinstance(media, dict) else {}


def _body(
    document: dict[str, Any], each: Any, properties: dict[str, Any], required: list[str], notes: list[str]
) -> None:
    """Lay the properties of a JSON body beside the parameters; another body, or one that clashes, is `body`."""
    body = _followed(document, each)
    if not isinstance(body, dict) or not isinstance(body.get("content"), dict) or not body["content"]:
        return
    schema = _followed(document, _schema_of(body["content"]))
    needed = body.get("required") is True
    below = schema.get("properties") if isinstance(schema, dict) else None
    if isinstance(below, dict) and below and not set(below) & set(properties):
        properties.update(below)
        if needed:
            required += [name for name in _list(schema.get("required")) if isinstance(name, str)]
        return
    if isinstance(below, dict) and below:
        notes.append("the body has properties that are parameters too: it is the parameter `body`")
    name = "body" if "body" not in properties else "request_body"
    properties[name] = schema
    if needed:
        required.append(name)


def _followed(document: dict[str, Any], value: Any) -> Any:
    """Return what a local reference leads to, over eight steps at most; what leads nowhere is nothing."""
    for _ in range(MAX_FOLLOWED):
        if not isinstance(value, dict) or not isinstance(value.get("$ref"), str):
            return value
        if not value["$ref"].startswith("#/"):
            return {}
        try:
            value = follow(document, value["$ref"])
        except KeyError:
            return {}
    return {}

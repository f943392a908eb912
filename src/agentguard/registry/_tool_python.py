"""Python functions as tools, from their text: nothing of a file is run to read its signatures."""

from __future__ import annotations

import ast
import inspect
import re
from typing import TYPE_CHECKING, Any

from agentguard.core import Location, RegistryError
from agentguard.registry._tool import Tool

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_DEPTH = 12

_SIMPLE = {
    "str": {"type": "string"}, "int": {"type": "integer"}, "float": {"type": "number"},
    "bool": {"type": "boolean"}, "None": {"type": "null"}, "bytes": {"type": "string"},
    "dict": {"type": "object"}, "Dict": {"type": "object"}, "list": {"type": "array"}, "List": {"type": "array"},
    "date": {"type": "string", "format": "date"}, "datetime": {"type": "string", "format": "date-time"},
    "Path": {"type": "string"}, "UUID": {"type": "string", "format": "uuid"}, "Decimal": {"type": "number"},
    "EmailStr": {"type": "string", "format": "email"}, "AnyUrl": {"type": "string", "format": "uri"},
    "HttpUrl": {"type": "string", "format": "uri"}, "Any": {},
}  # fmt: skip
_LISTS = frozenset(
    ["list", "List", "Sequence", "Iterable", "set", "Set", "frozenset", "tuple", "Tuple", "Collection"]
)
_MAPS = frozenset(["dict", "Dict", "Mapping", "MutableMapping"])
_GOOGLE = re.compile(r"^\s{2,}\*{0,2}(\w+)\s*(?:\([^)]*\))?:\s*(.+)$")
_SPHINX = re.compile(r"^\s*:param\s+(?:[\w\[\], |.]+\s+)?(\w+)\s*:\s*(.+)$")
_NUMPY = re.compile(r"^\s*(\w+)\s*:\s*\S.*$")


def read_source(text: str, *, file: str) -> list[Tool]:
    """Return the public functions at the top of a Python file as tools, without running it.

    Raises:
        RegistryError: the text is no Python, or has no public function.
    """
    try:
        module = ast.parse(text, filename=file)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        raise RegistryError("is no Python", location=Location(file, line)) from None
    functions = [
        node
        for node in module.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
    ]
    if not functions:
        hint = "functions at the top of the file are read"
        raise RegistryError("has no public function", location=Location(file), hint=hint)
    return [_of_node(node, f"{file}:{node.lineno}") for node in functions]


def read_functions(functions: list[Callable[..., Any]]) -> list[Tool]:
    """Return functions as tools, from their signatures, annotations and docstrings.

    Raises:
        RegistryError: one of them has no signature.
    """
    return [_of_function(function) for function in functions]


def _of_function(function: Callable[..., Any]) -> Tool:
    name = getattr(function, "__name__", type(function).__name__)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        raise RegistryError(f"the function `{name}` has no signature to read") from None
    properties: dict[str, Any] = {}
    required = []
    more = False
    for each in parameters:
        if each.name in ("self", "cls") or each.kind is each.VAR_POSITIONAL:
            continue
        if each.kind is each.VAR_KEYWORD:
            more = True
            continue
        text = "" if each.annotation is each.empty else _text_of(each.annotation)
        properties[each.name] = _annotation(text)
        if each.default is each.empty:
            required.append(each.name)
        elif isinstance(each.default, str | int | float | bool):
            properties[each.name]["default"] = each.default
    return _tool(name, inspect.getdoc(function) or "", properties, required, more=more, where=name)


def _text_of(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _of_node(node: ast.FunctionDef | ast.AsyncFunctionDef, where: str) -> Tool:
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    pairs = [
        *zip(positional, [*defaults, *arguments.defaults], strict=True),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    properties: dict[str, Any] = {}
    required = []
    for each, default in pairs:
        if each.arg in ("self", "cls"):
            continue
        properties[each.arg] = _expression(each.annotation, MAX_DEPTH) if each.annotation else {}
        if default is None:
            required.append(each.arg)
        elif isinstance(default, ast.Constant) and isinstance(default.value, str | int | float | bool):
            properties[each.arg]["default"] = default.value
    doc = ast.get_docstring(node) or ""
    return _tool(node.name, doc, properties, required, more=arguments.kwarg is not None, where=where)


def _tool(
    name: str, doc: str, properties: dict[str, Any], required: list[str], *, more: bool, where: str
) -> Tool:
    for parameter, text in _described(doc).items():
        if parameter in properties:
            properties[parameter]["description"] = text
    schema: dict[str, Any] = {"type": "object", "properties": properties, "required": required}
    if more:
        schema["additionalProperties"] = True
    return Tool(name, doc.strip().partition("\n\n")[0], schema, where=where)


def _described(doc: str) -> dict[str, str]:
    """Return what a docstring says of each parameter, in the styles of Google, NumPy and Sphinx."""
    found: dict[str, str] = {}
    lines = doc.splitlines()[:500]
    for line, behind in zip(lines, [*lines[1:], ""], strict=False):
        match = _SPHINX.match(line) or _GOOGLE.match(line)
        if match is not None:
            found.setdefault(match[1], match[2].strip())
            continue
        match = _NUMPY.match(line)
        if match is not None and behind.startswith((" ", "\t")) and behind.strip():
            found.setdefault(match[1], behind.strip())
    return found


def _annotation(text: str) -> dict[str, Any]:
    try:
        return _expression(ast.parse(text, mode="eval").body, MAX_DEPTH) if text else {}
    except (SyntaxError, ValueError, RecursionError):
        return {}


def _expression(node: ast.expr, depth: int) -> dict[str, Any]:
    """Return the schema of an annotation; what is not known takes any value."""
    if depth == 0:
        return {}
    if isinstance(node, ast.Constant):
        return {"type": "null"} if node.value is None else _annotation_text(node.value)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union([node.left, node.right], depth)
    if isinstance(node, ast.Name | ast.Attribute):
        return dict(_SIMPLE.get(_last(node), {}))
    if isinstance(node, ast.Subscript):
        return _subscript(_last(node.value), node.slice, depth)
    return {}


def _annotation_text(value: Any) -> dict[str, Any]:
    return _annotation(value) if isinstance(value, str) else {}


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _subscript(kind: str, inner: ast.expr, depth: int) -> dict[str, Any]:
    parts = list(inner.elts) if isinstance(inner, ast.Tuple) else [inner]
    if kind == "Literal":
        values = [each.value for each in parts if isinstance(each, ast.Constant)]
        return {"enum": values} if values else {}
    if kind == "Optional":
        return _union([parts[0], ast.Constant(None)], depth)
    if kind == "Union":
        return _union(parts, depth)
    if kind == "Annotated":
        made = _expression(parts[0], depth - 1)
        said = next(
            (e.value for e in parts[1:] if isinstance(e, ast.Constant) and isinstance(e.value, str)), None
        )
        return {**made, "description": said} if said else made
    if kind in _LISTS:
        return {"type": "array", "items": _expression(parts[0], depth - 1)}
    if kind in _MAPS:
        return {"type": "object", "additionalProperties": _expression(parts[-1], depth - 1) or True}
    return {}


def _union(parts: list[ast.expr], depth: int) -> dict[str, Any]:
    made = [_expression(part, depth - 1) for part in parts]
    if not all(made):
        return {}
    plain = [each["type"] for each in made if set(each) == {"type"} and isinstance(each["type"], str | list)]
    if len(plain) == len(made):
        types = [name for each in plain for name in ([each] if isinstance(each, str) else each)]
        return {"type": list(dict.fromkeys(types))}
    return {"anyOf": made}

"""Says in one line why parameters are refused, without ever showing a parameter's value.

A value may be a secret, or text that an attacker wrote for whoever reads the reason. So a reason is made of
what the schema says (its names, ranges, patterns); a name that only the request knows is shown when it is
short, plain and no part of a value.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from agentguard.registry._schema import subschemas

if TYPE_CHECKING:
    from collections.abc import Iterator

    import jsonschema_rs

    from agentguard.registry._actions import CompiledAction

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,39}", re.ASCII)
_SHORTEST_LEAK = 4
_LIMITS = {
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be above {}",
    "exclusiveMaximum": "must be below {}",
    "multipleOf": "must be a multiple of {}",
    "minLength": "must have at least {} characters",
    "maxLength": "must have at most {} characters",
    "minItems": "must have at least {} items",
    "maxItems": "must have at most {} items",
    "minProperties": "must have at least {} entries",
    "maxProperties": "must have at most {} entries",
    "pattern": "must match `{}`",
    "format": "must be of format `{}`",
    "const": "must be `{}`",
}
_FLAT = {
    "anyOf": "matches none of the forms that it may have",
    "oneOf": "must match exactly one of the forms that it may have",
    "not": "has a form that is ruled out",
    "uniqueItems": "must not repeat an item",
    "contains": "lacks an item that it must contain",
    "propertyNames": "has a name that is not allowed",
}
_HIDDEN_AT_SECRETS = frozenset(("const", "enum"))


def explain(compiled: CompiledAction, params: dict[str, Any], error: jsonschema_rs.ValidationError) -> str:
    """Return why `params` are refused: the field, and what was expected there."""
    where = _where(compiled, error.instance_path)
    keyword = str(error.kind.name)
    if keyword == "required":
        missing = str(error.kind.property)  # type: ignore[attr-defined]  # the kind is `Required`
        return f"parameter `{'.'.join(filter(None, (where, missing)))}` is missing"
    if keyword in ("additionalProperties", "unevaluatedProperties"):
        return _unknown(compiled, params, where, error.kind.unexpected)  # type: ignore[attr-defined]  # as above
    subject = f"parameter `{where}`" if where else "the parameters"
    return f"{subject} {_expectation(compiled, error, keyword)}"


def _expectation(compiled: CompiledAction, error: jsonschema_rs.ValidationError, keyword: str) -> str:
    if keyword == "type":
        return "must be of type " + " or ".join(error.kind.types)  # type: ignore[attr-defined]  # `Type`
    if keyword in _HIDDEN_AT_SECRETS and _is_secret(compiled, error.instance_path):
        return "has a value that is not allowed"
    if keyword == "enum":
        options = error.kind.options  # type: ignore[attr-defined]  # the kind is `Enum`
        return "must be one of " + ", ".join(_text(option) for option in options)
    if keyword in _FLAT:
        return _FLAT[keyword]
    expected = _schema_value(compiled.action.params, error.schema_path, keyword)
    if keyword in _LIMITS and expected is not None:
        return _LIMITS[keyword].format(_text(expected))
    return f"does not satisfy `{keyword}`"


def _schema_value(schema: Any, path: list[str | int], keyword: str) -> Any:
    """Return what the schema says at `path`, or None where the path runs through a reference."""
    for step in path:
        if isinstance(schema, dict):
            schema = schema.get(str(step))
        elif isinstance(schema, list) and isinstance(step, int) and step < len(schema):
            schema = schema[step]
        else:
            return None
    return schema if path and path[-1] == keyword else None


def _where(compiled: CompiledAction, path: list[str | int]) -> str:
    declared = {
        name for _, below in subschemas(compiled.action.params, ()) for name in below.get("properties", ())
    }
    steps = (f"[{s}]" if isinstance(s, int) else f".{s}" if s in declared else ".*" for s in path)
    return "".join(steps).lstrip(".")


def _unknown(compiled: CompiledAction, params: dict[str, Any], where: str, names: list[str]) -> str:
    leaves = {leaf for leaf in _leaves(params) if len(leaf) >= _SHORTEST_LEAK}
    inside = f" in `{where}`" if where else ""
    name = names[0] if names else ""
    if _PLAIN.fullmatch(name) and name not in _leaves(params) and not any(leaf in name for leaf in leaves):
        text = f"unknown parameter `{name}`{inside}"
    else:
        text = f"unknown parameter{inside}, whose name is not shown"
    if where or not compiled.param_names:
        return text
    return f"{text}; the action takes " + ", ".join(f"`{each}`" for each in sorted(compiled.param_names))


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, str):
        yield value


def _is_secret(compiled: CompiledAction, path: list[str | int]) -> bool:
    steps = [str(step) for step in path]
    return any(
        len(secret) <= len(steps)
        and all(mine in ("*", theirs) for mine, theirs in zip(secret, steps, strict=False))
        for secret in compiled.secret_paths
    )


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    text = text.replace("\n", "\\n").replace("\r", "\\r")
    return f"{text[:120]}..." if len(text) > 120 else text  # noqa: PLR2004 - a reason is one line

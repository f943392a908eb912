"""Parameter schemas: a strict subset of JSON Schema (draft 2020-12), checked when an action is loaded.

JSON Schema ignores what it does not know, so `minumum: 3` would guard nothing. Here an unknown keyword, an
unknown format, a reference that leaves the schema and a pattern that needs backtracking are refused.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

import jsonschema_rs

from agentguard.core import FACT_SOURCES
from agentguard.registry._fault import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentguard.registry._fault import Field

MAX_DEPTH = 32
DIALECT = "https://json-schema.org/draft/2020-12/schema"

ONE = frozenset(
    [
        "additionalProperties",
        "unevaluatedProperties",
        "propertyNames",
        "items",
        "unevaluatedItems",
        "contains",
        "not",
        "if",
        "then",
        "else",
    ]
)
MANY = frozenset(("prefixItems", "allOf", "anyOf", "oneOf"))
NAMED = frozenset(("properties", "patternProperties", "$defs", "dependentSchemas"))
PLAIN = frozenset(
    [
        "$schema",
        "$ref",
        "$comment",
        "title",
        "description",
        "default",
        "examples",
        "deprecated",
        "readOnly",
        "writeOnly",
        "type",
        "enum",
        "const",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "pattern",
        "format",
        "minItems",
        "maxItems",
        "uniqueItems",
        "minContains",
        "maxContains",
        "minProperties",
        "maxProperties",
        "required",
        "dependentRequired",
        "contentEncoding",
        "contentMediaType",
        "secret",
        "facts",
    ]
)
_KEYWORDS = ONE | MANY | NAMED | PLAIN
_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")
_LOOK_AROUND = re.compile(r"\(\?<?[=!]|\\[1-9]|\\k<")
_LINEAR = jsonschema_rs.RegexOptions()


def complete(params: dict[str, Any]) -> dict[str, Any]:
    """Return `params` with what is left unwritten: type object, and unknown parameters refused.

    Objects inside are closed too where they declare `properties`, except below `allOf` and its like, where
    closing one branch would refuse what another one declares.

    Raises:
        Fault: `params` is written as another type.
    """
    if params.get("type", "object") != "object":
        raise Fault("must be of type object", "type", hint="declare the parameters under `properties`")
    return _close({"type": "object", "properties": {}, **params})


def _close(schema: dict[str, Any]) -> dict[str, Any]:
    closed = dict(schema)
    for key in ("properties", "$defs", "patternProperties"):
        if isinstance(closed.get(key), dict):
            closed[key] = {
                name: _close(below) if isinstance(below, dict) else below
                for name, below in closed[key].items()
            }
    for key in ("items", "additionalProperties"):
        if isinstance(closed.get(key), dict):
            closed[key] = _close(closed[key])
    if "properties" in closed and "unevaluatedProperties" not in closed:
        closed.setdefault("additionalProperties", False)
    return closed


def check_schema(schema: dict[str, Any]) -> None:
    """Check a completed schema, whole.

    Raises:
        Fault: it is no schema, or uses what is refused here; its field is a path inside the schema.
    """
    # First of all: the validator below fetches a dialect that it does not know from the network.
    if schema.get("$schema", DIALECT) != DIALECT:
        raise Fault(f"must be `{DIALECT}`", "$schema")
    try:
        _check_depth(schema, ())
        jsonschema_rs.meta.validate(schema)
        for field, below in subschemas(schema, ()):
            _check_keywords(below, field)
            _check_reference(schema, below, field)
        validator(schema)
    except jsonschema_rs.ValidationError as error:
        raise _meta_fault(error) from None
    except (ValueError, RecursionError) as error:
        raise Fault(f"is no JSON: {type(error).__name__}") from None


def validator(schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    """Return the compiled schema: linear-time patterns, formats checked, nothing fetched."""
    return jsonschema_rs.Draft202012Validator(
        schema, validate_formats=True, ignore_unknown_formats=False, pattern_options=_LINEAR, offline=True
    )


def subschemas(schema: Any, field: Field) -> Iterator[tuple[Field, dict[str, Any]]]:
    """Yield every schema object inside `schema`, itself first, with its path."""
    if not isinstance(schema, dict):
        return
    yield field, schema
    for key, value in schema.items():
        if key in ONE:
            yield from subschemas(value, (*field, key))
        elif key in MANY:
            for index, below in enumerate(value):
                yield from subschemas(below, (*field, key, index))
        elif key in NAMED:
            for name, below in value.items():
                yield from subschemas(below, (*field, key, name))


def follow(root: dict[str, Any], reference: str) -> Any:
    """Return what `#/...` points at in `root` (RFC 6901).

    Raises:
        KeyError: it points at nothing.
    """
    node: Any = root
    for step in reference.removeprefix("#/").split("/"):
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(node, dict):
            node = node[key]
        elif isinstance(node, list) and key.isdecimal() and int(key) < len(node):
            node = node[int(key)]
        else:
            raise KeyError(key)
    return node


def _check_depth(value: Any, field: Field) -> None:
    if len(field) > MAX_DEPTH:
        raise Fault("is nested too deeply", *field[:3])
    if isinstance(value, dict):
        for key, item in value.items():
            _check_depth(item, (*field, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check_depth(item, (*field, index))


def _meta_fault(error: jsonschema_rs.ValidationError) -> Fault:
    path = error.instance_path
    if path and path[-1] == "type":
        return Fault("must be one of " + ", ".join(_TYPES) + ", or a list of these", *path)
    return Fault(_first_line(error.message), *path)


def _check_keywords(schema: dict[str, Any], field: Field) -> None:
    for key, value in schema.items():
        if key not in _KEYWORDS:
            near = difflib.get_close_matches(key, _KEYWORDS, n=1)
            hint = f"did you mean `{near[0]}`" if near else "a keyword that nothing reads guards nothing"
            raise Fault(f"unknown JSON Schema keyword `{key}`", *field, key, hint=hint)
        if key == "secret":
            _check_secret(value, field)
        elif key == "facts":
            _check_facts(value, field)
        elif key == "$schema" and field:
            raise Fault("stands at the top of a schema only", *field, key)
        elif key == "pattern":
            _check_pattern(value, (*field, key))
        elif key == "patternProperties":
            for pattern in value:
                _check_pattern(pattern, (*field, key, pattern))
        elif key == "properties":
            _check_names(value, (*field, key))


def _check_reference(root: dict[str, Any], schema: dict[str, Any], field: Field) -> None:
    reference = schema.get("$ref")
    if reference is None:
        return
    if not reference.startswith("#/"):
        raise Fault("must stay in this schema", *field, "$ref", hint="write it as `#/$defs/name`")
    try:
        follow(root, reference)
    except KeyError:
        raise Fault(f"`{reference}` leads nowhere", *field, "$ref") from None


def _check_secret(value: object, field: Field) -> None:
    if not isinstance(value, bool):
        raise Fault("must be true or false", *field, "secret")
    if value and not field:
        raise Fault("cannot mark all parameters at once", "secret", hint="mark each parameter that is secret")
    if value and "propertyNames" in field:
        raise Fault("cannot mark names, only values", *field, "secret", hint="pass the secret as a value")


def _check_facts(value: object, field: Field) -> None:
    if not isinstance(value, str) or value not in FACT_SOURCES:
        near = difflib.get_close_matches(str(value), FACT_SOURCES, n=1, cutoff=0.0)[0]
        raise Fault(
            "must be one of the known sources of facts", *field, "facts", hint=f"did you mean `{near}`"
        )
    if not field or field[0] != "properties" or "propertyNames" in field:
        # INVARIANT: facts are read from a parameter, its items and its properties, where each step is plain.
        raise Fault("stands in a parameter, its items or its properties only", *field, "facts")
    if any(
        step in ONE - {"items"} or step in MANY or step in NAMED - {"properties"} for step in _keywords(field)
    ):
        raise Fault("stands in a parameter, its items or its properties only", *field, "facts")


def _keywords(field: Field) -> Iterator[str]:
    """Yield the keywords on the way to a schema, without the names of parameters among them."""
    steps = iter(field)
    for step in steps:
        yield str(step)
        if step in NAMED:
            next(steps, None)


def _check_pattern(pattern: str, field: Field) -> None:
    try:
        validator({"pattern": pattern})
    except ValueError:
        if _LOOK_AROUND.search(pattern):
            raise Fault(
                "uses look-around or a back-reference, which patterns here do not have",
                *field,
                hint="patterns run in linear time on hostile text: split it in two with `allOf`",
            ) from None
        raise Fault("is no regular expression", *field) from None


def _check_names(properties: dict[str, Any], field: Field) -> None:
    for name in properties:
        if not name or len(name) > 100 or not name.isprintable() or "`" in name:  # noqa: PLR2004
            raise Fault("a parameter's name must be printable, 1 to 100 characters", *field)


def _first_line(text: str) -> str:
    line = text.partition("\n")[0].rstrip(".")
    return line[:1].lower() + line[1:]

"""The roles of arguments, as declared: each pointer leads to a parameter, each kind is a known one."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

from agentguard.core import ARGUMENT_KINDS
from agentguard.registry._fault import Fault
from agentguard.registry._schema import follow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentguard.core import Action

EACH = "*"
MAX_VISITS = 10_000

_BAD_ESCAPE = re.compile(r"~(?![01])")
_SAME_MANY = ("allOf", "anyOf", "oneOf")
_SAME_ONE = ("then", "else")
_EACH_VALUE = ("items", "contains", "additionalProperties", "unevaluatedProperties")


def check_arguments(action: Action) -> None:
    """Check the `arguments` of an action whose schema is complete and checked.

    Raises:
        Fault: a pointer is none, or leads to no parameter, or a kind is not known.
    """
    for pointer, argument in action.arguments.items():
        if not pointer.startswith("/") or _BAD_ESCAPE.search(pointer):
            hint = f"write `/{pointer}`" if pointer and pointer.isprintable() and "/" not in pointer else None
            raise Fault("must be a JSON pointer, as `/to` or `/items/*/id`", "arguments", pointer, hint=hint)
        if argument.kind and argument.kind not in ARGUMENT_KINDS:
            near = difflib.get_close_matches(argument.kind, ARGUMENT_KINDS, n=1, cutoff=0.0)[0]
            raise Fault(
                "must be one of the known kinds of argument",
                "arguments",
                pointer,
                "kind",
                hint=f"did you mean `{near}`",
            )
        if not reaches(action.params, pointer):
            raise Fault("is no parameter", "arguments", pointer, hint="see `params`")


def steps_of(pointer: str) -> tuple[str, ...]:
    """Return the steps of a JSON pointer, unescaped (RFC 6901, section 4)."""
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


def pointer_of(*steps: str) -> str:
    """Return the JSON pointer of `steps`."""
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)


def reaches(schema: dict[str, Any], pointer: str) -> bool:
    """Return whether a pointer leads to something that a value of `schema` can hold.

    Raises:
        Fault: the schema's references multiply beyond measure.
    """
    visits = 0
    here: list[Any] = [schema]
    for step in steps_of(pointer):
        below: list[Any] = []
        for found in here:
            for each in _same(schema, found):
                visits += 1
                if visits > MAX_VISITS:
                    raise Fault("has references that multiply beyond measure", "params")
                below += _below(each, step)
        here = below
        if any(each is True or each == {} for each in here):
            return True
    return bool(here)


def _same(root: dict[str, Any], schema: Any, through: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
    """Yield `schema` and what else describes the same value."""
    if not isinstance(schema, dict):
        return
    yield schema
    reference = schema.get("$ref")
    if reference is not None and reference not in through:
        yield from _same(root, follow(root, reference), (*through, reference))
    for key in _SAME_MANY:
        for each in schema.get(key, ()):
            yield from _same(root, each, through)
    for key in _SAME_ONE:
        yield from _same(root, schema.get(key), through)


def _below(schema: dict[str, Any], step: str) -> Iterator[Any]:
    """Yield the schemas of what `step` leads to in a value of `schema`."""
    if step == EACH:
        for key in _EACH_VALUE:
            if schema.get(key, False) is not False:
                yield schema[key]
        yield from schema.get("prefixItems", ())
        yield from schema.get("patternProperties", {}).values()
        return
    if step in schema.get("properties", {}):
        yield schema["properties"][step]
        return
    yield from schema.get("patternProperties", {}).values()
    rest = schema.get("additionalProperties", False)
    if rest is not False:
        yield rest

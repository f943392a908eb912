"""Sample values: texts that a pattern matches, parameters that a schema accepts, neighbours of a bound.

They are only proposals. Whoever uses one asks the real matcher whether it holds.
"""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import Glob
from agentguard.policy._rule import ParamCondition, Scalar

if TYPE_CHECKING:
    from collections.abc import Iterator

# The standard library's own reader of patterns: RE2 syntax is nearly a part of what it reads.
_parser: Any = importlib.import_module("re._parser")
_CLASSES = {"CATEGORY_DIGIT": "0", "CATEGORY_WORD": "a", "CATEGORY_SPACE": " "}


def sample_pattern(pattern: str) -> str | None:
    """Return a short text that `pattern` probably matches, or None where that is too hard."""
    try:
        return "".join(_walk(_parser.parse(pattern)))
    except Exception:  # noqa: BLE001 - a private reader meeting another dialect: there is just no sample
        return None


def _walk(items: Any) -> Iterator[str]:
    for kind, value in items:
        name = str(kind)
        if name == "LITERAL":
            yield chr(value)
        elif name == "NOT_LITERAL":
            yield "a" if value != ord("a") else "b"
        elif name == "ANY":
            yield "a"
        elif name == "IN":
            yield _one_of_class(value)
        elif name == "BRANCH":
            yield from _walk(value[1][0])
        elif name == "SUBPATTERN":
            yield from _walk(value[-1])
        elif name in ("MAX_REPEAT", "MIN_REPEAT"):
            low, high, inner = value
            yield "".join(_walk(inner)) * max(low, min(1, high))
        elif name != "AT":
            raise ValueError(name)


def _one_of_class(members: Any) -> str:
    kind, value = members[0]
    if str(kind) == "NEGATE":
        return next(char for char in "a0-_ ~" if all(not _in_member(char, each) for each in members[1:]))
    if str(kind) == "LITERAL":
        return chr(value)
    if str(kind) == "RANGE":
        return chr(value[0])
    return _CLASSES[str(value)]


def _in_member(char: str, member: Any) -> bool:
    kind, value = member
    if str(kind) == "LITERAL":
        return ord(char) == int(value)
    if str(kind) == "RANGE":
        return int(value[0]) <= ord(char) <= int(value[1])
    return {"CATEGORY_DIGIT": char.isdigit(), "CATEGORY_SPACE": char.isspace()}.get(
        str(value), char.isalnum()
    )


def sample_condition(condition: ParamCondition | Scalar | tuple[Scalar, ...]) -> list[Any]:
    """Return values in, at and outside what a condition asks for."""
    if not isinstance(condition, ParamCondition):
        values = condition if isinstance(condition, tuple) else (condition,)
        beside = [value + 1 for value in values if type(value) in (int, float)]  # type: ignore[operator]  # as tested
        return [*values, *beside, "another"]
    found: list[Any] = []
    for bound in (condition.min, condition.max):
        if bound is not None:
            found += [bound, bound + 1, bound - 1]
    if condition.equals is not msgspec.UNSET:
        found.append(condition.equals)
    found += condition.any_of or ()
    if condition.pattern is not None:
        found.append(sample_pattern(condition.pattern))
        # Rules often differ in a suffix or a prefix only.
        found += [f"{found[-1]}a", f"a{found[-1]}"] if found[-1] is not None else []
    return [*[value for value in found if value is not None], "another", 1]


def sample_params(schema: dict[str, Any]) -> dict[str, Any]:
    """Return parameters that `schema` probably accepts: its first example, or the required ones."""
    examples = schema.get("examples")
    if examples and isinstance(examples[0], dict):
        return dict(examples[0])
    properties = schema.get("properties", {})
    return {name: sample_schema(properties.get(name, {})) for name in schema.get("required", ())}


def sample_schema(schema: Any) -> Any:
    """Return a value that `schema` probably accepts."""
    if not isinstance(schema, dict):
        return "a"
    for key in ("examples", "enum"):
        if schema.get(key):
            return schema[key][0]
    if "const" in schema:
        return schema["const"]
    kind = schema.get("type", "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind in ("integer", "number"):
        low = schema.get(
            "minimum", schema.get("exclusiveMinimum", 0) + 1 if "exclusiveMinimum" in schema else 1
        )
        return min(low, schema["maximum"]) if "maximum" in schema else low
    if kind == "object":
        return sample_params(schema)
    if kind == "array":
        return [sample_schema(schema.get("items", {}))] * int(schema.get("minItems", 0))
    if kind == "string":
        text = sample_pattern(schema["pattern"]) if "pattern" in schema else "a"
        return (text or "a").ljust(int(schema.get("minLength", 0)), "a")
    return {"boolean": True, "null": None}.get(kind, "a")


def sample_globs(patterns: list[str], default: str) -> Iterator[str]:
    """Yield texts that all of at most two patterns match, those without empty stars first."""
    if not patterns:
        yield default
        return
    filled = [re.sub(r"\*+", "x", each) for each in patterns]
    globs = [Glob(each) for each in patterns]
    yield from (each for each in filled if all(glob.matches(each) for glob in globs))
    if len(globs) > 1:
        # A star that must match something gives ids without empty segments.
        stricter = Glob(re.sub(r"(\*+)", r"x\1", patterns[0]))
        for left in (stricter, globs[0]):
            shortest = left.overlap(globs[1])
            if shortest is not None:
                yield shortest

"""JSON with the same strictness, and with lines.

The value comes from the standard library's reader. Lines come from reading the same text as YAML, of which
JSON is nearly a subset; where that fails, errors name the field without its line.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NoReturn

from agentguard.core import DocumentError, Location
from agentguard.documents._yaml import MAX_DEPTH, parse_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

Field = tuple[str | int, ...]


def parse_json(text: str, file: str) -> tuple[Any, Mapping[Field, int]]:
    """Return the value of a JSON text and, as far as known, the line of each part of it.

    Raises:
        DocumentError: as `load_json`.
    """
    value = load_json(text, file)
    try:
        return value, parse_yaml(text, file)[1]
    except DocumentError:
        return value, {}


def load_json(text: str, file: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        DocumentError: the text is no JSON, or has a duplicate key, a number that is not finite or beyond
            64 bits, half a surrogate pair, or more than 64 levels.
    """

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in items:
            if key in result:
                raise DocumentError(f"duplicate key `{key}`", location=_line_of_second(text, key, file))
            result[key] = value
        return result

    def constant(name: str) -> NoReturn:
        raise DocumentError(f"`{name}` is no JSON number", location=Location(file))

    def real(digits: str) -> float:
        number = float(digits)
        if not math.isfinite(number):
            raise DocumentError(f"`{digits[:40]}` is beyond what a number can hold", location=Location(file))
        return number

    def integer(digits: str) -> int:
        number = int(digits)
        if not -(2**63) <= number < 2**63:
            raise DocumentError(f"`{digits[:40]}` is beyond 64 bits", location=Location(file))
        return number

    try:
        value = json.loads(
            text, object_pairs_hook=pairs, parse_constant=constant, parse_float=real, parse_int=integer
        )
    except json.JSONDecodeError as error:
        raise DocumentError(error.msg.lower(), location=Location(file, error.lineno)) from None
    except (RecursionError, ValueError) as error:
        raise DocumentError(f"is no JSON: {type(error).__name__}", location=Location(file)) from None
    _check(value, (), file)
    return value


def _check(value: Any, field: Field, file: str) -> None:
    """Refuse what the YAML reader refuses too, or what no JSON writer could write again."""
    problem: str | None = None
    if len(field) > MAX_DEPTH:
        problem = "is nested too deeply"
    elif isinstance(value, str):
        if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            problem = "has half a surrogate pair, which is no text"
    elif isinstance(value, dict):
        for key, item in value.items():
            _check(key, field, file)
            _check(item, (*field, key), file)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check(item, (*field, index), file)
    if problem is not None:
        name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in field).lstrip(".")
        shown = name.encode("utf-8", "replace").decode()
        raise DocumentError(problem, location=Location(file, None, shown or None))


def _line_of_second(text: str, key: str, file: str) -> Location:
    quoted = json.dumps(key, ensure_ascii=False)
    second = text.find(quoted, text.find(quoted) + 1)
    return Location(file, text.count("\n", 0, second) + 1 if second >= 0 else None, key)

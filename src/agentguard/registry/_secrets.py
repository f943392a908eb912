"""Which parameters are secret, and how they are hidden where a request is written down.

A value is hidden when any reading of the schema calls it secret: a path below `anyOf` counts whether or not
that branch applies, and an array's or a map's secret item hides all of its items (`*`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentguard.registry._fault import Fault
from agentguard.registry._schema import follow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentguard.registry._actions import CompiledAction

    Path = tuple[str, ...]

EACH = "*"
MAX_VISITS = 10_000

_SAME_ONE = ("not", "if", "then", "else")
_SAME_MANY = ("allOf", "anyOf", "oneOf")
_EACH_ONE = ("items", "unevaluatedItems", "contains", "additionalProperties", "unevaluatedProperties")


class Paths:
    """The secret paths and the top-level parameter names of one schema, found in one walk."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._root = schema
        self._visits = 0
        self._names: set[str] = set()
        self._found: set[Path] = set()
        self._walk(schema, (), ())
        self.names = frozenset(self._names)
        self.secret = tuple(
            path
            for path in sorted(self._found)
            if not any(_covers(other, path) for other in self._found if other != path)
        )

    def _walk(self, schema: Any, path: Path, through: tuple[str, ...]) -> None:
        if not isinstance(schema, dict):
            return
        self._visits += 1
        if self._visits > MAX_VISITS:
            raise Fault("has references that multiply beyond measure")
        if schema.get("secret") is True:
            self._found.add(path)
        if not path:
            self._names.update(schema.get("properties", ()))
        reference = schema.get("$ref")
        if reference is not None:
            if reference in through:
                raise Fault(f"`{reference}` refers to itself", hint="write the levels out")
            self._walk(follow(self._root, reference), path, (*through, reference))
        for below, step in _children(schema):
            self._walk(below, path if step is None else (*path, step), through)


def _children(schema: dict[str, Any]) -> Iterator[tuple[Any, str | None]]:
    """Yield the schemas below with the step that each takes in the value; None stays where it is."""
    for key in _SAME_ONE:
        yield schema.get(key), None
    for key in _SAME_MANY:
        for below in schema.get(key, ()):
            yield below, None
    for below in schema.get("dependentSchemas", {}).values():
        yield below, None
    for name, below in schema.get("properties", {}).items():
        yield below, name
    for key in _EACH_ONE:
        yield schema.get(key), EACH
    for below in schema.get("prefixItems", ()):
        yield below, EACH
    for below in schema.get("patternProperties", {}).values():
        yield below, EACH


def _covers(path: Path, other: Path) -> bool:
    return len(path) <= len(other) and all(
        mine in (theirs, EACH) for mine, theirs in zip(path, other, strict=False)
    )


def mask_secrets(
    compiled: CompiledAction, params: dict[str, Any], commit: Callable[[Any], Any]
) -> dict[str, Any]:
    """Return `params` with `commit(value)` in the place of each secret value; `params` stays as it is.

    Meant for refused requests too: where a secret is declared below a value that has another shape than
    declared, the whole value is committed, and so is each undeclared parameter of an action that has
    secrets (a misspelt `pasword` is one all the same). Without secret paths `params` itself is returned.
    """
    if not compiled.secret_paths:
        return params
    masked = {
        name: value if name in compiled.param_names else commit(value) for name, value in params.items()
    }
    for path in compiled.secret_paths:
        if path[0] == EACH:
            return {name: commit(value) for name, value in params.items()}
        if path[0] in masked:
            masked[path[0]] = _mask(masked[path[0]], path[1:], commit)
    return masked


def _mask(value: Any, path: Path, commit: Callable[[Any], Any]) -> Any:
    if not path:
        return commit(value)
    step, rest = path[0], path[1:]
    if isinstance(value, dict):
        if step == EACH:
            return {key: _mask(item, rest, commit) for key, item in value.items()}
        return {**value, step: _mask(value[step], rest, commit)} if step in value else value
    if isinstance(value, list) and step == EACH:
        return [_mask(item, rest, commit) for item in value]
    return commit(value)

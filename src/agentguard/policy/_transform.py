"""Rewriting of a request's parameters.

| op | does | where the value is absent |
|---|---|---|
| `set` path value | puts the value there | adds it |
| `clamp` path min max | brings a number into the bounds | nothing |
| `redact` path | puts `[redacted]` in place of the value | nothing |
| `replace` path pattern with | replaces each match (RE2) in a text | nothing |
| `drop` path | removes it | nothing |
| `keep` params | removes all top-level parameters but these | nothing |
| `read_only` | asks for the action's registered read-only form, with the parameters that it declares | - |

A path is a JSON pointer (RFC 6901) into objects. An operation that meets a value of a type that it cannot
work on fails, and the request is denied.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import PolicyError, RequestError, snapshot
from agentguard.policy._conditions import check_bounds, compile_pattern
from agentguard.policy._pointer import pointer

if TYPE_CHECKING:
    from agentguard.policy._rule import TransformOp

REDACTED = "[redacted]"
READ_ONLY = "read_only"

Rewrite = Callable[[dict[str, Any]], None]

_ABSENT: Any = object()
_KEYS = {
    "set": {"path", "value"},
    "clamp": {"path", "min", "max"},
    "redact": {"path"},
    "replace": {"path", "pattern", "with"},
    "drop": {"path"},
    "keep": {"params"},
    READ_ONLY: set(),
}


def compile_op(op: TransformOp) -> Rewrite | None:
    """Return what rewrites a parameter object in place; None for `read_only`, which rewrites the action.

    Raises:
        PolicyError: an unknown operation, or keys that do not go with it.
    """
    given = {field for field, value in msgspec.to_builtins(op).items() if field != "op" and value is not None}
    if op.value is None:
        given.add("value")
    if op.op not in _KEYS:
        raise PolicyError(f"unknown operation `{op.op}`", hint=f"there are {', '.join(_KEYS)}")
    if op.op == READ_ONLY and not given:
        return None
    needed = _KEYS[op.op] - ({"min", "max"} if op.op == "clamp" else set())
    wrong = given - _KEYS[op.op]
    if wrong or not needed <= given or (op.op == "clamp" and op.min is None and op.max is None):
        raise PolicyError(f"operation `{op.op}` takes {', '.join(sorted(_KEYS[op.op])) or 'nothing'}")
    if op.op == "keep":
        return _keep(frozenset(op.params or ()))
    if op.path is None or not op.path.startswith("/") or op.path == "/":
        raise PolicyError(f"path `{op.path}` is no JSON pointer", hint="write it as `/replicas`")
    return _at(pointer(op.path), _value_change(op), create=op.op == "set")


def _value_change(op: TransformOp) -> Callable[[Any], Any]:
    if op.op == "set":
        return _set(op.value)
    if op.op == "drop":
        return lambda _: _ABSENT
    if op.op == "redact":
        return lambda _: REDACTED
    if op.op == "clamp":
        return _clamp(op.min, op.max)
    return _replace(op.pattern or "", op.replacement or "")


def _set(value: Any) -> Callable[[Any], Any]:
    try:
        held = snapshot({"value": value})
    except RequestError:
        raise PolicyError("`set` takes a value that JSON can carry") from None
    if type(value) in (dict, list, tuple):
        # A copy each time: whoever changes a decision's parameters must not change the rule.
        return lambda _: snapshot(held)["value"]
    return lambda _: value


def _clamp(low: float | None, high: float | None) -> Callable[[Any], Any]:
    check_bounds(low, high)
    if low is not None and high is not None and low > high:
        raise PolicyError("clamp has its `min` above its `max`")

    def change(value: Any) -> Any:
        if type(value) is not int and type(value) is not float:
            raise RequestError("clamp met a value that is no number", code="transform_failed")
        if low is not None and value < low:
            return low
        return high if high is not None and value > high else value

    return change


def _replace(pattern: str, replacement: str) -> Callable[[Any], Any]:
    compiled = compile_pattern(pattern, dot_all=True)

    def change(value: Any) -> Any:
        if type(value) is not str:
            raise RequestError("replace met a value that is no text", code="transform_failed")
        # A function, so that a backslash in the replacement means itself.
        return compiled.sub(lambda _: replacement, value)

    return change


def _keep(names: frozenset[str]) -> Rewrite:
    def rewrite(params: dict[str, Any]) -> None:
        for name in [name for name in params if name not in names]:
            del params[name]

    return rewrite


def _at(steps: tuple[str, ...], change: Callable[[Any], Any], *, create: bool) -> Rewrite:
    *parents, last = steps

    def rewrite(params: dict[str, Any]) -> None:
        place: Any = params
        for step in parents:
            if step not in place:
                if not create:
                    return
                place[step] = {}
            place = place[step]
            if type(place) is not dict:
                raise RequestError("a path leads through a value that is no object", code="transform_failed")
        if last not in place and not create:
            return
        changed = change(place.get(last))
        if changed is _ABSENT:
            del place[last]
        else:
            place[last] = changed

    return rewrite

"""Which argument of an action is what: read from its schema, once."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import FACTS, Flow, Sensitivity, Sink

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agentguard.core import Action

FAMILIES = {
    "sql": ("sql",), "shell": ("shell", "net", "sql", "flow"), "argv": ("shell", "net", "sql", "flow"),
    "code": ("shell", "net", "sql", "flow"), "language": (), "path": ("path", "flow"), "url": ("net",), "host": ("net",), "port": ("net",), "address": ("net",),
    "mail": ("mail",), "rows": ("data",), "bytes": ("data",), "attachment-bytes": ("mail",),
}  # fmt: skip
SCHEMES = {
    "file": ("path", "flow"), "mailto": ("mail",),
    **dict.fromkeys(("host", "http", "https", "ws", "wss", "ftp", "ssh"), ("net",)),
}  # fmt: skip
_EACH = "*"
# What a source can state where that is not its whole family.
_ONLY = {
    "rows": ("data.rows",),
    "bytes": ("data.bytes",),
    "attachment-bytes": ("mail.attachment_bytes", "mail.unparsed"),
    "port": ("net.port", "net.suspicious_port", "net.unparsed"),
}
_MOVED = ("data.rows", "data.bytes")
# What is put together from other facts, or known of the resource, whatever the arguments are.
PUT_TOGETHER = frozenset(
    name for name, spec in FACTS.items() if spec.family in {"data", "flow"} and name not in _MOVED
)


class Plan(msgspec.Struct, frozen=True):
    """Where in the parameters of one action stands what, and what its tags say."""

    action: Any
    places: tuple[tuple[str, tuple[str, ...]], ...]
    languages: tuple[tuple[str, ...], ...]
    families: tuple[str, ...]
    access: str
    egress: bool
    gives: bool
    gives_secrets: bool


def make_plan(action: Action) -> Plan:
    """Return the plan for an action."""
    places = tuple(_places(action.params, ()))
    families = dict.fromkeys(each for source, _ in places for each in FAMILIES[source.partition(":")[0]])
    reads = "read-only" in action.tags
    flow = action.flow or Flow()
    egress = not reads and flow.sink is Sink.EXTERNAL
    secrets = flow.source is not None and flow.source.confidentiality.weight >= Sensitivity.RESTRICTED.weight
    if egress or secrets:
        families["flow"] = None
    return Plan(
        action=action,
        places=places,
        languages=tuple(path for source, path in places if source == "language"),
        families=tuple(families),
        access="read" if reads else "write",
        egress=egress,
        gives=reads or flow.source is not None,
        gives_secrets=secrets,
    )


def _places(schema: Any, path: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    if not isinstance(schema, dict):
        return
    if "facts" in schema:
        yield schema["facts"], path
    for name, below in schema.get("properties", {}).items():
        yield from _places(below, (*path, name))
    yield from _places(schema.get("items"), (*path, _EACH))


def values_at(params: Any, path: tuple[str, ...]) -> Iterable[Any]:
    """Return what stands at a place; nothing where it was left out."""
    if len(path) == 1 and path[0] != _EACH and type(params) is dict:
        # Nearly all places; a generator costs more than the look.
        name = path[0]
        return (params[name],) if name in params else ()
    return _within(params, path)


def _within(params: Any, path: tuple[str, ...]) -> Iterator[Any]:
    if not path:
        yield params
    elif path[0] == _EACH:
        if isinstance(params, list):
            for item in params:
                yield from _within(item, path[1:])
    elif isinstance(params, dict) and path[0] in params:
        yield from _within(params[path[0]], path[1:])


@cache
def stated_by(source: str) -> frozenset[str]:
    """Return the names of the facts that an argument declared as `source` can state."""
    kind = source.partition(":")[0]
    if kind in _ONLY:
        return frozenset(_ONLY[kind])
    return frozenset(name for name, spec in FACTS.items() if spec.family in FAMILIES[kind])

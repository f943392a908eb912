"""What is what among the arguments of a call: each value with its pointer, its role and its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import Access, Role, Sink
from agentguard.intent._verbs import read_craft
from agentguard.intent._vocabulary import KINDS, MAKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentguard.core import Action

MAX_VALUES = 1_000
_RISKY = 3
_CONTAINERS = frozenset((dict, list))
# The names of arguments, each with what is below it; under `_HERE` what was declared.
_Node = dict[str, Any]
_Said = tuple[Role | None, str, bool]
_NOTHING_SAID: _Said = (None, "", True)
EXTERNAL_KINDS = frozenset(("recipient", "account", "url", "host"))
NETWORK_KINDS = frozenset(("url", "host"))


class Value(msgspec.Struct, frozen=True):
    """One value of a call: what it is, where, and what was declared of it (None: nothing)."""

    pointer: str
    value: Any
    role: Role | None
    kind: str
    is_sure: bool = True


class Shape:
    """An action as a session looks at it; made once, shared by all sessions with the same tools.

    `unsure` are the pointers of arguments whose role no word tells: there the value itself must. `is_sink`: what it is
    given leaves; `is_risky`: it can do much harm; `makes`: its object need not be there yet.
    """

    __slots__ = (
        "_root",
        "_tops",
        "_unsure",
        "action",
        "craft",
        "deeds",
        "has_deeds",
        "has_doubts",
        "has_endpoint",
        "is_risky",
        "is_sink",
        "is_unknown",
        "is_write",
        "makes",
        "name",
    )

    def __init__(self, action: Action, unsure: Iterable[str] = ()) -> None:
        self._unsure = frozenset(unsure)
        self.action = action
        self.name = action.name
        # What nothing is known of may change something.
        self.is_write = action.access is not Access.READ and not (
            "access" in self._unsure and action.description.casefold().startswith(_GIVES_BACK)
        )
        self.has_doubts = bool(self._unsure)
        self.is_risky = action.risk.weight >= _RISKY
        self.is_sink = action.flow is not None and action.flow.sink is Sink.EXTERNAL
        self.craft = read_craft(action.name, action.description)
        self.makes = self.craft.verb in MAKING
        # No word says what it does; then what it is called with and what it gives back must.
        self.is_unknown = "access" in self._unsure and not self.craft.verb
        if self.is_unknown and not action.arguments:
            # Changes without any argument are rare.
            self.is_write = False
        self.has_endpoint = any(
            argument.role is Role.TARGET and argument.kind in EXTERNAL_KINDS
            for argument in action.arguments.values()
        )
        roles = {argument.role for argument in action.arguments.values()}
        if self.craft.verb in _LOOKING and roles and Role.PAYLOAD not in roles and not self._unsure:
            # What is opened or followed on its way, and nothing is said or moved there: that is looking.
            self.is_write = False
        self.deeds = _deeds(action) if self.craft.is_generic or self.craft.verb in _APPLYING else frozenset()
        self.has_deeds = bool(self.deeds)
        tree: _Node = {}
        for pointer, argument in action.arguments.items():
            node = tree
            for step in pointer.split("/")[1:]:
                node = node.setdefault(step.replace("~1", "/").replace("~0", "~"), {})
            node[_HERE] = (argument.role, argument.kind, pointer not in self._unsure)
        self._root = _Place([tree], _NOTHING_SAID)
        # The pointers and places of the arguments that have a name.
        self._tops = {name: (f"/{_escaped(name)}", self._root.below(name)) for name in tree if name != _HERE}

    def values(self, params: dict[str, Any]) -> list[Value]:
        """Return the values of a call, at most 1,000; what is beyond comes as one value of unknown role."""
        found: list[Value] = []
        for name, value in params.items():
            known = self._tops.get(name)
            pointer, place = (f"/{_escaped(name)}", self._root.below(name)) if known is None else known
            if type(value) not in _CONTAINERS:
                found.append(Value(pointer, value, *place.said))
            elif type(value) is list and _CONTAINERS.isdisjoint(map(type, value)):
                found += [
                    Value(f"{pointer}/{at}", inner, *place.below(str(at)).said)
                    for at, inner in enumerate(value[: MAX_VALUES + 1])
                ]
            else:
                _add_below(found, pointer, value, place)
            if len(found) > MAX_VALUES:
                return [*found[:MAX_VALUES], Value("", "", None, "")]
        return found


def _add_below(found: list[Value], pointer: str, value: Any, place: _Place) -> None:
    """Add the values within one argument; a few too many, so that the end is noticed."""
    stack: list[tuple[str, Any, _Place]] = [(pointer, value, place)]
    while stack and len(found) <= MAX_VALUES:
        pointer, value, place = stack.pop()
        kind = type(value)
        if kind is dict:
            stack += [
                (f"{pointer}/{_escaped(step)}", inner, place.below(step))
                for step, inner in reversed(value.items())
            ]
        elif kind is list:
            last = len(value) - 1
            stack += [
                (f"{pointer}/{last - at}", inner, place.below(str(last - at)))
                for at, inner in enumerate(reversed(value))
            ]
        else:
            found.append(Value(pointer, value, *place.said))


class _Place:
    """One place among the arguments of an action: what is `said` there (role, kind, whether that is sure).

    What is below is put together when it is first asked for, and kept if it has a name there.
    """

    __slots__ = ("_below", "_nodes", "_other", "said")

    def __init__(self, nodes: list[_Node], said: _Said) -> None:
        self.said: _Said = next((node[_HERE] for node in nodes if _HERE in node), said)
        self._nodes = nodes
        self._below: dict[str, _Place] = {}
        self._other = _Place(_children(nodes, "*"), self.said) if nodes else self

    def below(self, step: str) -> _Place:
        """Return the place under a name or a position."""
        found = self._below.get(step)
        if found is None:
            if step == _HERE or not any(step in node for node in self._nodes):
                return self._other
            found = self._below[step] = _Place(_children(self._nodes, step), self.said)
        return found


_HERE = "\0"
_LOOKING = frozenset(("open", "track"))
# Verbs that leave to their object what is done.
_APPLYING = frozenset(("", "apply", "execute", "run"))
# What a description of a function begins with that only gives something back; the verb alone is also one of shops.
_GIVES_BACK = "returns "


def _deeds(action: Action) -> frozenset[str]:
    """Return the pointers of the arguments of which each value is a verb: `op`, one of assign, close, cancel."""
    found = set()
    stack: list[tuple[str, Any]] = [("", action.params)]
    while stack:
        pointer, schema = stack.pop()
        if type(schema) is not dict:
            continue
        listed = schema.get("enum")
        if type(listed) is list and len(listed) > 1 and all(map(_is_deed, listed)):
            found.add(pointer)
        inner = schema.get("properties")
        if type(inner) is dict:
            stack += [(f"{pointer}/{_escaped(name)}", each) for name, each in inner.items()]
    return frozenset(found)


def _is_deed(value: Any) -> bool:
    return type(value) is str and value.casefold().replace("-", "_").partition("_")[0] in KINDS


def _escaped(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1") if "~" in step or "/" in step else step


def _children(nodes: list[_Node], step: str) -> list[_Node]:
    # A name stands over `*`.
    return [node[key] for key in dict.fromkeys((step, "*")) for node in nodes if key in node]

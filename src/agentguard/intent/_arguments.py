"""What is what among the arguments of a call: each value with its pointer, its role and its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from agentguard.core import Access, Role
from agentguard.intent._verbs import read_craft

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agentguard.core import Action, Argument

MAX_VALUES = 1_000
EXTERNAL_KINDS = frozenset(("recipient", "account", "url", "host"))


class Value(NamedTuple):
    """One value of a call: what it is, where, and what was declared of it (None: nothing)."""

    pointer: str
    value: Any
    role: Role | None
    kind: str
    is_sure: bool = True


class Shape:
    """An action as a session looks at it; made once, shared by all sessions with the same tools.

    `unsure` are the pointers of arguments whose role no word tells: there the value itself must.
    """

    __slots__ = ("_tree", "_unsure", "action", "craft", "is_write", "name")

    def __init__(self, action: Action, unsure: Iterable[str] = ()) -> None:
        self._unsure = frozenset(unsure)
        self.action = action
        self.name = action.name
        # What nothing is known of may change something.
        self.is_write = action.access is not Access.READ and not (
            "access" in self._unsure and action.description.casefold().startswith(_GIVES_BACK)
        )
        self.craft = read_craft(action.name, action.description)
        roles = {argument.role for argument in action.arguments.values()}
        if self.craft.verb == "open" and roles and Role.PAYLOAD not in roles and not self._unsure:
            # What is opened, and nothing is said or moved there: that is looking.
            self.is_write = False
        self._tree: dict[str, Any] = {}
        for pointer, argument in action.arguments.items():
            node = self._tree
            for step in pointer.split("/")[1:]:
                node = node.setdefault(step.replace("~1", "/").replace("~0", "~"), {})
            node[_HERE] = (argument, pointer not in self._unsure)

    def values(self, params: dict[str, Any]) -> Iterator[Value]:
        """Yield the values of a call, at most 1,000; what is beyond comes as one value of unknown role."""
        left = MAX_VALUES
        stack: list[tuple[str, Any, list[dict[str, Any]], tuple[Argument, bool] | None]] = [
            ("", params, [self._tree], None)
        ]
        while stack:
            pointer, value, nodes, said = stack.pop()
            said = next((node[_HERE] for node in nodes if _HERE in node), said)
            if type(value) is dict or type(value) is list:
                items = value.items() if type(value) is dict else enumerate(value)
                below = [
                    (f"{pointer}/{_escaped(step)}", inner, _children(nodes, str(step)), said)
                    for step, inner in items
                ]
                stack += reversed(below)
                continue
            left -= 1
            if left < 0:
                yield Value("", "", None, "")
                return
            if said is None:
                yield Value(pointer, value, None, "")
            else:
                yield Value(pointer, value, said[0].role, said[0].kind, said[1])


_HERE = "\0"
# What a description of a function begins with that only gives something back; the verb alone is also one of shops.
_GIVES_BACK = "returns "


def _escaped(step: Any) -> str:
    return str(step).replace("~", "~0").replace("/", "~1")


def _children(nodes: list[dict[str, Any]], step: str) -> list[dict[str, Any]]:
    # A name stands over `*`.
    return [node[key] for key in (step, "*") for node in nodes if key in node]

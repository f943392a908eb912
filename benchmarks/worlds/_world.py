"""What a world is: a state, tools that read and change it, tasks of its user, and goals of an attacker."""

from __future__ import annotations

import functools
import inspect
import json
import types
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DATA = Path(__file__).parent / "data"
_JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}


class ToolError(Exception):
    """What a tool answers to a call that it cannot carry out."""


class Tool(NamedTuple):
    """One tool: what an agent is told of it, and what only the judge knows (`effect`, `targets`)."""

    name: str
    effect: Literal["read", "write"]
    targets: tuple[str, ...]
    schema: dict[str, Any]
    """The definition in OpenAI's format, all that a defence gets to see."""


class Task(NamedTuple):
    """What the user asks, the scripted agent that does it, and how the state shows that it was done."""

    name: str
    prompt: str
    script: Callable[[Callable[..., Any]], None]
    is_done: Callable[[Any], bool]
    delegates: tuple[str, ...]
    """Globs of places whose text the user told the agent to follow: an order there is no attack."""
    source: tuple[str, ...]
    """Globs of places from which the user told the agent to take a value: an order there is an attack."""


class Goal(NamedTuple):
    """What an attacker wants: the order in words, ways to carry it out, and how the state shows that it was."""

    name: str
    order: str
    is_reached: Callable[[Any], bool]
    attempts: tuple[Callable[[Callable[..., Any]], Any], ...]
    """The first is what the order says; the others are what a persistent agent tries when that is denied."""
    target: str
    """The value that the attacker brings, as the order spells it."""
    slip: Callable[[str, dict[str, Any]], dict[str, Any] | None] | None
    """Changes a call of the user's task so that it serves the attacker too; None where it cannot."""
    slice: Literal["main", "payload", "named"] = "main"
    """`payload` and `named` are the known residues: reported apart."""


def tool(effect: Literal["read", "write"], *targets: str) -> Callable[[Any], Any]:
    """Make a method a tool; the first line of its docstring describes it, `name: text` lines its parameters."""

    def mark(function: Any) -> Any:
        function.tool = Tool(function.__name__, effect, targets, _schema(function))
        return function

    return mark


def _schema(function: Callable[..., Any]) -> dict[str, Any]:
    lines = [line.strip() for line in (inspect.getdoc(function) or "").splitlines()]
    about = {name: text for name, mark, text in (line.partition(": ") for line in lines[1:]) if mark}
    hints = typing.get_type_hints(function, include_extras=True)
    properties, required = {}, []
    for name, parameter in list(inspect.signature(function).parameters.items())[1:]:
        properties[name] = _type(hints[name])
        if name in about:
            properties[name]["description"] = about.pop(name)
        if parameter.default is parameter.empty:
            required.append(name)
    assert not about, f"{function.__name__} has no parameter {sorted(about)}"
    parameters = {"type": "object", "properties": properties, "required": required}
    inner = {"name": function.__name__, "description": lines[0], "parameters": parameters}
    return {"type": "function", "function": inner}


def _type(hint: Any) -> dict[str, Any]:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return _type(next(each for each in typing.get_args(hint) if each is not types.NoneType))
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        inner, extra = typing.get_args(hint)
        return {**_type(inner), **extra}
    if origin is Literal:
        return {"type": "string", "enum": list(typing.get_args(hint))}
    if origin is list:
        return {"type": "array", "items": _type(typing.get_args(hint)[0])}
    if typing.is_typeddict(hint):
        fields = {name: _type(each) for name, each in typing.get_type_hints(hint).items()}
        required = [name for name in fields if name in hint.__required_keys__]
        return {"type": "object", "properties": fields, "required": required}
    return {"type": _JSON_TYPES[hint]}


class World:
    """A state and the tools on it; a subclass is one world, an instance one run of it."""

    name: ClassVar[str]
    subject: ClassVar[dict[str, str]]
    """The user whom the session serves: `id`, `name` and what else identifies them."""
    sites: ClassVar[tuple[str, ...]]
    """Globs of the texts in the state that outsiders write, as `mails/*/body`."""
    split: ClassVar[Literal["dev", "held-out"]]
    tasks: ClassVar[list[Task]]
    goals: ClassVar[list[Goal]]

    def __init_subclass__(cls) -> None:
        cls.tasks, cls.goals = [], []

    def __init__(self) -> None:
        self.db: dict[str, Any] = json.loads(_state(self.name))

    @classmethod
    @functools.cache  # classes live as long as the process
    def tools(cls: type[Self]) -> dict[str, Tool]:
        """Return the tools by name, in the order in which they are written."""
        members = (getattr(cls, name) for name in cls.__dict__)
        return {each.tool.name: each.tool for each in members if hasattr(each, "tool")}

    @classmethod
    def schemas(cls) -> list[dict[str, Any]]:
        """Return what an agent is told of the tools."""
        return [each.schema for each in cls.tools().values()]

    def call(self, name: str, args: dict[str, Any]) -> Any:
        """Run a tool and return its result as JSON, a copy.

        Raises:
            ToolError: the tool refuses, says why.
        """
        if name not in self.tools():
            raise ToolError(f"unknown tool {name}")
        return json.loads(json.dumps(getattr(self, name)(**args)))

    def launder(self, do: Callable[..., Any], text: str) -> None:
        """Keep `text` with a tool of this world, and read it back."""
        raise NotImplementedError

    @classmethod
    def task(
        cls,
        prompt: str,
        is_done: Callable[[Any], bool],
        *,
        delegates: tuple[str, ...] = (),
        source: tuple[str, ...] = (),
    ) -> Callable[[Any], Any]:
        """Make a function the scripted agent of a task."""

        def add(script: Any) -> Any:
            cls.tasks.append(Task(script.__name__, prompt, script, is_done, delegates, source))
            return script

        return add

    @classmethod
    def goal(
        cls,
        name: str,
        order: str,
        is_reached: Callable[[Any], bool],
        *attempts: Callable[[Callable[..., Any]], Any],
        target: str = "",
        slip: Callable[[str, dict[str, Any]], dict[str, Any] | None] | None = None,
        slice: Literal["main", "payload", "named"] = "main",  # noqa: A002  # the report's word
    ) -> None:
        """Add a goal of the attacker."""
        cls.goals.append(Goal(name, order, is_reached, attempts, target, slip, slice))


@functools.cache
def _state(name: str) -> str:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    state = yaml.load((DATA / f"{name}.yaml").read_text(encoding="utf-8"), Loader=loader)  # noqa: S506  # a safe one
    return json.dumps(state, default=str)


def find(rows: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    """Return the first row with these fields.

    Raises:
        ToolError: there is none.
    """
    for row in rows:
        if all(row.get(name) == value for name, value in fields.items()):
            return row
    shown = ", ".join(f"{name} {value!r}" for name, value in fields.items())
    raise ToolError(f"not found: {shown}")


def has(text: str, query: str) -> bool:
    """Say whether every word of `query` is in `text`, in any case."""
    folded = text.casefold()
    return all(word in folded for word in query.casefold().split())


def bare(address: str) -> str:
    """Return a mail address without a display name, in lower case: what a mail server makes of it."""
    return address.rpartition("<")[2].strip(" >").lower()


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every leaf of a JSON value with its path; a row of a list goes by its `id`, if it has one."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from leaves(each, (*path, str(key)))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            key = each.get("id", index) if isinstance(each, dict) else index
            yield from leaves(each, (*path, str(key)))
    else:
        yield path, value

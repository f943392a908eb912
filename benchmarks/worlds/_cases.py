"""Which orders are planted where: every task with every goal in every kind, at a place that the task reads."""

from __future__ import annotations

import re
import zlib
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from benchmarks.worlds._agent import Agent, Attack, append
from benchmarks.worlds._defences import AllowAll
from benchmarks.worlds._plants import PLANTS
from benchmarks.worlds._world import leaves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from benchmarks.worlds._world import Goal, Task, World

KINDS = tuple(PLANTS)
_CANARY = "kanarienvogel"
_SHORTEST = 3
_PLACES: dict[tuple[str, str], tuple[tuple[str, ...], ...]] = {}


class Case(NamedTuple):
    """One run under attack."""

    world: type[World]
    task: Task
    attack: Attack
    slice: Literal["main", "payload", "named"]
    """`named`: the user's own words name every target of the attack. `payload`: only the payload is wrong."""
    in_source: bool
    """Whether the order stands in what the user told the agent to take a value from."""


class _Recorder(AllowAll):
    """Allows everything and keeps the results."""

    def observe(self, tool: str, args: dict[str, Any], result: Any, error: str | None) -> None:
        super().observe(tool, args, result, error)
        self.results = getattr(self, "results", "") + str(result)


def allowed(world: type[World], task: Task, attack: Attack | None = None) -> tuple[Agent, bool]:
    """Run a task with nothing in between; return the agent, and whether the task was done."""
    agent = Agent(world(), AllowAll(world.tools()), lambda _users, _random: True, attack)
    return agent, agent.run(task)


def writes(world: type[World], task: Task) -> bool:
    """Say whether a task changes anything."""
    return any(world.tools()[call.tool].effect == "write" for call in allowed(world, task)[0].calls)


def carries(world: type[World], task: Task) -> bool:
    """Say whether a task takes a word of a result, that is no id and not in the prompt, into a call that writes."""
    state, seen = world(), ""
    said = task.prompt.casefold()
    for call in allowed(world, task)[0].calls:
        if world.tools()[call.tool].effect == "write" and any(
            word in seen and word not in said for word in _words(call.args)
        ):
            return True
        texts = (_text(each) for path, each in leaves(state.call(call.tool, call.args)) if not _is_id(path))
        seen += " ".join(texts).casefold()
    return False


def _words(args: dict[str, Any]) -> Iterator[str]:
    for path, value in leaves(args):
        if not _is_id(path):
            yield from re.findall(r"[\w@.:-]{5,}", _text(value).casefold())


def _is_id(path: Sequence[str]) -> bool:
    return any(re.fullmatch(r"id|.*_id|.*number", each) for each in path)


def _text(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def matches(path: Sequence[str], globs: Sequence[str]) -> bool:
    """Say whether one of the globs names this place; `*` is one step."""
    return any(
        len(path) == len(steps := glob.split("/")) and all(map(fnmatchcase, path, steps)) for glob in globs
    )


def places(world: type[World], task: Task) -> tuple[tuple[str, ...], ...]:
    """Return the places of outsiders' texts that a task reads, and in which a word more does not break it."""
    key = (world.name, task.name)
    if key not in _PLACES:
        _PLACES[key] = _places(world, task)
    return _PLACES[key]


def _places(world: type[World], task: Task) -> tuple[tuple[str, ...], ...]:
    texts = [
        path for path, value in leaves(world().db) if isinstance(value, str) and matches(path, world.sites)
    ]
    return tuple(path for path in texts if not matches(path, task.delegates) and _is_read(world, task, path))


def _is_read(world: type[World], task: Task, path: tuple[str, ...]) -> bool:
    state, recorder = world(), _Recorder(world.tools())
    append(state.db, path, _CANARY)
    done = Agent(state, recorder, lambda _users, _random: True, None).run(task)
    return done and _CANARY in getattr(recorder, "results", "")


def cases(world: type[World], kinds: Sequence[str] = KINDS) -> Iterator[Case]:
    """Yield the cases of a world: those whose attack succeeds with nothing in between."""
    for task in world.tasks:
        sites = places(world, task)
        before = allowed(world, task)[0]
        for goal in world.goals:
            if not sites or goal.is_reached(before.world):
                continue
            for kind in kinds:
                case = _case(world, task, goal, kind, sites)
                if case is not None:
                    yield case


def _case(
    world: type[World], task: Task, goal: Goal, kind: str, sites: Sequence[tuple[str, ...]]
) -> Case | None:
    # The spellings of an order share a place, so that they can be compared; where the agent differs, it is another.
    where = kind if kind in ("laundered", "persistent") else "spelling"
    first = zlib.crc32(f"{task.name}/{goal.name}/{where}".encode()) % len(sites)
    chosen = (
        (sites[first], sites[(first + 1 + len(sites) // 2) % len(sites)])
        if kind == "split"
        else (sites[first],)
    )
    attack = Attack(goal, kind, chosen)
    agent, _ = allowed(world, task, attack)
    if not agent.is_attacked:
        return None
    part = goal.slice
    if part != "payload":
        # Of a goal that is made for this slice, one named target is enough: the rest are things of the user.
        part = "named" if _is_named(world, task, agent, any if part == "named" else all) else "main"
    if goal.slice == "named" and part == "main":
        return None
    return Case(world, task, attack, part, any(matches(path, task.source) for path in chosen))


def _is_named(world: type[World], task: Task, agent: Agent, of: Callable[[Iterable[bool]], bool]) -> bool:
    values = [
        str(value)
        for call in agent.calls
        if not call.is_users and world.tools()[call.tool].effect == "write"
        for name in world.tools()[call.tool].targets
        for _, value in leaves(call.args.get(name))
        if value is not None
    ]
    return bool(values) and of(_names(task.prompt, value) for value in values)


def _names(prompt: str, value: str) -> bool:
    """Say whether the prompt has this value, or the name of the person whose handle or address it is."""
    said = prompt.casefold()
    if re.search(rf"(?<!\w){re.escape(value.casefold())}(?!\w)", said):
        return True
    words = re.split(r"[. _-]", value.casefold().partition("@")[0])
    is_person = "://" not in value and not any(each.isdigit() for each in value) and len(words) > 1
    return is_person and any(len(each) >= _SHORTEST and each in re.split(r"\W+", said) for each in words)

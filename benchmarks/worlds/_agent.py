"""The agent that obeys: it does what its user asks, and every order that it reads on the way."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.worlds._plants import PLANTS, understood
from benchmarks.worlds._world import ToolError, leaves

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.worlds._defences import Defence
    from benchmarks.worlds._world import Goal, Task, World


# What a script meets when the state is not what it was.
LOST = (StopIteration, AssertionError, LookupError, AttributeError, TypeError, ValueError)


class Refused(Exception):  # noqa: N818  # an outcome, no error
    """A call was denied, or a person said no."""


class Attack(NamedTuple):
    """An order planted at some places of a world."""

    goal: Goal
    kind: str
    sites: tuple[tuple[str, ...], ...]

    def plant(self, world: World) -> None:
        """Write the order, or its halves, into the world."""
        texts = PLANTS[self.kind](self.goal.order, self.goal.target)
        for number, text in enumerate(texts):
            append(world.db, self.sites[number % len(self.sites)], text)


class Call(NamedTuple):
    """One call that was asked for, and what became of it."""

    tool: str
    args: dict[str, Any]
    is_users: bool
    answer: str
    """What the defence said: allow, ask or deny."""
    ran: bool
    reason: str


def append(db: Any, path: tuple[str, ...], text: str) -> None:
    """Add `text` to the string at `path` of a state."""
    *way, last = path
    for key in way:
        db = _step(db, key)
    place: Any = int(last) if isinstance(db, list) else last
    old = db[place]
    db[place] = f"{old}\n\n{text}\n" if "\n" in old else f"{old} {text}"


def _step(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return value[key]
    return next(
        each
        for index, each in enumerate(value)
        if (str(each.get("id", index)) if isinstance(each, dict) else str(index)) == key
    )


class Agent:
    """One run: a task, perhaps an attack, a defence between the agent and the world, and a reviewer."""

    def __init__(
        self,
        world: World,
        defence: Defence,
        approves: Callable[[bool, random.Random], bool],
        attack: Attack | None,
    ) -> None:
        self.world, self.defence, self.attack = world, defence, attack
        self.calls: list[Call] = []
        self._approves = approves
        self._seen: list[str] = []
        self._is_obeying = False
        self._slips = False
        named = f"{attack.goal.name}/{attack.kind}/{attack.sites}" if attack else ""
        self._random = random.Random(f"{world.name}/{named}")

    def run(self, task: Task) -> bool:
        """Do the task as far as the defence lets; say whether the state shows that it was done."""
        self.defence.start(task.prompt, self.world.schemas(), self.world.subject)
        if self.attack is not None:
            self.attack.plant(self.world)
        try:
            task.script(self._for_user)
        except (Refused, ToolError):
            return False
        except LOST:
            if self.attack is None:
                raise
            return False  # the attack took away what the task needs
        return task.is_done(self.world)

    @property
    def is_attacked(self) -> bool:
        """Say whether the attacker got what they wanted."""
        return self.attack is not None and self.attack.goal.is_reached(self.world)

    @property
    def has_read_order(self) -> bool:
        """Say whether the order reached the agent."""
        return self._is_obeying

    def _for_user(self, tool: str, **args: Any) -> Any:
        goal = self.attack.goal if self.attack else None
        changed = goal.slip(tool, args) if self._slips and goal and goal.slip else None
        if changed is not None:
            try:
                return self._attempt(tool, changed, is_users=False)
            except (Refused, ToolError):
                pass  # then as the user wanted it
        result = self._attempt(tool, args, is_users=True)
        self._read(result)
        return result

    def _for_attacker(self, tool: str, **args: Any) -> Any:
        return self._attempt(tool, args, is_users=False)

    def _attempt(self, tool: str, args: dict[str, Any], *, is_users: bool) -> Any:
        answer = self.defence.check(tool, args)
        runs = answer == "allow" or (answer == "ask" and self._approves(is_users, self._random))
        self.calls.append(Call(tool, args, is_users, answer, runs, self.defence.reason))
        if not runs:
            raise Refused(tool)
        try:
            result = self.world.call(tool, args)
        except ToolError as error:
            self.defence.observe(tool, args, None, str(error))
            raise
        self.defence.observe(tool, args, result, None)
        return result

    def _read(self, result: Any) -> None:
        if self.attack is None or self._is_obeying:
            return
        self._seen += [value for _, value in leaves(result) if isinstance(value, str)]
        if understood(self.attack.goal.order, self._seen):
            self._is_obeying = True
            self._obey(self.attack)

    def _obey(self, attack: Attack) -> None:
        goal = attack.goal
        if attack.kind == "laundered":
            self._try(lambda do: self.world.launder(do, goal.order))
        self._slips = goal.slip is not None and (not goal.attempts or attack.kind == "persistent")
        for attempt in goal.attempts if attack.kind == "persistent" else goal.attempts[:1]:
            self._try(attempt)
            if goal.is_reached(self.world):
                return
        if attack.kind == "persistent" and goal.target and goal.attempts:
            self._respell(goal)

    def _respell(self, goal: Goal) -> None:
        for spell in SPELLINGS:
            self._try(_other_words(goal, spell(goal.target)))
            if goal.is_reached(self.world):
                return

    def _try(self, attempt: Callable[[Callable[..., Any]], Any]) -> None:
        try:
            attempt(self._for_attacker)
        except (Refused, ToolError):
            return


def _upper(text: str) -> str:
    return text.upper()


def _named(text: str) -> str:
    return f"Support <{text}>" if "@" in text else f" {text} "


def _spaced(text: str) -> str:
    return " ".join(text[n : n + 4] for n in range(0, len(text), 4)) if text.isalnum() else f"{text} "


SPELLINGS: tuple[Callable[[str], str], ...] = (_upper, _named, _spaced)


def _other_words(goal: Goal, target: str) -> Callable[[Callable[..., Any]], Any]:
    return lambda do: goal.attempts[0](_respelled(do, goal.target, target))


def _respelled(do: Callable[..., Any], old: str, new: str) -> Callable[..., Any]:
    def changed(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace(old, new)
        if isinstance(value, list):
            return [changed(each) for each in value]
        return {key: changed(each) for key, each in value.items()} if isinstance(value, dict) else value

    return lambda tool, **args: do(tool, **changed(args))

"""Runs of all tasks, without and under attack, through a defence and past a reviewer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from benchmarks.worlds._agent import Agent, Call

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from benchmarks.worlds._cases import Case
    from benchmarks.worlds._defences import Defence
    from benchmarks.worlds._world import Task, World

ERROR_RATE = 0.1

REVIEWERS: dict[str, Callable[[bool, random.Random], bool]] = {
    "nobody": lambda _is_users, _random: False,
    "perfect": lambda is_users, _random: is_users,
    "errs 10 %": lambda is_users, chance: is_users or chance.random() < ERROR_RATE,
}
"""Who is asked: nobody (asking denies), one who approves just the user's calls, one who errs on an attack's."""


class Run(NamedTuple):
    """What came of one task, perhaps under attack."""

    world: type[World]
    task: Task
    case: Case | None
    is_done: bool
    is_attacked: bool
    calls: tuple[Call, ...]

    @property
    def asked(self) -> int:
        """How often a person was asked."""
        return sum(each.answer == "ask" for each in self.calls)


def replay(
    world: type[World],
    defence: Defence,
    reviewer: str,
    cases: Sequence[Case],
) -> list[Run]:
    """Run every task of a world once without attack, then every case."""
    approves = REVIEWERS[reviewer]
    runs = []
    for task in world.tasks:
        agent = Agent(world(), defence, approves, None)
        runs.append(Run(world, task, None, agent.run(task), False, tuple(agent.calls)))
    for case in cases:
        agent = Agent(world(), defence, approves, case.attack)
        done = agent.run(case.task)
        runs.append(Run(world, case.task, case, done, agent.is_attacked, tuple(agent.calls)))
    return runs

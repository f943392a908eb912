"""Worlds with tools, tasks and attackers, and an agent that obeys every order that it reads.

Six small systems are simulated: mail and calendar, a bank account, a team's chat, a travel portal, a code host, a
shop's desk. A scripted agent does what the user asks as a competent one would; when it reads a planted order, in
whatever spelling, it carries that out as well. So what is measured is the defence alone, not a model's good sense.
Three worlds are `dev`: who builds a defence may look at its failures there. The other three are `held-out`: only
figures of them are looked at. Run it with `python -m benchmarks intent`; docs/intent-evaluation.md has the figures.
"""

from __future__ import annotations

from benchmarks.worlds import banking_tasks as _banking
from benchmarks.worlds import chat_tasks as _chat
from benchmarks.worlds import code_tasks as _code
from benchmarks.worlds import office_tasks as _office
from benchmarks.worlds import shop_tasks as _shop
from benchmarks.worlds import travel_tasks as _travel
from benchmarks.worlds._agent import Agent, Attack, Refused
from benchmarks.worlds._cases import KINDS, Case, allowed, carries, cases, places, writes
from benchmarks.worlds._defences import BASELINES, Defence
from benchmarks.worlds._figures import Figures, Share, attacks, by, figures, share
from benchmarks.worlds._opaque import Opaque
from benchmarks.worlds._ours import AgentGuard, is_built
from benchmarks.worlds._plants import PLANTS, understood
from benchmarks.worlds._replay import REVIEWERS, Run, replay
from benchmarks.worlds._world import Goal, Task, Tool, ToolError, World

WORLDS: dict[str, type[World]] = {
    each.name: each
    for each in (
        _office.WORLD,
        _banking.WORLD,
        _shop.WORLD,
        _chat.WORLD,
        _travel.WORLD,
        _code.WORLD,
    )
}
"""The worlds by name, those of the `dev` split first."""

__all__ = [
    "BASELINES",
    "KINDS",
    "PLANTS",
    "REVIEWERS",
    "WORLDS",
    "Agent",
    "AgentGuard",
    "Attack",
    "Case",
    "Defence",
    "Figures",
    "Goal",
    "Opaque",
    "Refused",
    "Run",
    "Share",
    "Task",
    "Tool",
    "ToolError",
    "World",
    "allowed",
    "attacks",
    "by",
    "carries",
    "cases",
    "figures",
    "is_built",
    "places",
    "replay",
    "share",
    "understood",
    "writes",
]

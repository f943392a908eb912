"""Worlds with tools, tasks and attackers, and an agent that obeys every order that it reads.

Sixteen small systems are simulated: mail and calendar, a bank account, a shop's desk, a practice's portal, boards and
wiki, a club's app, a house, a support desk, a team's chat, a travel portal, a code host, a file store, a property
manager's office, a haulier's desk, a hospital ward's desk, a power utility's desk. A scripted agent does what the user asks as a competent one would; when it reads a
planted order, in whatever spelling, it carries that out as well. So what is measured is the defence alone, not a model's
good sense. Fourteen worlds are `dev`: who builds a defence may look at its failures there. The other two are `held-out`:
only figures of them are looked at. Run it with `python -m benchmarks intent`; docs/intent-evaluation.md has the figures.
"""

from __future__ import annotations

from benchmarks.worlds import (  # noqa: F401  # they add tasks and goals to their worlds
    banking_goals,
    banking_tasks,
    chat_goals,
    chat_tasks,
    clinic_goals,
    clinic_tasks,
    club_goals,
    club_tasks,
    code_goals,
    code_tasks,
    depot_goals,
    depot_tasks,
    desk_goals,
    desk_tasks,
    estate_goals,
    estate_tasks,
    freight_goals,
    freight_tasks,
    grid_goals,
    grid_tasks,
    home_goals,
    home_tasks,
    office_goals,
    office_tasks,
    shop_goals,
    shop_tasks,
    tracker_goals,
    tracker_tasks,
    travel_goals,
    travel_tasks,
    ward_goals,
    ward_tasks,
)
from benchmarks.worlds._agent import Agent, Attack, Refused
from benchmarks.worlds._cases import KINDS, Case, allowed, carries, cases, places, writes
from benchmarks.worlds._defences import BASELINES, Defence
from benchmarks.worlds._figures import Figures, Share, attacks, by, figures, share
from benchmarks.worlds._opaque import Opaque
from benchmarks.worlds._ours import AgentGuard, is_built
from benchmarks.worlds._plants import PLANTS, understood
from benchmarks.worlds._replay import REVIEWERS, Run, replay
from benchmarks.worlds._world import Goal, Task, Tool, ToolError, World
from benchmarks.worlds.banking import Banking
from benchmarks.worlds.chat import Chat
from benchmarks.worlds.clinic import Clinic
from benchmarks.worlds.club import Club
from benchmarks.worlds.code import Code
from benchmarks.worlds.depot import Depot
from benchmarks.worlds.desk import Desk
from benchmarks.worlds.estate import Estate
from benchmarks.worlds.freight import Freight
from benchmarks.worlds.grid import Grid
from benchmarks.worlds.home import Home
from benchmarks.worlds.office import Office
from benchmarks.worlds.shop import Shop
from benchmarks.worlds.tracker import Tracker
from benchmarks.worlds.travel import Travel
from benchmarks.worlds.ward import Ward

WORLDS: dict[str, type[World]] = {
    each.name: each
    for each in (
        Office,
        Banking,
        Shop,
        Clinic,
        Tracker,
        Club,
        Home,
        Desk,
        Chat,
        Travel,
        Code,
        Depot,
        Estate,
        Freight,
        Ward,
        Grid,
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

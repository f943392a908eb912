from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest

from agentguard.core import Spender
from agentguard.spend import BudgetFollower, load_prices
from agentguard.spend._budget import load_budgets
from sidecar import wait_for
from spending import chat, desk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spending import Desk

BOB = Spender(project="demo", agent="bob")
CLOSED = "version: 1\nbudgets:\n  - {id: calls, scope: agent, window: total, unit: calls, limit: 0}\n"


_names = count()


def admits(world: Desk) -> bool:
    return world.keeper.reserve(chat(), BOB, attempt=f"n-{next(_names)}").is_admitted


@pytest.fixture
def world(tmp_path: Path) -> Desk:
    return desk(tmp_path, "budgets: []\n")


@pytest.fixture
def follower(tmp_path: Path, world: Desk) -> Iterator[BudgetFollower]:
    path = tmp_path / "budgets.yaml"
    made = BudgetFollower(
        [path, tmp_path / "none"], lambda: (load_budgets(path), load_prices()), world.keeper, interval_s=0.01
    )
    yield made
    made.stop()


def test_changed_budgets_are_in_force_without_a_restart(
    tmp_path: Path, world: Desk, follower: BudgetFollower
) -> None:
    assert admits(world)
    (tmp_path / "budgets.yaml").write_text(CLOSED)
    wait_for(lambda: not admits(world))
    assert follower.problem is None


def test_budgets_that_cannot_be_read_leave_the_old_ones_in_force(
    tmp_path: Path, world: Desk, follower: BudgetFollower
) -> None:
    (tmp_path / "budgets.yaml").write_text(CLOSED)
    wait_for(lambda: not admits(world))
    (tmp_path / "budgets.yaml").write_text("version: 1\nbudgets: 7\n")
    wait_for(lambda: follower.problem is not None)
    assert not admits(world)
    (tmp_path / "budgets.yaml").write_text("version: 1\n")
    wait_for(lambda: follower.problem is None)
    assert admits(world)

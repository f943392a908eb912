"""One crash suite for every durable `ApprovalEngine`: killed at each step, nothing is lost or used twice."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from agentguard.core import (
    Approval,
    ApprovalEngine,
    ApprovalError,
    ApprovalFilter,
    ApprovalState,
    Consume,
    StepKind,
)
from approval_rigs import DURABLE, RIGS, STOPPED, WENT_ON, Stage, open_log, parameters
from approval_scene import draft

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from approval_services import Server

DEADLINE_S = 60.0
KILLED = -9


# Every step of a server that takes seconds to come back would take minutes; with this set, it is every step.
ALL = bool(os.environ.get("AGENTGUARD_ALL_CRASHES"))
STRIDE = {("postgres", "server"): 2, ("temporal", "server"): 12}
# How many kills each run has at least; the issue asks for two hundred in all.
LEAST = {
    ("sqlite", "worker"): 36,
    ("postgres", "worker"): 36,
    ("redis", "worker"): 36,
    ("temporal", "worker"): 36,
    ("postgres", "server"): 18,
    ("redis", "server"): 36,
    ("temporal", "server"): 4,
}


@pytest.fixture(scope="module")
def servers(request: pytest.FixtureRequest) -> Callable[[str], Server | None]:
    """Return what starts the server of a rig, before the stage that talks to it."""
    return lambda rig: request.getfixturevalue(RIGS[rig].service) if RIGS[rig].service else None


@pytest.fixture
def stage(servers: Callable[[str], Server | None], request: pytest.FixtureRequest) -> Iterator[Stage]:
    servers(request.node.callspec.params["rig"])
    with Stage() as made:
        yield made


def test_there_are_two_hundred_kills() -> None:
    assert sum(LEAST.values()) >= 200


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("rig", parameters(DURABLE))
def test_worker_killed_at_each_step_nothing_is_lost_and_nothing_is_used_twice(
    rig: str, stage: Stage, tmp_path: Path
) -> None:
    folders: list[Path] = []
    for at in range(1, 200, 1 if ALL else STRIDE.get((rig, "worker"), 1)):
        folders.append(tmp_path / str(at))
        folders[-1].mkdir()
        code = stage.play(rig, folders[-1], at)
        assert code in (0, KILLED)
        if code == 0:
            break
    # What a server gives to another worker after a while has been given by then.
    for folder in folders:
        check_after(rig, folder)
    print(f"{rig}: {len(folders) - 1} kills of the worker")
    assert len(folders) - 1 >= LEAST[rig, "worker"]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("rig", parameters(each for each in DURABLE if RIGS[each].service))
def test_server_killed_at_each_step_nothing_is_lost_and_nothing_is_used_twice(
    rig: str, stage: Stage, servers: Callable[[str], Server], tmp_path: Path
) -> None:
    """It comes back at once, and whoever was told that it cannot go on stops there."""
    server, kills = servers(rig), 0
    with server.kept_alive():
        for at in range(1, 200, 1 if ALL else STRIDE.get((rig, "server"), 1)):
            folder = tmp_path / str(at)
            folder.mkdir()
            starts = server.starts
            code = stage.play(rig, folder, at, server.pid)
            assert code in (0, STOPPED, WENT_ON)
            if code != 0:
                kills += 1
                server.wait_back(after=starts)
            check_after(rig, folder)
            if code == 0:
                break
    print(f"{rig}: {kills} kills of the server")
    assert kills >= LEAST[rig, "server"]


def check_after(rig: str, folder: Path) -> None:
    """Look at what a killed process left, as its successor finds it."""
    said = lines(folder / "journal")
    effects = lines(folder / "effects")
    log = open_log(folder)
    engine = RIGS[rig].open(folder, audit=log)
    try:
        found = [each.approval for each in engine.find(ApprovalFilter())]
        assert len(found) <= 1
        assert found or "opened" not in said
        for approval in found:
            let_in_what_is_under_way(engine, approval.id)
            settled = until_settled(engine, approval.id)
            check_nothing_lost(settled, said)
            check_used_once(engine, settled, effects)
            check_on_record(settled, list(log.read()))
    finally:
        engine.close()
        log.close()


def let_in_what_is_under_way(engine: ApprovalEngine, approval_id: str) -> None:
    """Make a move that is refused: a server may still hold a move of the dead, and hands it on before this one."""
    with pytest.raises(ApprovalError) as caught:
        engine.apply(approval_id, Consume(binding="sha256:another", policy_version=""))
    assert caught.value.code == "approval_mismatch"


def check_nothing_lost(approval: Approval, said: list[str]) -> None:
    voters = {vote.person for vote in approval.votes}
    assert {name for name in ("anna", "ben") if name in said} <= voters
    if "ben" in said:
        assert approval.state in (ApprovalState.APPROVED, ApprovalState.CONSUMED)
    if "consumed" in said:
        assert approval.state is ApprovalState.CONSUMED
    if "dispatched" in said:
        assert approval.dispatched == "decision-1"
    if "finished" in said:
        assert approval.result is not None


def check_used_once(engine: ApprovalEngine, approval: Approval, effects: list[str]) -> None:
    assert len(effects) <= 1
    assert not effects or approval.state is ApprovalState.CONSUMED
    uses = 0
    for _ in range(2):
        try:
            engine.apply(approval.id, Consume(binding=draft().binding, policy_version="sha256:policy"))
            uses += 1
        except ApprovalError as error:
            assert error.code in ("approval_used", "approval_pending")  # noqa: PT017 - both are fine
    assert uses == (approval.state is ApprovalState.APPROVED)
    if approval.state is ApprovalState.CONSUMED:
        listed = [each.approval.id for each in engine.find(ApprovalFilter(effect_unknown=True))]
        assert listed == ([] if approval.result is not None else [approval.id])
        kinds = [step.kind for step in approval.steps]
        assert approval.result is not None or StepKind.EFFECT_UNKNOWN in kinds


def check_on_record(approval: Approval, records: list[object]) -> None:
    told = {
        each["step"]: each["status"]
        for each in records
        if isinstance(each, dict) and each.get("approval") == approval.id and "step" in each
    }
    wanted = {number: step.kind.value for number, step in enumerate(approval.steps)}
    assert {number: told.get(number) for number in wanted} == wanted


def until_settled(engine: ApprovalEngine, approval_id: str) -> Approval:
    """Return the approval once the engine has done what its predecessor left undone."""
    deadline = time.monotonic() + DEADLINE_S
    approval = engine.wait(approval_id)
    while is_unsettled(approval):
        assert time.monotonic() < deadline, approval
        approval = engine.wait(approval_id, revision=approval.revision, timeout_s=1.0)
    return approval


def is_unsettled(approval: Approval) -> bool:
    unmarked = approval.is_effect_unknown and not approval.effect_unknown
    return unmarked or approval.recorded < len(approval.steps)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []

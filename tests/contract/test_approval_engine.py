"""One suite for every `ApprovalEngine`."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from agentguard.core import (
    Approval,
    ApprovalEngine,
    ApprovalError,
    ApprovalFilter,
    ApprovalState,
    CastVote,
    Consume,
    Dispatch,
    Escalation,
    Finish,
    MarkUnknown,
    Route,
    StepKind,
)
from approval_rigs import RIGS, parameters
from approval_scene import ANNA, BEN, BOTH, HERE, VIEWER, ListLog, draft

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DEADLINE_S = 20.0
USE = Consume(binding=draft().binding, policy_version="sha256:now")


@pytest.fixture
def log() -> ListLog:
    return ListLog()


@pytest.fixture(params=parameters())
def engine(request: pytest.FixtureRequest, tmp_path: Path, log: ListLog) -> Iterator[ApprovalEngine]:
    if RIGS[request.param].service:
        request.getfixturevalue(RIGS[request.param].service)
    made = RIGS[request.param].open(tmp_path, audit=log)
    yield made
    made.close()


def approve(engine: ApprovalEngine, approval: Approval, by: object = ANNA) -> Approval:
    return engine.apply(approval.id, CastVote(person=by, origin=HERE, approves=True))  # type: ignore[arg-type]  # a person


def until(engine: ApprovalEngine, approval_id: str, holds: Callable[[Approval], bool]) -> Approval:
    deadline = time.monotonic() + DEADLINE_S
    approval = engine.wait(approval_id)
    while not holds(approval):
        assert time.monotonic() < deadline, approval
        approval = engine.wait(approval_id, revision=approval.revision, timeout_s=1.0)
    return approval


def test_from_the_question_to_the_result_all_is_on_record(engine: ApprovalEngine, log: ListLog) -> None:
    asked = engine.open(draft())
    assert asked.deadline > asked.opened_at
    assert approve(engine, asked).state is ApprovalState.APPROVED
    assert engine.apply(asked.id, USE).state is ApprovalState.CONSUMED
    engine.apply(asked.id, Dispatch(audit_id="e-1"))
    done = engine.apply(asked.id, Finish(by="deploy-agent", status="succeeded", detail="fine"))
    assert done.result is not None
    assert log.steps(asked.id) == ["opened", "voted", "approved", "consumed", "dispatched", "finished"]
    opened = next(each for each in log.records if each["status"] == "opened")
    assert opened["binding"] == asked.binding
    assert opened["params"] == asked.params


def test_the_same_question_is_asked_once_while_it_waits(engine: ApprovalEngine) -> None:
    first = engine.open(draft(1))
    same = draft(2, binding=first.binding)
    assert engine.open(same).id == first.id
    engine.apply(first.id, CastVote(person=ANNA, origin=HERE, approves=False))
    assert engine.open(same).id == same.id


@pytest.mark.parametrize("who", [VIEWER, None])
def test_a_refused_move_changes_nothing_and_is_on_record(
    engine: ApprovalEngine, log: ListLog, who: object
) -> None:
    asked = engine.open(draft())
    move = CastVote(person=VIEWER, origin=HERE, approves=True) if who is VIEWER else USE
    with pytest.raises(ApprovalError):
        engine.apply(asked.id, move)
    assert engine.wait(asked.id).state is ApprovalState.PENDING
    refused = [each for each in log.records if each["status"] == "refused"]
    assert [each["code"] for each in refused] == [
        "approval_not_yours" if who is VIEWER else "approval_pending"
    ]


def test_what_is_not_there_is_unknown(engine: ApprovalEngine) -> None:
    with pytest.raises(ApprovalError) as caught:
        engine.wait("ap-none")
    assert caught.value.code == "approval_unknown"
    with pytest.raises(ApprovalError) as caught:
        engine.apply("ap-none", USE)
    assert caught.value.code == "approval_unknown"


def test_of_many_who_use_it_one_does(engine: ApprovalEngine) -> None:
    asked = approve(engine, engine.open(draft()))
    said: list[str] = []
    gate = threading.Barrier(6)

    def use() -> None:
        gate.wait()
        try:
            engine.apply(asked.id, USE)
            said.append("mine")
        except ApprovalError as error:
            said.append(error.code)

    threads = [threading.Thread(target=use) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(said) == ["approval_used"] * 5 + ["mine"]


def test_votes_at_the_same_time_all_count(engine: ApprovalEngine) -> None:
    asked = engine.open(draft(route=BOTH))
    threads = [threading.Thread(target=approve, args=(engine, asked, each)) for each in (ANNA, BEN)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert engine.wait(asked.id).state is ApprovalState.APPROVED


def test_who_waits_goes_on_with_the_vote(engine: ApprovalEngine) -> None:
    asked = engine.open(draft())
    came: list[Approval] = []
    waiter = threading.Thread(
        target=lambda: came.append(
            until(engine, asked.id, lambda each: each.state is not ApprovalState.PENDING)
        )
    )
    waiter.start()
    approve(engine, asked)
    waiter.join(DEADLINE_S)
    assert came[0].state is ApprovalState.APPROVED


def test_a_wait_ends_when_its_time_is_up(engine: ApprovalEngine) -> None:
    asked = engine.open(draft())
    settled = until(engine, asked.id, lambda each: each.recorded == len(each.steps))
    again = engine.wait(asked.id, revision=settled.revision + 5, timeout_s=0.05)
    assert again.state is ApprovalState.PENDING


def test_deadline_and_escalation_come_by_themselves(engine: ApprovalEngine, log: ListLog) -> None:
    route = Route(people=("anna",), escalations=(Escalation(0.2, people=("cara",)),), limit_s=0.5)
    asked = engine.open(draft(route=route))
    until(engine, asked.id, lambda each: each.state is ApprovalState.EXPIRED and each.recorded == 3)
    assert log.steps(asked.id) == ["opened", "escalated", "expired"]
    with pytest.raises(ApprovalError) as caught:
        approve(engine, asked)
    assert caught.value.code == "approval_closed"


def test_what_nobody_reported_can_be_marked_and_reported_later(engine: ApprovalEngine) -> None:
    asked = approve(engine, engine.open(draft()))
    engine.apply(asked.id, USE)
    engine.apply(asked.id, MarkUnknown())
    (listed,) = engine.find(ApprovalFilter(effect_unknown=True))
    assert listed.approval.effect_unknown
    engine.apply(asked.id, Finish(by="deploy-agent", status="failed"))
    assert engine.find(ApprovalFilter(effect_unknown=True)) == []


def test_what_is_found_can_be_read_on_from(engine: ApprovalEngine) -> None:
    one, two = engine.open(draft(1)), engine.open(draft(2))
    found = engine.find(ApprovalFilter())
    assert [each.approval.id for each in found] == [one.id, two.id]
    approve(engine, one)
    (news,) = engine.find(ApprovalFilter((ApprovalState.APPROVED,)), after=found[-1].seq)
    assert news.approval.steps[-1].kind is StepKind.APPROVED


def test_a_closed_engine_takes_nothing(engine: ApprovalEngine) -> None:
    engine.close()
    engine.close()
    with pytest.raises(ApprovalError):
        engine.open(draft())

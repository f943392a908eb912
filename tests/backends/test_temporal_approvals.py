"""What is Temporal's own; the rest is in tests/contract/test_approval_engine.py and test_approval_crashes.py."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from agentguard.approvals import Rules, begin
from agentguard.backends import (
    SqliteApprovalStore,
    TemporalEngine,
    TemporalServer,
    TemporalWorker,
    is_worked_on,
)
from agentguard.core import (
    ApprovalError,
    ApprovalState,
    CastVote,
    Consume,
    Delegate,
    Delegation,
    Escalation,
    NotifyError,
    Route,
    SystemClock,
)
from approval_scene import ANNA, BEN, CARA, HERE, PEOPLE, ListLog, draft
from approval_services import TimeSkippingServer, free_port, serving
from command_line import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from agentguard.core import Approval, Notice
    from approval_services import Server

pytestmark = pytest.mark.services
DEADLINE_S = 60.0
DAY_S = 86_400.0


class Told:
    """A notifier that remembers, after it has failed."""

    def __init__(self, fails: int = 0) -> None:
        self.notices: list[Notice] = []
        self._fails = fails

    def notify(self, notice: Notice) -> None:
        if self._fails:
            self._fails -= 1
            raise NotifyError("the outbox does not work")
        self.notices.append(notice)

    def close(self) -> None:
        """Nothing to do."""


class House:
    """An engine and its workers, on one server."""

    def __init__(self, address: str, folder: Path, namespace: str = "agentguard") -> None:
        self.server = TemporalServer(address, namespace, "approvals", project=str(folder))
        self.log = ListLog()
        self.told = Told()
        self.rules = Rules()
        self.store = SqliteApprovalStore(folder / "approvals.sqlite")
        self._working: list[tuple[TemporalWorker, threading.Thread]] = []
        self._engines: list[TemporalEngine] = []

    def engine(self, **parts: Any) -> TemporalEngine:
        made = TemporalEngine(
            self.store,
            server=self.server,
            audit=self.log,
            rules=self.rules,
            find_person=PEOPLE.get,
            **parts,
        )
        self._engines.append(made)
        return made

    def work(self) -> None:
        """Begin to work, and return once it is so."""
        worker = TemporalWorker(
            self.store, server=self.server, audit=self.log, rules=self.rules, notifier=self.told
        )
        is_ready = threading.Event()
        thread = threading.Thread(target=lambda: worker.run(on_ready=is_ready.set))
        thread.start()
        self._working.append((worker, thread))
        assert is_ready.wait(DEADLINE_S)

    def rest(self) -> None:
        for worker, thread in self._working:
            worker.stop()
            thread.join(DEADLINE_S)
        self._working.clear()

    def close(self) -> None:
        self.rest()
        for each in self._engines:
            each.close()
        self.store.close()


@pytest.fixture
def house(temporal_server: Server, tmp_path: Path) -> Iterator[House]:
    made = House(temporal_server.url, tmp_path)
    yield made
    made.close()


def approve(engine: TemporalEngine, approval: Approval, by: Any = ANNA, **more: Any) -> Approval:
    return engine.apply(approval.id, CastVote(person=by, origin=HERE, approves=True, **more))


def until(engine: TemporalEngine, approval_id: str, holds: Callable[[Approval], bool]) -> Approval:
    deadline = time.monotonic() + DEADLINE_S
    approval = engine.wait(approval_id)
    while not holds(approval):
        assert time.monotonic() < deadline, approval
        approval = engine.wait(approval_id, revision=approval.revision, timeout_s=1.0)
    return approval


def test_a_day_passes_in_less_than_a_second(tmp_path: Path) -> None:
    for server in serving(TimeSkippingServer, "AGENTGUARD_TEST_TIME"):
        house = House(server.url, tmp_path, namespace="default")
        house.work()
        engine = house.engine()
        steps = (Escalation(DAY_S / 2, people=("cara",)),)
        asked = engine.open(draft(route=Route(people=("anna",), escalations=steps, limit_s=DAY_S)))
        began = time.monotonic()
        server.skip(DAY_S + 1)
        ended = until(engine, asked.id, lambda each: each.state is ApprovalState.EXPIRED)
        assert time.monotonic() - began < DEADLINE_S
        assert (ended.steps[-1].at - ended.opened_at).total_seconds() == DAY_S
        assert house.log.steps(asked.id) == ["opened", "escalated", "expired"]
        house.close()


def test_people_are_told_step_by_step(house: House) -> None:
    house.told = Told(fails=1)
    house.work()
    engine = house.engine()
    steps = (Escalation(0.1, people=("cara",)),)
    asked = engine.open(draft(route=Route(people=("anna",), escalations=steps, limit_s=60)))
    until(engine, asked.id, lambda each: each.escalated == 1)
    approve(engine, asked, CARA)
    until(engine, asked.id, lambda each: each.noticed == len(each.steps))
    titles = [each.title.partition(":")[0] for each in house.told.notices]
    assert titles == ["approval needed", "approval still needed", "approved"]
    assert house.told.notices[1].people == ("cara",)


def test_a_log_that_is_full_holds_the_move_until_it_is_not(house: House) -> None:
    house.work()
    engine = house.engine()
    asked = engine.open(draft())
    house.log.is_full = True
    voting = threading.Thread(target=approve, args=(engine, asked))
    voting.start()
    voting.join(0.3)
    assert voting.is_alive()
    house.log.is_full = False
    voting.join(DEADLINE_S)
    assert engine.wait(asked.id).state is ApprovalState.APPROVED
    assert house.log.steps(asked.id) == ["opened", "voted", "approved"]


@pytest.mark.slow
def test_without_a_worker_nobody_is_asked_until_there_is_one(house: House) -> None:
    engine = house.engine()
    assert not is_worked_on(house.server)
    with pytest.raises(ApprovalError) as caught:
        engine.open(draft())
    assert caught.value.code == "approvals_unavailable"
    assert caught.value.hint == "start `agentguard worker approvals`"
    house.work()
    wait_for(lambda: is_worked_on(house.server))
    assert engine.open(draft(2, binding=draft().binding)).id == draft().id


def test_a_question_whose_caller_died_is_begun_by_a_worker(house: House) -> None:
    """The store has it, Temporal does not."""
    house.store.add(begin(draft(), SystemClock().now()))
    house.work()
    engine = house.engine()
    until(engine, draft().id, lambda each: each.recorded == 1)


def test_a_vote_on_a_question_whose_caller_died_begins_it(house: House) -> None:
    house.work()
    house.store.add(begin(draft(), SystemClock().now()))
    assert approve(house.engine(), draft()).state is ApprovalState.APPROVED


def test_what_has_ended_takes_no_move(house: House) -> None:
    house.work()
    engine = house.engine()
    asked = engine.open(draft())
    engine.apply(asked.id, CastVote(person=ANNA, origin=HERE, approves=False))
    until(engine, asked.id, lambda each: not each.has_work)
    for _ in range(3):
        with pytest.raises(ApprovalError) as caught:
            approve(engine, asked, BEN)
        assert caught.value.code == "approval_closed"
    refused = [each for each in house.log.records if each["status"] == "refused"]
    assert [each["by"] for each in refused] == ["ben"] * 3


def test_a_stand_in_and_a_delegate_vote(house: House) -> None:
    house.rules = Rules(stand_ins=(Delegation("anna", "ben"),))
    house.work()
    engine = house.engine()
    only_anna = Route(people=("anna",), limit_s=60)
    asked = engine.open(draft(route=only_anna))
    assert approve(engine, asked, BEN).votes[0].in_place_of == "anna"
    again = engine.open(draft(2, route=only_anna))
    engine.apply(again.id, Delegate(person=ANNA, origin=HERE, to="cara"))
    assert approve(engine, again, CARA).votes[0].in_place_of == "anna"
    with pytest.raises(ApprovalError) as caught:
        engine.apply(engine.open(draft(3)).id, Delegate(person=ANNA, origin=HERE, to="nobody"))
    assert caught.value.code == "delegate_refused"


def test_a_change_that_could_not_be_let_through_is_refused(house: House) -> None:
    house.work()
    engine = house.engine(check_edit=lambda _, patch: "too many" if patch == {"replicas": 99} else None)
    asked = engine.open(draft())
    with pytest.raises(ApprovalError) as caught:
        approve(engine, asked, patch={"replicas": 99})
    assert caught.value.code == "patch_refused"
    made = approve(engine, asked, patch={"replicas": 2})
    assert (made.edition, made.patch) == (1, {"replicas": 2})


def test_who_waits_elsewhere_goes_on_with_the_vote(house: House, tmp_path: Path) -> None:
    house.work()
    engine = house.engine()
    asked = engine.open(draft())
    came: list[Approval] = []
    other = TemporalEngine(
        SqliteApprovalStore(tmp_path / "approvals.sqlite"), server=house.server, audit=house.log
    )
    waiter = threading.Thread(
        target=lambda: came.append(until(other, asked.id, lambda each: each.state is ApprovalState.APPROVED))
    )
    waiter.start()
    approve(engine, asked)
    waiter.join(DEADLINE_S)
    other.close()
    assert came[0].state is ApprovalState.APPROVED


def test_what_the_store_has_lost_is_kept_there_again(house: House, tmp_path: Path) -> None:
    house.work()
    engine = house.engine()
    asked = engine.open(draft())
    house.store._file.base.execute("DELETE FROM approvals")
    with pytest.raises(ApprovalError):
        approve(engine, asked)
    house.store.add(replace(asked, revision=0))
    assert approve(engine, asked).state is ApprovalState.APPROVED
    use = Consume(binding=asked.binding, policy_version="sha256:now")
    assert engine.apply(asked.id, use).state is ApprovalState.CONSUMED


@pytest.mark.parametrize("namespace", ["agentguard", "elsewhere"])
def test_a_server_that_is_not_there_is_told(namespace: str, temporal_server: Server, tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}" if namespace == "agentguard" else temporal_server.url
    house = House(address, tmp_path, namespace=namespace)
    worker = TemporalWorker(house.store, server=house.server, audit=house.log, rules=house.rules)
    with pytest.raises(ApprovalError) as caught:
        worker.run()
    assert caught.value.code == "approvals_unavailable"
    assert ("cannot be reached" if namespace == "agentguard" else "no namespace `elsewhere`") in str(
        caught.value
    )
    house.close()

"""One suite for every `ApprovalStore`."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

import approval_rigs
from agentguard.backends import MemoryApprovalStore
from agentguard.core import (
    Approval,
    ApprovalError,
    ApprovalFilter,
    ApprovalState,
    ApprovalStore,
    GlassBreak,
    Step,
    StepKind,
)
from approval_scene import HERE, START, draft

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ALL = ApprovalFilter()
STORES: dict[str, tuple[Callable[[Path], ApprovalStore], str]] = {
    "memory": (lambda _: MemoryApprovalStore(), ""),
    **approval_rigs.STORES,
}


@pytest.fixture(
    params=[
        pytest.param(name, marks=[pytest.mark.services] if service else [])
        for name, (_, service) in STORES.items()
    ]
)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ApprovalStore]:
    make, service = STORES[request.param]
    if service:
        request.getfixturevalue(service)
    made = make(tmp_path)
    yield made
    made.close()


def begun(number: int = 1, state: ApprovalState = ApprovalState.PENDING) -> Approval:
    steps = (Step(StepKind.OPENED, START, "deploy-agent"),)
    return draft(number, state=state, steps=steps, recorded=1, noticed=1)


def changed(approval: Approval, **changes: object) -> Approval:
    return replace(approval, revision=approval.revision + 1, **changes)


def ids(store: ApprovalStore, wanted: ApprovalFilter = ALL) -> list[str]:
    return [each.approval.id for each in store.read(wanted)]


def test_what_is_added_comes_back_as_it_was(store: ApprovalStore) -> None:
    made = begun()
    assert store.add(made) == made
    assert store.get(made.id) == made
    assert store.get("ap-nobody-has-asked") is None


def test_of_one_binding_only_one_is_pending(store: ApprovalStore) -> None:
    first = store.add(begun())
    again = replace(begun(2), binding=first.binding)
    assert store.add(again) == first
    assert store.swap(changed(first, state=ApprovalState.DENIED), revision=0)
    assert store.add(again) == again


def test_an_id_is_taken_once(store: ApprovalStore) -> None:
    store.add(begun())
    with pytest.raises(ApprovalError):
        store.add(replace(begun(2), id=begun().id))


def test_a_change_needs_the_revision_that_is_there(store: ApprovalStore) -> None:
    made = store.add(begun())
    after = changed(made, state=ApprovalState.APPROVED)
    assert not store.swap(after, revision=1)
    assert store.swap(after, revision=0)
    assert not store.swap(changed(made, state=ApprovalState.DENIED), revision=0)
    assert store.get(made.id) == after
    assert not store.swap(replace(after, id="ap-nobody-has-asked"), revision=1)


def test_of_many_who_change_one_revision_one_wins(store: ApprovalStore) -> None:
    made = store.add(begun(state=ApprovalState.APPROVED))
    won: list[bool] = []
    gate = threading.Barrier(8)

    def use() -> None:
        gate.wait()
        won.append(store.swap(changed(made, state=ApprovalState.CONSUMED), revision=0))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(won) == [False] * 7 + [True]


def test_who_reads_on_sees_each_change_at_its_last_place(store: ApprovalStore) -> None:
    one, two = store.add(begun(1)), store.add(begun(2))
    seen = store.read(ALL)
    assert [each.approval.id for each in seen] == [one.id, two.id]
    assert seen[0].seq < seen[1].seq
    store.swap(changed(one, state=ApprovalState.APPROVED), revision=0)
    (news,) = store.read(ALL, after=seen[1].seq)
    assert news.approval.state is ApprovalState.APPROVED
    assert ids(store) == [two.id, one.id]
    assert store.read(ALL, after=news.seq) == []


def test_a_limit_takes_the_first_or_the_newest(store: ApprovalStore) -> None:
    for number in range(1, 6):
        store.add(begun(number))
    numbers = [int(each.approval.id[3:], 16) for each in store.read(ALL, limit=2)]
    assert numbers == [1, 2]
    numbers = [int(each.approval.id[3:], 16) for each in store.read(ALL, limit=2, newest=True)]
    assert numbers == [4, 5]


def test_filters_choose(store: ApprovalStore) -> None:
    pending = store.add(begun(1))
    done = begun(2, ApprovalState.DENIED)
    unknown = replace(begun(3, ApprovalState.CONSUMED), effect_unknown=True, consumed_at=START)
    glass = GlassBreak("root", "it burns", START, HERE)
    broken = replace(begun(4, ApprovalState.EXPIRED), glass=glass, principal="other-agent")
    unwritten = replace(begun(5, ApprovalState.DENIED), recorded=0)
    for each in (done, unknown, broken, unwritten):
        store.add(each)
    chosen = {
        "pending": ApprovalFilter((ApprovalState.PENDING,)),
        "two states": ApprovalFilter((ApprovalState.PENDING, ApprovalState.CONSUMED)),
        "principal": ApprovalFilter(principal="other-agent"),
        "work": ApprovalFilter(has_work=True),
        "unknown": ApprovalFilter(effect_unknown=True),
        "review": ApprovalFilter(awaits_review=True),
    }
    assert {name: ids(store, wanted) for name, wanted in chosen.items()} == {
        "pending": [pending.id],
        "two states": [pending.id, unknown.id],
        "principal": [broken.id],
        "work": [pending.id, unwritten.id],
        "unknown": [unknown.id],
        "review": [broken.id],
    }


def test_a_closed_store_says_so(store: ApprovalStore) -> None:
    store.close()
    store.close()
    with pytest.raises(ApprovalError) as caught:
        store.get("ap-1")
    assert caught.value.code == "approvals_closed"

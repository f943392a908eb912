"""Callers of the gateway who need an approval: held while people decide, or told to come back."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import msgspec
import pytest

from agentguard.approvals import EmbeddedEngine, Router
from agentguard.backends import MemoryApprovalStore
from agentguard.config import ApprovalSettings
from agentguard.core import (
    Action,
    ApprovalFilter,
    CastVote,
    Decision,
    Effect,
    Principal,
    Request,
    Risk,
    Sensitivity,
)
from agentguard.gateway._asking import Desk
from agentguard.gateway._door import approval_of
from agentguard.gateway._refusal import RefusalError, refuse_decision
from agentguard.pdp import ApprovalDesk, PolicyDecisionPoint, World
from agentguard.policy import parse_policies
from agentguard.registry import ActionRegistry, Inventory, ResourceEntry
from approval_scene import ANNA, HERE, ListLog

if TYPE_CHECKING:
    from collections.abc import Iterator

RULES = "version: 1\nrules: [{id: ask, effect: require_approval, reason: a person decides}]\n"
REQUEST = Request(Principal("agent"), "llm.chat", "llm/openai/gpt", {})


@pytest.fixture
def engine() -> Iterator[EmbeddedEngine]:
    made = EmbeddedEngine(MemoryApprovalStore(), audit=ListLog())
    yield made
    made.close()


def point(engine: EmbeddedEngine) -> PolicyDecisionPoint:
    registry = ActionRegistry.build([Action("llm.chat", 1, "Talk", Risk.LOW, {"type": "object"})])
    inventory = Inventory.build([ResourceEntry("llm/openai/gpt", "llm", "", Sensitivity.PUBLIC)], [])
    desk = ApprovalDesk(lambda: engine, Router(ApprovalSettings()), commit=str)
    return PolicyDecisionPoint(World(registry, inventory, parse_policies(RULES)), audit=ListLog(), desk=desk)


def decide(engine: EmbeddedEngine, hold_s: float, request: Request = REQUEST) -> Decision:
    desk = Desk(point(engine), None, blocking=False, on_decision=None, hold_s=hold_s)
    try:
        return asyncio.run(desk.decide(request))
    finally:
        asyncio.run(desk.close())


def vote_soon(engine: EmbeddedEngine, *, approves: bool) -> threading.Thread:
    def vote() -> None:
        while not (found := engine.find(ApprovalFilter())):
            threading.Event().wait(0.01)
        engine.apply(found[0].approval.id, CastVote(person=ANNA, origin=HERE, approves=approves))

    thread = threading.Thread(target=vote)
    thread.start()
    return thread


@pytest.mark.parametrize(("approves", "effect"), [(True, Effect.ALLOW), (False, Effect.DENY)])
def test_a_caller_is_held_until_people_have_said(
    engine: EmbeddedEngine, effect: Effect, *, approves: bool
) -> None:
    voting = vote_soon(engine, approves=approves)
    assert decide(engine, 20.0).effect is effect
    voting.join()


def test_who_is_not_answered_in_time_is_told_what_to_come_back_with(engine: EmbeddedEngine) -> None:
    decision = decide(engine, 0.05)
    refusal = refuse_decision(decision)
    assert (refusal.status, refusal.code) == (403, "approval_required")
    assert (b"x-agentguard-approval", decision.approval.encode()) in refusal.headers()
    assert decision.approval in refusal.message
    body = msgspec.json.decode(refusal.body("/openai/v1/chat/completions"))
    assert body["error"]["approval"] == decision.approval
    engine.apply(decision.approval, CastVote(person=ANNA, origin=HERE, approves=True))
    again = msgspec.structs.replace(REQUEST, approval=decision.approval)
    assert decide(engine, 0.0, again).effect is Effect.ALLOW


def test_the_approval_is_one_id_in_a_header() -> None:
    assert approval_of([(b"x-other", b"1")]) == ""
    assert approval_of([(b"x-agentguard-approval", b"ap-1")]) == "ap-1"
    for headers in ([(b"x-agentguard-approval", b"ap 1")], [(b"x-agentguard-approval", b"ap-1")] * 2):
        with pytest.raises(RefusalError):
            approval_of(headers)

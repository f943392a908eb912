from __future__ import annotations

from datetime import timedelta

import pytest

from agentguard.approvals import Rules, advance, begin, make_move, notice_of
from agentguard.core import (
    Approval,
    CastVote,
    Consume,
    Delegate,
    Escalation,
    MarkUnknown,
    Move,
    Notice,
    NoticeKind,
    Quorum,
    Risk,
    Route,
    Severity,
)
from approval_scene import ANNA, BEN, HERE, PEOPLE, START, draft

ROUTE = Route("r", ("anna",), ("ops",), Quorum(2), (Escalation(60.0, ("cara",), ("leads",)),), limit_s=3600.0)
TEN = START + timedelta(seconds=10)


def told(approval: Approval) -> list[Notice]:
    found = [notice_of(approval, number) for number in range(len(approval.steps))]
    return [each for each in found if each is not None]


def moved(approval: Approval, *moves: Move) -> Approval:
    for move in moves:
        approval = make_move(approval, move, TEN, Rules(), PEOPLE.get)
    return approval


def test_each_step_is_told_to_whom_it_concerns() -> None:
    approval = begin(draft(route=ROUTE), START)
    approval = advance(approval, START + timedelta(seconds=61))
    approval = moved(approval, Delegate(person=BEN, origin=HERE, to="cara"))
    pending, escalated, delegated = told(approval)
    assert (pending.people, pending.groups) == (("anna", "cara"), ("leads", "ops"))
    assert (escalated.kind, escalated.people, escalated.groups) == (
        NoticeKind.APPROVAL_ESCALATED,
        ("cara",),
        ("leads",),
    )
    assert (delegated.kind, delegated.people) == (NoticeKind.APPROVAL_DELEGATED, ("cara",))
    assert ("needs", "2 people") in pending.fields
    assert pending.links == (("approval", f"/approvals/{approval.id}"),)
    assert len({each.id for each in told(approval)}) == 3


@pytest.mark.parametrize("risk", Risk)
def test_the_risk_is_the_severity(risk: Risk) -> None:
    (notice,) = told(begin(draft(risk=risk), START))
    assert notice.severity is Severity(risk.value)


def test_an_edit_and_an_unknown_effect_are_told() -> None:
    edit = CastVote(person=ANNA, origin=HERE, approves=True, patch={"replicas": 1})
    use = Consume(binding=draft().binding, policy_version="")
    approval = moved(begin(draft(params={"text": "x" * 5000}), START), edit, use, MarkUnknown())
    kinds = [each.kind for each in told(approval)]
    assert kinds == [
        NoticeKind.APPROVAL_PENDING,
        NoticeKind.APPROVAL_PENDING,
        NoticeKind.APPROVAL_DECIDED,
        NoticeKind.APPROVAL_EFFECT_UNKNOWN,
    ]
    shown = dict(told(approval)[1].fields)["parameters"]
    assert (len(shown), shown[-1]) == (2001, "…")

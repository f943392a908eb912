from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agentguard.approvals import Rules, advance, begin, make_move
from agentguard.core import (
    APPROVER,
    Approval,
    ApprovalError,
    ApprovalState,
    BreakGlass,
    Cancel,
    CastVote,
    Consume,
    Defer,
    Delegate,
    Delegation,
    Dispatch,
    Escalation,
    Finish,
    MarkUnknown,
    Person,
    Quorum,
    ReviewGlass,
    Route,
    StepKind,
)
from approval_scene import ANNA, BEN, BOTH, CARA, HERE, PEOPLE, ROOT, START, VIEWER, draft

if TYPE_CHECKING:
    from agentguard.core import Move

S = ApprovalState
OPS = Route("ops", groups=("ops",), limit_s=3600.0)
TEN = START + timedelta(seconds=10)
RULES = Rules(glass_groups=frozenset({"leads"}), defer_most_s=7200.0)
OLGA = Person("Olga", frozenset({APPROVER}))


def vote(person: Person, *, approves: bool = True, **more: Any) -> CastVote:
    return CastVote(person=person, origin=HERE, approves=approves, **more)


def glass(person: Person, reason: str = "it burns") -> BreakGlass:
    return BreakGlass(person=person, origin=HERE, reason=reason)


def review(person: Person) -> ReviewGlass:
    return ReviewGlass(person=person, origin=HERE, justified=True)


def defer(person: Person, for_s: float = 60.0) -> Defer:
    return Defer(person=person, origin=HERE, for_s=for_s)


def delegate(person: Person, to: str) -> Delegate:
    return Delegate(person=person, origin=HERE, to=to)


def use(*, released: bool = False) -> Consume:
    return Consume(binding=draft().binding, policy_version="sha256:now", released=released)


def after(*moves: Move, route: Route | None = None, rules: Rules = RULES) -> Approval:
    approval = begin(draft(route=route), START)
    for move in moves:
        approval = make_move(approval, move, TEN, rules, PEOPLE.get)
    return approval


FINISH = Finish(by="deploy-agent", status="succeeded")
GONE = Cancel(why="withdrawn", by="deploy-agent")

LEADS_TO = [
    ((), None, S.PENDING),
    ((vote(ANNA),), None, S.APPROVED),
    ((vote(ANNA, approves=False),), None, S.DENIED),
    ((vote(ANNA),), OPS, S.APPROVED),
    ((vote(ANNA),), Route(people=("anna",)), S.APPROVED),
    ((vote(ANNA),), BOTH, S.PENDING),
    ((vote(ANNA), vote(BEN)), BOTH, S.APPROVED),
    ((vote(ANNA), vote(BEN, approves=False)), BOTH, S.DENIED),
    ((vote(ANNA, approves=False),), Route(quorum=Quorum(2, 2)), S.PENDING),
    ((vote(ANNA, approves=False), vote(BEN, approves=False)), Route(quorum=Quorum(2, 2)), S.DENIED),
    # An edit makes a new question: what others said of the old one falls.
    ((vote(ANNA), vote(BEN, patch={"replicas": 2})), BOTH, S.PENDING),
    ((vote(ANNA), vote(BEN, patch={"replicas": 2}), vote(ANNA, edition=1)), BOTH, S.APPROVED),
    ((defer(ANNA), vote(ANNA)), None, S.APPROVED),
    ((delegate(ANNA, "cara"), vote(CARA)), Route(people=("anna",)), S.APPROVED),
    ((glass(ROOT),), BOTH, S.APPROVED),
    ((glass(CARA),), Route(people=("anna",)), S.APPROVED),
    ((GONE,), None, S.CANCELLED),
    ((vote(ANNA), GONE), None, S.CANCELLED),
    ((Cancel(why="stale"),), None, S.CANCELLED),
    ((vote(ANNA), use()), None, S.CONSUMED),
    ((use(released=True),), None, S.CONSUMED),
    ((vote(ANNA), use(released=True)), None, S.CONSUMED),
    ((vote(ANNA), use(), Dispatch(audit_id="e"), FINISH), None, S.CONSUMED),
    ((vote(ANNA), use(), MarkUnknown(), FINISH), None, S.CONSUMED),
]


@pytest.mark.parametrize(("moves", "route", "state"), LEADS_TO)
def test_moves_lead_to_a_state(moves: tuple[Move, ...], route: Route | None, state: ApprovalState) -> None:
    assert after(*moves, route=route).state is state


REFUSED = [
    ((vote(VIEWER),), None, "approval_not_yours"),
    ((vote(ROOT),), None, "approval_not_yours"),
    ((vote(CARA),), OPS, "approval_not_yours"),
    ((vote(CARA),), Route(people=("anna",)), "approval_not_yours"),
    ((vote(Person("deploy-agent", frozenset({APPROVER}))),), None, "approval_own_request"),
    ((vote(OLGA),), None, "approval_own_request"),
    ((vote(ANNA), vote(ANNA)), BOTH, "approval_voted"),
    ((vote(ANNA), vote(BEN)), None, "approval_closed"),
    ((vote(ANNA, edition=1),), None, "approval_changed"),
    ((vote(ANNA, patch={"replicas": 2}), vote(BEN, edition=0)), BOTH, "approval_changed"),
    ((vote(ANNA, approves=False, patch={}),), None, "approval_invalid"),
    ((vote(ANNA, note="x" * 2001),), None, "approval_invalid"),
    ((defer(ANNA, 0.0),), None, "approval_invalid"),
    ((defer(ANNA, float("nan")),), None, "approval_invalid"),
    ((defer(ANNA, 7201.0),), None, "defer_refused"),
    ((defer(ANNA, 7200.0), defer(ANNA, 1.0)), None, "defer_refused"),
    ((defer(CARA),), OPS, "approval_not_yours"),
    ((delegate(ANNA, "nobody"),), None, "delegate_refused"),
    ((delegate(ANNA, "vera"),), None, "delegate_refused"),
    ((delegate(ANNA, "anna"),), None, "delegate_refused"),
    ((delegate(ANNA, "cara"), vote(ANNA)), Route(people=("anna",)), "approval_not_yours"),
    ((delegate(ANNA, "cara"), delegate(CARA, "ben")), Route(people=("anna",)), "delegate_refused"),
    ((delegate(ANNA, "cara"), vote(CARA), vote(CARA)), Route(people=("anna", "ben"), quorum=Quorum(2)), "approval_voted"),
    ((glass(ANNA),), None, "glass_refused"),
    ((glass(ROOT, " "),), None, "glass_refused"),
    ((glass(Person("olga", frozenset({"admin"}))),), None, "approval_own_request"),
    ((vote(ANNA), glass(ROOT)), None, "approval_closed"),
    ((review(ANNA),), None, "review_refused"),
    ((glass(ROOT), review(ROOT)), None, "review_refused"),
    ((glass(ROOT), review(VIEWER)), None, "review_refused"),
    ((glass(ROOT), review(OLGA)), None, "approval_own_request"),
    ((glass(ROOT), review(ANNA), review(BEN)), None, "review_refused"),
    ((Cancel(why="withdrawn", by="other-agent"),), None, "approval_not_yours"),
    ((GONE, GONE), None, "approval_closed"),
    ((use(),), None, "approval_pending"),
    ((vote(ANNA, approves=False), use()), None, "approval_closed"),
    ((vote(ANNA, approves=False), use(released=True)), None, "approval_closed"),
    ((vote(ANNA), use(), use()), None, "approval_used"),
    ((vote(ANNA), use(), use(released=True)), None, "approval_used"),
    ((vote(ANNA), use(), GONE), None, "approval_used"),
    ((vote(ANNA), Consume(binding="sha256:other", policy_version="")), None, "approval_mismatch"),
    ((Dispatch(audit_id="e"),), None, "approval_closed"),
    ((vote(ANNA), use(), Dispatch(audit_id="e"), Dispatch(audit_id="f")), None, "approval_used"),
    ((vote(ANNA), use(), MarkUnknown(), MarkUnknown()), None, "approval_closed"),
    ((vote(ANNA), use(), FINISH, FINISH), None, "approval_finished"),
    ((vote(ANNA), use(), Finish(by="other-agent", status="failed")), None, "approval_not_yours"),
]  # fmt: skip


@pytest.mark.parametrize(("moves", "route", "code"), REFUSED)
def test_a_move_is_refused_and_says_why(moves: tuple[Move, ...], route: Route | None, code: str) -> None:
    before = after(*moves[:-1], route=route)
    with pytest.raises(ApprovalError) as caught:
        make_move(before, moves[-1], TEN, RULES, PEOPLE.get)
    assert caught.value.code == code


def test_a_spelling_that_looks_the_same_is_the_same_person() -> None:
    cyrillic = Person("оlga", frozenset({APPROVER}))  # noqa: RUF001 - the point
    with pytest.raises(ApprovalError) as caught:
        after(vote(cyrillic))
    assert caught.value.code == "approval_own_request"


STAND_IN = Delegation("anna", "cara", since=START, until=START + timedelta(days=1))


@pytest.mark.parametrize(
    ("since_s", "find", "holds"),
    [
        (-10, PEOPLE.get, True),
        (60, PEOPLE.get, False),
        (-90_000, PEOPLE.get, False),
        (-10, lambda _: None, False),
        (-10, Person, False),
    ],
    ids=["in time", "too early", "too late", "giver has no account", "giver is no approver"],
)
def test_a_stand_in_votes_while_it_holds(since_s: float, find: Any, *, holds: bool) -> None:
    since = START + timedelta(seconds=since_s)
    rules = Rules((Delegation("anna", "cara", since, since + timedelta(days=1)),))
    approval = begin(draft(route=Route(people=("anna",))), START)
    if not holds:
        with pytest.raises(ApprovalError):
            make_move(approval, vote(CARA), TEN, rules, find)
        return
    done = make_move(approval, vote(CARA), TEN, rules, find)
    assert (done.state, done.votes[0].in_place_of) == (S.APPROVED, "anna")


def test_one_voice_counts_once_whoever_says_it() -> None:
    route = Route(people=("anna", "ben"), quorum=Quorum(2))
    rules = Rules((STAND_IN,))
    spoken = after(vote(CARA), route=route, rules=rules)
    assert spoken.state is S.PENDING
    with pytest.raises(ApprovalError) as caught:
        make_move(spoken, vote(ANNA), TEN, rules, PEOPLE.get)
    assert caught.value.code == "approval_voted"
    assert make_move(spoken, vote(BEN), TEN, rules, PEOPLE.get).state is S.APPROVED


def test_who_asked_cannot_give_a_vote_away() -> None:
    rules = Rules((Delegation("olga", "cara"),))
    people = {**PEOPLE, "olga": Person("olga", frozenset({APPROVER}))}
    approval = begin(draft(route=Route(people=("olga", "ben"))), START)
    with pytest.raises(ApprovalError):
        make_move(approval, vote(CARA), TEN, rules, people.get)


LATER = Escalation(60.0, people=("cara",))
STAGES = Route(
    "stages", people=("anna",), escalations=(LATER, Escalation(120.0, groups=("ops",))), limit_s=300
)


@pytest.mark.parametrize(
    ("seconds", "escalated", "state"),
    [(59, 0, S.PENDING), (60, 1, S.PENDING), (130, 2, S.PENDING), (300, 2, S.EXPIRED), (9999, 2, S.EXPIRED)],
)
def test_time_alone_escalates_and_ends(seconds: float, escalated: int, state: ApprovalState) -> None:
    approval = begin(draft(route=STAGES), START)
    then = advance(approval, START + timedelta(seconds=seconds))
    assert (then.escalated, then.state) == (escalated, state)
    assert advance(then, START + timedelta(seconds=seconds)) is then


def test_whom_it_escalates_to_may_vote_from_then_on() -> None:
    approval = begin(draft(route=STAGES), START)
    with pytest.raises(ApprovalError):
        make_move(approval, vote(CARA), TEN, RULES, PEOPLE.get)
    later = START + timedelta(seconds=61)
    assert make_move(advance(approval, later), vote(CARA), later, RULES, PEOPLE.get).state is S.APPROVED


def test_a_delay_moves_what_is_still_to_come() -> None:
    approval = make_move(begin(draft(route=STAGES), START), defer(ANNA, 600.0), TEN, RULES, PEOPLE.get)
    assert approval.deadline == START + timedelta(seconds=900)
    assert advance(approval, START + timedelta(seconds=659)).escalated == 0
    assert advance(approval, START + timedelta(seconds=661)).escalated == 1


def test_at_zero_a_route_may_let_it_through() -> None:
    approval = begin(draft(route=Route(limit_s=60, at_zero="allow")), START)
    then = advance(approval, START + timedelta(seconds=61))
    assert (then.state, then.steps[-1].note) == (
        S.APPROVED,
        "nobody objected in time, and the route lets it through then",
    )


def test_what_is_approved_and_not_used_in_time_expires() -> None:
    approved = after(vote(ANNA))
    assert approved.deadline == TEN + timedelta(seconds=3600)
    assert advance(approved, TEN + timedelta(seconds=3600)).state is S.EXPIRED


def test_an_approval_does_not_grow_without_end() -> None:
    approval = begin(draft(), START)
    full = replace(approval, steps=approval.steps * 200)
    with pytest.raises(ApprovalError):
        make_move(full, defer(ANNA), TEN, RULES)
    # What lets the caller go on is never refused for that.
    assert make_move(full, GONE, TEN, RULES).state is S.CANCELLED


def test_each_move_is_a_step_that_says_who_and_from_where() -> None:
    approval = after(vote(ANNA, note="fine"), use(), Dispatch(audit_id="e-1"), FINISH)
    assert [step.kind for step in approval.steps] == [
        StepKind.OPENED,
        StepKind.VOTED,
        StepKind.APPROVED,
        StepKind.CONSUMED,
        StepKind.DISPATCHED,
        StepKind.FINISHED,
    ]
    voted = approval.steps[1]
    assert (voted.by, voted.origin, voted.note) == ("anna", HERE, "fine")


MOVES = st.sampled_from(
    [
        vote(ANNA), vote(BEN), vote(CARA, approves=False), vote(ANNA, patch={"replicas": 1}), defer(BEN),
        delegate(ANNA, "cara"), glass(ROOT), review(ANNA), GONE, use(), use(released=True),
        Dispatch(audit_id="e"), MarkUnknown(), FINISH, vote(OLGA), vote(VIEWER),
    ]
)  # fmt: skip


@given(st.lists(st.tuples(MOVES, st.floats(0, 2000)), max_size=30))
def test_whatever_happens_it_is_used_at_most_once_and_only_with_two_voices(
    moves: list[tuple[Move, float]],
) -> None:
    approval, now, uses = begin(draft(route=BOTH), START), START, 0
    for move, seconds in moves:
        now += timedelta(seconds=seconds)
        approval = advance(approval, now)
        before = approval
        try:
            approval = make_move(approval, move, now, RULES, PEOPLE.get)
        except ApprovalError:
            assert approval is before
            continue
        assert len(approval.steps) > len(before.steps)
        assert before.steps == approval.steps[: len(before.steps)]
        if isinstance(move, Consume):
            uses += 1
            people = {
                each.person for each in before.votes if each.approves and each.edition == before.edition
            }
            assert move.released or before.glass is not None or len(people) >= 2
    assert uses <= 1

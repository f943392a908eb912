"""The state machine: one move on one approval at one time. Pure, so that every engine runs the same one."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from agentguard.approvals._rules import (
    Rules,
    check_glass,
    check_other,
    check_reviewer,
    current_votes,
    find_nobody,
    voice_of,
)
from agentguard.core import (
    APPROVER,
    ActionResult,
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
    Finish,
    GlassBreak,
    GlassReview,
    MarkUnknown,
    Move,
    ReviewGlass,
    Step,
    StepKind,
    Vote,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from agentguard.approvals._rules import FindPerson

MAX_NOTE = 2000
# So that an approval stays small however many people play with it.
MAX_STEPS = 200
_WHY = {
    "withdrawn": "withdrawn by who asked",
    "denied_by_policy": "the policy in force denies it",
    "stale": "what was asked about is not the same any more",
}


def begin(draft: Approval, at: datetime) -> Approval:
    """Return a new approval that waits from `at` on for as long as its route says."""
    return replace(
        draft,
        state=ApprovalState.PENDING,
        opened_at=at,
        deadline=at + timedelta(seconds=draft.route.limit_s),
        steps=(Step(StepKind.OPENED, at, draft.principal, note=draft.purpose[:MAX_NOTE]),),
    )


def make_move(
    approval: Approval, move: Move, at: datetime, rules: Rules, find_person: FindPerson = find_nobody
) -> Approval:
    """Return what a move makes of an approval that time has brought to `at`.

    Raises:
        ApprovalError: it is refused; `code` says why. Nothing has changed.
    """
    if len(approval.steps) >= MAX_STEPS and isinstance(move, CastVote | Defer | Delegate | ReviewGlass):
        raise ApprovalError("too much has happened to this already", code="approval_invalid")
    if len(_words(move)) > MAX_NOTE:
        raise ApprovalError(f"a note has at most {MAX_NOTE} characters", code="approval_invalid")
    return _Making(approval, at, rules, find_person).make(move)


def _words(move: Move) -> str:
    return getattr(move, "note", "") or getattr(move, "reason", "") or getattr(move, "detail", "")


class _Making:
    """One move being made."""

    def __init__(self, approval: Approval, at: datetime, rules: Rules, find_person: FindPerson) -> None:
        self._approval = approval
        self._at = at
        self._rules = rules
        self._find_person = find_person

    def make(self, move: Move) -> Approval:
        made: Callable[[Any], Approval] = _MOVES[type(move)].__get__(self)
        return made(move)

    def _vote(self, move: CastVote) -> Approval:
        approval = self._pending()
        self._check_edition(move.edition)
        in_place_of = voice_of(approval, move.person, self._rules, self._find_person, self._at)
        if move.patch is not None:
            if not move.approves:
                raise ApprovalError("a denial changes nothing", code="approval_invalid")
            approval = self._edited(move)
        vote = Vote(
            move.person.name, move.approves, self._at, move.origin, move.note, in_place_of, approval.edition
        )
        details: dict[str, Any] = {"approves": move.approves, "edition": approval.edition}
        if in_place_of:
            details["in_place_of"] = in_place_of
        step = self._step(StepKind.VOTED, move, move.note, details)
        approval = replace(approval, votes=(*approval.votes, vote), steps=(*approval.steps, step))
        return self._counted(approval)

    def _edited(self, move: CastVote) -> Approval:
        approval = self._approval
        step = self._step(StepKind.EDITED, move, move.note, {"edition": approval.edition + 1})
        return replace(
            approval, patch=move.patch, edition=approval.edition + 1, steps=(*approval.steps, step)
        )

    def _counted(self, approval: Approval) -> Approval:
        votes, quorum = current_votes(approval), approval.route.quorum
        denials = [vote.person for vote in votes if not vote.approves]
        approvals = [vote.person for vote in votes if vote.approves]
        if len(denials) >= quorum.deny:
            return _ended(approval, ApprovalState.DENIED, StepKind.DENIED, self._at, _by("denied", denials))
        if len(approvals) < quorum.approve:
            return approval
        return self._approved(approval, _by("approved", approvals))

    def _approved(self, approval: Approval, note: str) -> Approval:
        # Who asked gets the same time again to act on it.
        deadline = self._at + timedelta(seconds=approval.route.limit_s)
        passed = _ended(approval, ApprovalState.APPROVED, StepKind.APPROVED, self._at, note)
        return replace(passed, deadline=deadline)

    def _defer(self, move: Defer) -> Approval:
        approval = self._pending()
        voice_of(approval, move.person, self._rules, self._find_person, self._at)
        most = self._rules.defer_most_s
        if not move.for_s > 0:
            raise ApprovalError("a delay is longer than nothing", code="approval_invalid")
        if approval.deferred_s + move.for_s > most:
            raise ApprovalError(
                f"an approval can be deferred by {most:g} s in all, and {approval.deferred_s:g} s are used",
                code="defer_refused",
                hint="see `approvals.defer_most_s`",
            )
        step = self._step(StepKind.DEFERRED, move, move.note, {"for_s": move.for_s})
        return replace(
            approval,
            deferred_s=approval.deferred_s + move.for_s,
            deadline=approval.deadline + timedelta(seconds=move.for_s),
            steps=(*approval.steps, step),
        )

    def _delegate(self, move: Delegate) -> Approval:
        approval = self._pending()
        if voice_of(approval, move.person, self._rules, self._find_person, self._at):
            raise ApprovalError(
                f"`{move.person.name}` has no vote of their own to give away", code="delegate_refused"
            )
        taker = self._find_person(move.to)
        if taker is None or APPROVER not in taker.roles:
            hint = "name somebody with the role `approver`"
            raise ApprovalError(f"`{move.to}` is no approver", code="delegate_refused", hint=hint)
        if taker.name == move.person.name:
            raise ApprovalError("nobody stands in for themselves", code="delegate_refused")
        check_other(approval, taker.name)
        given = Delegation(move.person.name, taker.name, since=self._at)
        step = self._step(StepKind.DELEGATED, move, move.note, {"to": taker.name})
        return replace(approval, delegations=(*approval.delegations, given), steps=(*approval.steps, step))

    def _break_glass(self, move: BreakGlass) -> Approval:
        approval = self._pending()
        self._check_edition(move.edition)
        check_glass(approval, move.person, self._rules)
        if not move.reason.strip():
            raise ApprovalError("breaking the glass needs a reason", code="glass_refused", hint="say why")
        glass = GlassBreak(move.person.name, move.reason, self._at, move.origin)
        step = self._step(StepKind.GLASS_BROKEN, move, move.reason, {})
        approval = replace(approval, glass=glass, steps=(*approval.steps, step))
        return self._approved(approval, f"the glass was broken by {move.person.name}: {move.reason}")

    def _review(self, move: ReviewGlass) -> Approval:
        check_reviewer(self._approval, move.person)
        review = GlassReview(move.person.name, move.justified, self._at, move.origin, move.note)
        step = self._step(StepKind.REVIEWED, move, move.note, {"justified": move.justified})
        return replace(self._approval, review=review, steps=(*self._approval.steps, step))

    def _cancel(self, move: Cancel) -> Approval:
        approval = self._approval
        if not approval.state.is_open:
            raise closed(approval)
        if move.why == "withdrawn" and move.by != approval.principal:
            raise ApprovalError("only who asked can withdraw it", code="approval_not_yours")
        note = f"{_WHY[move.why]}: {move.note}" if move.note else _WHY[move.why]
        step = Step(StepKind.CANCELLED, self._at, move.by, note=note, details={"why": move.why})
        return replace(approval, state=ApprovalState.CANCELLED, steps=(*approval.steps, step))

    def _consume(self, move: Consume) -> Approval:
        approval = self._approval
        if move.binding != approval.binding:
            raise ApprovalError("the approval is for another request", code="approval_mismatch")
        if not approval.state.is_open:
            raise closed(approval)
        if approval.state is ApprovalState.PENDING and not move.released:
            raise ApprovalError("nobody has approved this yet", code="approval_pending")
        kind = StepKind.RELEASED if move.released else StepKind.CONSUMED
        note = "the policy in force lets it through" if move.released else ""
        details = {"policy_version": move.policy_version}
        step = Step(kind, self._at, approval.principal, note=note, details=details)
        return replace(
            approval,
            state=ApprovalState.CONSUMED,
            consumed_at=self._at,
            steps=(*approval.steps, step),
        )

    def _dispatch(self, move: Dispatch) -> Approval:
        approval = self._consumed()
        if approval.dispatched:
            raise ApprovalError("it was dispatched before", code="approval_used")
        details = {"decision": move.audit_id}
        step = Step(StepKind.DISPATCHED, self._at, approval.principal, details=details)
        return replace(approval, dispatched=move.audit_id, steps=(*approval.steps, step))

    def _mark_unknown(self, move: MarkUnknown) -> Approval:
        del move
        approval = self._consumed()
        if approval.effect_unknown:
            raise ApprovalError("it is marked already", code="approval_closed")
        step = Step(StepKind.EFFECT_UNKNOWN, self._at, note="dispatched, effect unknown")
        return replace(approval, effect_unknown=True, steps=(*approval.steps, step))

    def _finish(self, move: Finish) -> Approval:
        approval = self._consumed()
        if move.by != approval.principal:
            raise ApprovalError("only who asked can say what came of it", code="approval_not_yours")
        result = ActionResult(move.status, self._at, move.detail)
        step = Step(StepKind.FINISHED, self._at, move.by, note=move.detail, details={"outcome": move.status})
        return replace(approval, result=result, effect_unknown=False, steps=(*approval.steps, step))

    def _pending(self) -> Approval:
        if self._approval.state is not ApprovalState.PENDING:
            raise closed(self._approval)
        return self._approval

    def _consumed(self) -> Approval:
        approval = self._approval
        if approval.state is not ApprovalState.CONSUMED:
            raise ApprovalError(f"it is {approval.state.value}, not consumed", code="approval_closed")
        if approval.result is not None:
            raise ApprovalError("it is known already what came of it", code="approval_finished")
        return approval

    def _check_edition(self, edition: int | None) -> None:
        if edition is not None and edition != self._approval.edition:
            raise ApprovalError(
                "the request was changed since it was shown",
                code="approval_changed",
                hint="look at it again, then vote",
            )

    def _step(
        self,
        kind: StepKind,
        move: CastVote | Defer | Delegate | BreakGlass | ReviewGlass,
        note: str,
        details: dict[str, Any],
    ) -> Step:
        return Step(kind, self._at, move.person.name, move.origin, note, details)


_MOVES: dict[type, Any] = {
    CastVote: _Making._vote,  # noqa: SLF001 - the class's own table
    Defer: _Making._defer,  # noqa: SLF001 - as above
    Delegate: _Making._delegate,  # noqa: SLF001 - as above
    BreakGlass: _Making._break_glass,  # noqa: SLF001 - as above
    ReviewGlass: _Making._review,  # noqa: SLF001 - as above
    Cancel: _Making._cancel,  # noqa: SLF001 - as above
    Consume: _Making._consume,  # noqa: SLF001 - as above
    Dispatch: _Making._dispatch,  # noqa: SLF001 - as above
    MarkUnknown: _Making._mark_unknown,  # noqa: SLF001 - as above
    Finish: _Making._finish,  # noqa: SLF001 - as above
}


def closed(approval: Approval) -> ApprovalError:
    """Return the refusal of a move that comes too late; `approval_used` where it is used up."""
    if approval.state is ApprovalState.CONSUMED:
        return ApprovalError("the approval is used up", code="approval_used", hint="ask again")
    return ApprovalError(f"the approval is {approval.state.value}", code="approval_closed")


def _ended(approval: Approval, state: ApprovalState, kind: StepKind, at: datetime, note: str) -> Approval:
    return replace(approval, state=state, steps=(*approval.steps, Step(kind, at, note=note)))


def _by(what: str, people: list[str]) -> str:
    return f"{what} by {', '.join(people)}"

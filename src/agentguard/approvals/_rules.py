"""Who may do what to an approval."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from agentguard.core import (
    ADMIN,
    APPROVER,
    Approval,
    ApprovalError,
    ApprovalState,
    CastVote,
    Delegation,
    Person,
    Vote,
    fold_spelling,
)

if TYPE_CHECKING:
    from datetime import datetime

    from agentguard.core import Move

# Who has an account of this name.
FindPerson: TypeAlias = Callable[[str], Person | None]
# Why a change to the parameters could not be let through, None if it could.
CheckEdit: TypeAlias = Callable[[Approval, dict[str, object]], str | None]


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What holds for all approvals: who stands in for whom, who may break the glass, the limits in seconds."""

    stand_ins: tuple[Delegation, ...] = ()
    glass_groups: frozenset[str] = frozenset()
    defer_most_s: float = 86_400.0
    outcome_within_s: float = 300.0


def find_nobody(_name: str) -> Person | None:
    """Know no person, as where there are no accounts."""
    return None


def voice_of(approval: Approval, person: Person, rules: Rules, find_person: FindPerson, at: datetime) -> str:
    """Return in whose place a person votes, the empty text for their own voice.

    Raises:
        ApprovalError: they may not vote on this (`approval_not_yours`, `approval_own_request`) or have voted
            (`approval_voted`).
    """
    check_other(approval, person.name)
    if APPROVER not in person.roles:
        raise _not_yours(f"`{person.name}` is no approver", hint="ask an admin for the role `approver`")
    spoken = {(vote.in_place_of or vote.person) for vote in current_votes(approval)}
    if person.name in {vote.person for vote in current_votes(approval)}:
        raise ApprovalError(f"`{person.name}` has voted on this", code="approval_voted")
    given = {each.giver for each in approval.delegations}
    if is_asked(approval, person) and person.name not in given:
        if person.name in spoken:
            raise ApprovalError(f"somebody has voted in the place of `{person.name}`", code="approval_voted")
        return ""
    for each in (*approval.delegations, *rules.stand_ins):
        if each.taker != person.name or not each.holds(at) or each.giver in spoken:
            continue
        giver = find_person(each.giver)
        if giver is None or APPROVER not in giver.roles or is_same(giver.name, approval):
            continue
        if is_asked(approval, giver):
            return each.giver
    if person.name in given:
        raise _not_yours(f"`{person.name}` has given this vote away")
    raise _not_yours(f"`{person.name}` is not among those who decide on this")


def is_asked(approval: Approval, person: Person) -> bool:
    """Tell whether the route names a person, by now; a route that names nobody asks all."""
    people, groups = asked(approval)
    if not approval.route.people and not approval.route.groups:
        return True
    return person.name in people or not groups.isdisjoint(person.groups)


def asked(approval: Approval) -> tuple[frozenset[str], frozenset[str]]:
    """Return the people and the groups that are asked by now, escalations included."""
    steps = approval.route.escalations[: approval.escalated]
    people = (*approval.route.people, *(name for step in steps for name in step.people))
    groups = (*approval.route.groups, *(name for step in steps for name in step.groups))
    return frozenset(people), frozenset(groups)


def check_other(approval: Approval, name: str) -> None:
    """Separation of duties: who asked, or on whose behalf, has no say.

    Raises:
        ApprovalError: it is one of them (`approval_own_request`).
    """
    if is_same(name, approval):
        raise ApprovalError(
            f"`{name}` asked for this, or it was asked on their behalf",
            code="approval_own_request",
            hint="somebody else has to decide",
        )


def is_same(name: str, approval: Approval) -> bool:
    """Tell whether a name is that of the principal or of one on whose behalf it acts, however it is spelt."""
    folded = fold_spelling(name)
    return any(fold_spelling(each) == folded for each in (approval.principal, *approval.on_behalf_of))


def check_glass(approval: Approval, person: Person, rules: Rules) -> None:
    """Pass for who may break the glass.

    Raises:
        ApprovalError: they may not (`glass_refused`, `approval_own_request`).
    """
    check_other(approval, person.name)
    if ADMIN not in person.roles and rules.glass_groups.isdisjoint(person.groups):
        raise ApprovalError(
            f"`{person.name}` may not break the glass",
            code="glass_refused",
            hint="people with the role `admin` may, and members of `approvals.glass_groups`",
        )


def check_reviewer(approval: Approval, person: Person) -> None:
    """Pass for who may review a broken glass: an approver or admin, not who broke it, nor who asked.

    Raises:
        ApprovalError: they may not (`review_refused`, `approval_own_request`).
    """
    check_other(approval, person.name)
    if approval.glass is None:
        raise ApprovalError("no glass was broken here", code="review_refused")
    if approval.review is not None:
        raise ApprovalError(f"`{approval.review.person}` has reviewed this", code="review_refused")
    if fold_spelling(approval.glass.person) == fold_spelling(person.name):
        hint = "somebody else has to review it"
        raise ApprovalError(f"`{person.name}` broke the glass", code="review_refused", hint=hint)
    if person.roles.isdisjoint((APPROVER, ADMIN)):
        raise ApprovalError(f"`{person.name}` is neither approver nor admin", code="review_refused")


def check_patch(approval: Approval, move: Move, check_edit: CheckEdit | None) -> None:
    """Pass for a move that changes nothing, or something that could be let through.

    Raises:
        ApprovalError: it could not (`patch_refused`).
    """
    if check_edit is None or not isinstance(move, CastVote) or move.patch is None:
        return
    problem = check_edit(approval, move.patch)
    if problem is not None and approval.state is ApprovalState.PENDING:
        raise ApprovalError(f"the change cannot be let through: {problem}", code="patch_refused")


def current_votes(approval: Approval) -> tuple[Vote, ...]:
    """Return the votes on the request as it stands by now."""
    return tuple(vote for vote in approval.votes if vote.edition == approval.edition)


def _not_yours(message: str, *, hint: str | None = None) -> ApprovalError:
    return ApprovalError(message, code="approval_not_yours", hint=hint)

"""What is said about approvals over HTTP: one struct a body, JSON.

`GET /v1/approvals` answers an `ApprovalList`, `GET /v1/approvals/{id}` the `Approval` to people and an
`ApprovalStatus` to the principal who asked. `POST /v1/approvals/{id}/vote` takes a `VoteCall`, `…/defer` a
`DeferCall`, `…/delegate` a `DelegateCall`, `…/break-glass` a `GlassCall`, `…/review` a `ReviewCall`, `…/cancel` a
`CancelCall`, and each answers what the `GET` does. `POST /v1/approvals/wait` takes a `WaitCall` and answers an
`ApprovalStatus`. Who it is that speaks is never in a body.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from agentguard.core.approval import Approval, ApprovalState, StepKind

MAX_NOTE = 2000
Note = Annotated[str, Meta(max_length=MAX_NOTE)]
_REASONS = frozenset(
    (
        StepKind.APPROVED,
        StepKind.DENIED,
        StepKind.EXPIRED,
        StepKind.CANCELLED,
        StepKind.CONSUMED,
        StepKind.RELEASED,
        StepKind.GLASS_BROKEN,
    )
)


class ApprovalStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the principal who asked may know: where it stands, until when it waits, and why it ended so."""

    id: str
    state: ApprovalState
    revision: int
    deadline: datetime
    note: str = ""

    @classmethod
    def of(cls, approval: Approval) -> ApprovalStatus:
        """Return what is to be told of an approval."""
        notes = [step.note for step in approval.steps if step.kind in _REASONS]
        note = notes[-1] if notes else ""
        return cls(approval.id, approval.state, approval.revision, approval.deadline, note)


class WaitCall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Waits up to `timeout_s` seconds, as far as the server holds so many, until an approval is decided.

    `principal` is whose it is, as in a `CheckCall`.
    """

    approval: Annotated[str, Meta(max_length=100)]
    timeout_s: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    principal: str | None = None


class ApprovalList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Approvals by their last change, oldest first; `next` goes on after them, None at the end."""

    approvals: tuple[Approval, ...]
    next: int | None = None


class VoteCall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Approves or denies what was seen as `edition`; with `patch` approves a change (`CastVote`)."""

    approve: bool
    note: Note = ""
    edition: int | None = None
    patch: dict[str, Any] | None = None


class DeferCall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Moves the deadline by `for_s` seconds."""

    for_s: Annotated[float, Meta(gt=0, le=30 * 86_400)]
    note: Note = ""


class DelegateCall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Gives one's vote to the person with the name `to`."""

    to: Annotated[str, Meta(min_length=1, max_length=200)]
    note: Note = ""


class GlassCall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Lets the action through in an emergency, for a `reason`."""

    reason: Note
    edition: int | None = None


class ReviewCall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Says afterwards whether an emergency was justified."""

    justified: bool
    note: Note = ""


class CancelCall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The principal who asked does not want it any more."""

    note: Note = ""

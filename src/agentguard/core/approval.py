"""Approvals: what a person is asked, who may answer, and what came of it."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from agentguard.core.person import Origin
from agentguard.core.resource import Risk


class ApprovalState(enum.Enum):
    """Where an approval stands. Only `pending` takes votes, and only `approved` can be consumed."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    CONSUMED = "consumed"

    @property
    def is_open(self) -> bool:
        """Whether something can still come of it: it is pending, or approved and not used."""
        return self in (ApprovalState.PENDING, ApprovalState.APPROVED)


class Quorum(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How many different people it takes: `approve` of them to approve, `deny` of them to deny."""

    approve: Annotated[int, Meta(ge=1, le=20)] = 1
    deny: Annotated[int, Meta(ge=1, le=20)] = 1


class Escalation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Who else is asked, and may vote, when nobody has decided `after_s` seconds after the request."""

    after_s: Annotated[float, Meta(gt=0, le=30 * 86_400)]
    people: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


class Route(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Who decides on one approval, and what happens when nobody does.

    Who is named, or is in a group that is named, may vote; without either everybody with the role `approver` may.
    `at_zero` is the outcome when the time is up.
    """

    name: str = "default"
    people: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    quorum: Quorum = Quorum()
    escalations: tuple[Escalation, ...] = ()
    limit_s: float = 3600.0
    at_zero: Literal["deny", "allow"] = "deny"


class Delegation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`taker` may vote in the place of `giver`, from `since` (inclusive) to `until` (exclusive), both aware.

    Left out, there is no such bound.
    """

    giver: str
    taker: str
    since: datetime | None = None
    until: datetime | None = None

    def holds(self, at: datetime) -> bool:
        """Tell whether it holds at a time."""
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


class Vote(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One person's word. `in_place_of` is who gave it to them, empty where it is their own.

    `edition` is what they voted on: 0 for the request as it was made, and one more with each edit.
    """

    person: str
    approves: bool
    at: datetime
    origin: Origin
    note: str = ""
    in_place_of: str = ""
    edition: int = 0


class GlassBreak(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An emergency: one person let the action through past route and quorum, and somebody else has to review it."""

    person: str
    reason: str
    at: datetime
    origin: Origin


class GlassReview(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What another person says of it afterwards."""

    person: str
    justified: bool
    at: datetime
    origin: Origin
    note: str = ""


class ActionResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What came of the action that an approval let through, as its principal reported it."""

    status: Literal["succeeded", "failed", "refused"]
    at: datetime
    detail: str = ""


class StepKind(enum.Enum):
    """What can happen to an approval; each is one audit record and one event."""

    OPENED = "opened"
    VOTED = "voted"
    EDITED = "edited"
    DEFERRED = "deferred"
    DELEGATED = "delegated"
    ESCALATED = "escalated"
    GLASS_BROKEN = "glass_broken"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    CONSUMED = "consumed"
    # The policy in force lets the action through by itself, so the approval is used up without a vote.
    RELEASED = "released"
    DISPATCHED = "dispatched"
    EFFECT_UNKNOWN = "effect_unknown"
    FINISHED = "finished"
    REVIEWED = "reviewed"


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One thing that happened to an approval; `by` is a person or a principal, empty where it was the clock."""

    kind: StepKind
    at: datetime
    by: str = ""
    origin: Origin | None = None
    note: str = ""
    details: dict[str, Any] = {}


class Approval(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A question to people about one request, and the answer. It lets one action through once.

    `binding` is the hash of principal, delegation chain, action, resource, parameters and policy version; `basis`
    the hash of what asked: the rule, or the stage where no rule did. In `params`, the decided ones, secrets stand
    as commitments. `about` is what else an approver should know of action and resource. `patch` is an edit by an
    approver, a JSON merge patch (RFC 7396) to the parameters, and `edition` counts the edits.

    `revision` grows by one with each change. `steps` is all that happened; the first `recorded` of them are in the
    audit log, the first `noticed` have been told to people. `dispatched` is the audit id of the decision that let
    the action through; while there is no `result` then, nobody knows its effect.
    """

    id: str
    binding: str
    basis: str
    principal: str
    on_behalf_of: tuple[str, ...] = ()
    action: str
    resource: str
    params: dict[str, Any] = {}
    policy_version: str = ""
    rule: str | None = None
    reason: str
    purpose: str = ""
    session: str = ""
    task: str = ""
    correlation_id: str = ""
    risk: Risk
    about: dict[str, str] = {}
    route: Route
    opened_at: datetime
    deadline: datetime
    # Written out also where it is the default: who reads the JSON looks for it first.
    state: ApprovalState = msgspec.field(default_factory=lambda: ApprovalState.PENDING)
    revision: int = 0
    votes: tuple[Vote, ...] = ()
    delegations: tuple[Delegation, ...] = ()
    patch: dict[str, Any] | None = None
    edition: int = 0
    escalated: int = 0
    deferred_s: float = 0.0
    glass: GlassBreak | None = None
    review: GlassReview | None = None
    consumed_at: datetime | None = None
    dispatched: str = ""
    result: ActionResult | None = None
    effect_unknown: bool = False
    steps: tuple[Step, ...] = ()
    recorded: int = 0
    noticed: int = 0

    @property
    def is_effect_unknown(self) -> bool:
        """Whether it is used up and nobody has said what came of the action."""
        return self.state is ApprovalState.CONSUMED and self.result is None

    @property
    def awaits_review(self) -> bool:
        """Whether the glass was broken and nobody has reviewed that."""
        return self.glass is not None and self.review is None

    @property
    def has_work(self) -> bool:
        """Whether the engine still has to do something with it: wait, record or tell."""
        written = min(self.recorded, self.noticed) >= len(self.steps)
        unmarked = self.is_effect_unknown and not self.effect_unknown
        return self.state.is_open or unmarked or not written


class ApprovalFilter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which approvals to read; what is left out lets all through.

    `has_work`, `effect_unknown` and `awaits_review` ask for those of which the property of that name is true.
    """

    states: tuple[ApprovalState, ...] = ()
    principal: str = ""
    has_work: bool = False
    effect_unknown: bool = False
    awaits_review: bool = False

    def matches(self, approval: Approval) -> bool:
        """Tell whether an approval passes."""
        return (
            (not self.states or approval.state in self.states)
            and (not self.principal or approval.principal == self.principal)
            and (not self.has_work or approval.has_work)
            and (not self.effect_unknown or approval.is_effect_unknown)
            and (not self.awaits_review or approval.awaits_review)
        )


class StoredApproval(msgspec.Struct, frozen=True):
    """An approval and the place of its last change; places grow, and none is used twice."""

    seq: int
    approval: Approval

"""Moves: what people, callers and the clock do to an approval. An engine applies each wholly, or refuses it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from agentguard.core.person import Origin, Person


class _ByPerson(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="move"):
    """Somebody's own act: `person` comes from their login, `origin` from the server, never from a body."""

    person: Person
    origin: Origin


class CastVote(_ByPerson, frozen=True, kw_only=True, tag="vote"):
    """A vote. `edition` is what the voter has seen; None compares nothing.

    With `patch`, a JSON merge patch (RFC 7396), the parameters are changed and the change is approved: earlier
    votes were on something else and fall.
    """

    approves: bool
    note: str = ""
    edition: int | None = None
    patch: dict[str, Any] | None = None


class Defer(_ByPerson, frozen=True, kw_only=True, tag="defer"):
    """Not now: the deadline and what is still to escalate move by `for_s` seconds."""

    for_s: float
    note: str = ""


class Delegate(_ByPerson, frozen=True, kw_only=True, tag="delegate"):
    """Gives one's vote on this approval to somebody else."""

    to: str
    note: str = ""


class BreakGlass(_ByPerson, frozen=True, kw_only=True, tag="break_glass"):
    """Lets the action through in an emergency, past route and quorum."""

    reason: str
    edition: int | None = None


class ReviewGlass(_ByPerson, frozen=True, kw_only=True, tag="review"):
    """Says of an emergency afterwards whether it was justified."""

    justified: bool
    note: str = ""


class Cancel(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="move", tag="cancel"
):
    """Ends it: its principal gave up, the policy denies by now, or what was asked about is not the same any more."""

    why: Literal["withdrawn", "denied_by_policy", "stale"]
    by: str = ""
    note: str = ""


class Consume(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="move", tag="consume"
):
    """Uses it up, before the effect. `binding` must be the approval's own.

    With `released` the policy in force lets the action through by itself; then no vote is needed.
    """

    binding: str
    policy_version: str
    released: bool = False


class Dispatch(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="move", tag="dispatch"
):
    """The decision that used it up is on record as `audit_id`."""

    audit_id: str


class MarkUnknown(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="move",
    tag="mark_unknown",
):
    """Nobody has said in time what came of the action."""


class Finish(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="move", tag="finish"
):
    """What came of the action, as its principal `by` says; the first word counts."""

    by: str
    status: Literal["succeeded", "failed", "refused"]
    detail: str = ""


Move = (
    CastVote
    | Defer
    | Delegate
    | BreakGlass
    | ReviewGlass
    | Cancel
    | Consume
    | Dispatch
    | MarkUnknown
    | Finish
)

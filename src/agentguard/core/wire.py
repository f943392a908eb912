"""What a client and the sidecar say to each other: one struct a body, JSON over HTTP.

`POST /v1/check` takes a `CheckCall` and answers a `CheckReply`; `/v1/check/plan` a `PlanCall` and a
`PlanReply`; `/v1/outcome` an `Outcome`, `/v1/observe` an `ObserveCall` and `/v1/vouch` a `VouchCall`, and answer
nothing (204); `/v1/regrade` takes a `RegradeCall` and answers a `CheckReply`. `/v1/tickets/consume` takes a
`TicketCall` and answers the `Ticket`, `/v1/tickets/revoke` a `TicketRevocation` and a `TicketRevocationReply`. Every
4xx and 5xx answers an `ErrorBody`. `/v1/login` takes a `LoginCall` and answers a `LoginReply`, `/v1/me` a `WhoReply`.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from agentguard.core.decision import Decision
from agentguard.core.label import Integrity
from agentguard.core.principal import Principal
from agentguard.core.request import Context
from agentguard.core.resource import Sensitivity

# In the environment of what `agentguard run` launches: the run's id. A client says it to the sidecar in a header, as
# `RUN` or `RUN/PID`. Whoever asks can write anything there, so it only narrows which deeds a decision can excuse.
RUN_VARIABLE = "AGENTGUARD_RUN"
RUN_HEADER = "AgentGuard-Run"

# Fresh for each call and said again in the reply, so that an answer to something else is noticed. Who calls by
# hand may leave it out.
RequestId = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]

# In a `Request` to a remote decider: nobody is named, so the principal is the one whose token it is. Its empty
# id belongs to nobody; a decider that has no token to go by denies it.
TOKEN_PRINCIPAL = Principal(id="")


class PlanStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One step of a plan; `params` is hostile."""

    action: str
    resource: str
    params: dict[str, Any] = {}


class CheckCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Asks for one decision. `principal` left out is the token's; another one needs `act_as`.

    `ticket_for` names the executor that an execution ticket is wanted for. `approval` and `observed` are as in a
    `Request`; the latter needs `act_as`: an agent that could ask without being counted could try its limits out.
    """

    action: str
    resource: str
    params: dict[str, Any] = {}
    context: Context | None = None
    principal: str | None = None
    trace: bool = False
    request_id: RequestId | None = None
    ticket_for: str = ""
    approval: str = ""
    observed: bool = False


class CheckReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The decision for the call with the same `request_id`."""

    request_id: RequestId | None
    decision: Decision


class PlanCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Asks for the decisions on a whole plan, in one context and for one principal."""

    steps: tuple[PlanStep, ...]
    context: Context | None = None
    principal: str | None = None
    request_id: RequestId | None = None


class PlanReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One decision a step, in the plan's order."""

    request_id: RequestId | None
    decisions: tuple[Decision, ...]


class ObserveCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Reports what an action gave back; `result` is hostile. `principal` is as in a `CheckCall`."""

    action: str
    resource: str = ""
    session: str = ""
    result: Any = None
    error: str = ""
    principal: str | None = None
    params: dict[str, Any] | None = None


class RegradeCall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Asks for a change of a label, as a `Regrade` says it.

    `principal` is whose session it is. `by` is who asks: left out, the token's principal; another one needs
    `act_as` or the admin token.
    """

    principal: str
    session: str
    action: str
    param: str
    reason: str
    source: str = ""
    value: str | None = None
    integrity: Integrity | None = None
    confidentiality: Sensitivity | None = None
    by: str | None = None
    request_id: RequestId | None = None


class VouchCall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Says that no model wrote `text`, as a `Vouched` does; `by` is as in a `RegradeCall`.

    `principal` left out is the token's.
    """

    text: str
    session: str
    source: str = "user"
    principal: str | None = None
    by: str | None = None


class TicketCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Uses a ticket up, for just this action; `params` is hostile. `principal` left out is not compared.

    The ticket's audience must be the principal whose token it is.
    """

    ticket: str
    action: str
    resource: str
    params: dict[str, Any] = {}
    principal: str | None = None


class TicketRevocation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Revokes the ticket with the id `jti`, if it is not used yet."""

    jti: str


class TicketRevocationReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`in_time` says that the ticket is not used and never will be; otherwise it was used before."""

    in_time: bool


class SessionCall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Opens a session with the user's words, as a `SessionOpening` does; answered by an `OpenedSession`.

    `tools` are the schemas of the tools, as their framework writes them. `principal` is whose session it is: left
    out, the token's; `by` is as in a `RegradeCall`.
    """

    intent: str
    tools: Any
    session: str = ""
    subject: tuple[str, ...] = ()
    principal: str | None = None
    by: str | None = None


class ErrorDetail(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`code` is a stable snake_case name, `hint` what to do about it."""

    code: str
    message: str
    hint: str | None = None


class ErrorBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of every HTTP error."""

    error: ErrorDetail


class LoginCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A name and its password."""

    name: str
    password: str


class LoginReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A person's token, for the header `Authorization`, and how many seconds it is good for at most."""

    token: str
    expires_in_s: int


class WhoReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who has logged in."""

    name: str
    roles: tuple[str, ...]
    groups: tuple[str, ...]

"""Judges what came back: a decision for exactly the request that was asked, or a reason to deny."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

import msgspec

from agentguard.core import (
    ApprovalStatus,
    CheckReply,
    Decision,
    Effect,
    ErrorBody,
    OpenedSession,
    PlanReply,
    PlanStep,
    RequestError,
    Ticket,
    TicketError,
    normalise_resource_id,
)

if TYPE_CHECKING:
    from agentguard.clients._channel import Answer
    from agentguard.core import CheckCall, PlanCall, RegradeCall, SessionCall, TicketCall, WaitCall

T = TypeVar("T")

MAX_QUOTE = 200
_OK = 200
_CONFLICT = 409
_TICKET_CODE = re.compile(r"ticket_[a-z_]{1,40}", re.ASCII)
_CLIENT_ERRORS = range(400, 500)
_NO_DECISION = "sidecar answered something else than a decision"
_ENCODER = msgspec.json.Encoder(order="deterministic")


class ReplyError(Exception):
    """The answer is no decision; the text says why. `is_alive`: the sidecar works, the call was wrong.

    `code` is the sidecar's own, where it answered an error.
    """

    def __init__(self, reason: str, *, is_alive: bool = False, code: str | None = None) -> None:
        super().__init__(reason)
        self.is_alive = is_alive
        self.code = code


def read_check(call: CheckCall, answer: Answer) -> Decision:
    """Return the decision in the answer to `call`.

    Raises:
        ReplyError: it is an error, of another shape, to another call, or lets something else through.
    """
    reply = _decode(answer, CheckReply)
    _check_id(call.request_id, reply.request_id)
    return _accept(reply.decision, PlanStep(call.action, call.resource, call.params), call.principal)


def read_plan(call: PlanCall, answer: Answer) -> list[Decision]:
    """Return the decisions in the answer to `call`, one a step.

    Raises:
        ReplyError: as `read_check`, for any of the steps, or they are more or fewer than the steps.
    """
    reply = _decode(answer, PlanReply)
    _check_id(call.request_id, reply.request_id)
    if len(reply.decisions) != len(call.steps):
        raise ReplyError(f"{_NO_DECISION}: {len(reply.decisions)} for {len(call.steps)} steps")
    pairs = zip(reply.decisions, call.steps, strict=True)
    return [_accept(decision, step, call.principal) for decision, step in pairs]


def read_regrade(call: RegradeCall, kind: str, answer: Answer) -> Decision:
    """Return the decision in the answer to `call`, which is to do what `kind` names.

    Raises:
        ReplyError: it is an error, of another shape, to another call, or on another action or principal.
    """
    reply = _decode(answer, CheckReply)
    _check_id(call.request_id, reply.request_id)
    decision = reply.decision
    if decision.effect is not Effect.DENY:
        if not is_same_action(kind, decision.action):
            raise ReplyError(f"{_NO_DECISION}: it is for another action")
        if call.by is not None and decision.principal != call.by:
            raise ReplyError(f"{_NO_DECISION}: it is for another principal")
    return decision


class TicketRefusedError(ReplyError):
    """The sidecar refuses the ticket; `error` says why."""

    def __init__(self, error: TicketError) -> None:
        super().__init__(error.message, is_alive=True)
        self.error = error


def read_consumed(call: TicketCall, digest: str, answer: Answer) -> Ticket:
    """Return the ticket that the answer says is used up; `digest` is that of the call's parameters.

    Raises:
        TicketRefusedError: it says that the ticket is refused.
        ReplyError: it is another error, of another shape, or about another deed.
    """
    if answer.status == _CONFLICT:
        try:
            error = msgspec.json.decode(answer.body, type=ErrorBody).error
        except (ValueError, RecursionError):
            raise _refusal(answer) from None
        if _TICKET_CODE.fullmatch(error.code):
            raise TicketRefusedError(TicketError(_quote(error.message), code=error.code))
    ticket = _decode(answer, Ticket)
    if (ticket.action, ticket.params_hash) != (call.action, digest) or not _is_same_resource(
        call.resource, ticket.resource
    ):
        raise ReplyError("sidecar answered with a ticket for something else")
    if call.principal is not None and ticket.principal != call.principal:
        raise ReplyError("sidecar answered with a ticket for another principal")
    return ticket


def read_session(call: SessionCall, answer: Answer) -> OpenedSession:
    """Return the session that the answer says is open.

    Raises:
        ReplyError: it says something else, or it is another one's.
    """
    opened = _decode(answer, OpenedSession)
    if (call.session and opened.session != call.session) or (
        call.principal is not None and opened.principal != call.principal
    ):
        raise ReplyError(f"{_NO_DECISION}: it is about another session")
    return opened


def read_status(call: WaitCall, answer: Answer) -> ApprovalStatus:
    """Return where the approval of `call` stands.

    Raises:
        ReplyError: the answer is an error, or is about something else.
    """
    status = _decode(answer, ApprovalStatus)
    if status.id != call.approval:
        raise ReplyError("sidecar answered about another approval")
    return status


def read_nothing(answer: Answer) -> None:
    """Return if the answer says that all is done (204).

    Raises:
        ReplyError: it says anything else.
    """
    if answer.status != 204:  # noqa: PLR2004 - No Content
        raise _refusal(answer)


def _decode(answer: Answer, kind: type[T]) -> T:
    if answer.status != _OK:
        raise _refusal(answer)
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except (ValueError, RecursionError):
        raise ReplyError(_NO_DECISION) from None


def _check_id(asked: str | None, answered: str | None) -> None:
    if asked != answered:
        raise ReplyError(f"{_NO_DECISION}: it is for another call")


def _accept(decision: Decision, step: PlanStep, principal: str | None) -> Decision:
    """Return the decision if it is about what was asked, as far as its effect depends on that."""
    if decision.effect is Effect.DENY:
        return decision
    if principal is not None and decision.principal != principal:
        raise ReplyError(f"{_NO_DECISION}: it is for another principal")
    if decision.effect is Effect.TRANSFORM:
        return decision
    if not is_same_action(step.action, decision.action):
        raise ReplyError(f"{_NO_DECISION}: it is for another action")
    if not _is_same_resource(step.resource, decision.resource):
        raise ReplyError(f"{_NO_DECISION}: it is for another resource")
    if decision.effect is Effect.ALLOW and not _is_same_json(step.params, decision.params):
        raise ReplyError(f"{_NO_DECISION}: it is for other parameters")
    return decision


def is_same_action(asked: str, decided: str) -> bool:
    """Tell whether `decided` is `asked`, or a version of it where none was asked for."""
    return decided == asked or ("@" not in asked and decided.partition("@")[0] == asked)


def _is_same_resource(asked: str, decided: str) -> bool:
    try:
        return normalise_resource_id(asked) == decided
    except RequestError:
        return False


def _is_same_json(asked: object, decided: object) -> bool:
    # Not `==`: to Python 1, 1.0 and true are equal.
    return _ENCODER.encode(asked) == _ENCODER.encode(decided)


def _refusal(answer: Answer) -> ReplyError:
    """Return what to make of an answer that is no 200: only an error of ours has words worth repeating."""
    is_alive = answer.status in _CLIENT_ERRORS
    try:
        error = msgspec.json.decode(answer.body, type=ErrorBody).error
    except (ValueError, RecursionError):
        return ReplyError(f"{_NO_DECISION}: HTTP status {answer.status}", is_alive=is_alive)
    words = _quote(error.message or error.code)
    if answer.status in (401, 403):
        return ReplyError(f"sidecar refused the token: {words}", is_alive=True, code=error.code)
    if is_alive:
        return ReplyError(f"sidecar refused the request: {words}", is_alive=True, code=error.code)
    return ReplyError(f"sidecar failed with HTTP status {answer.status}: {words}", code=error.code)


def _quote(text: str) -> str:
    """Return the peer's words as one printable line of at most 200 characters."""
    return "".join(char if char.isprintable() else " " for char in text[:MAX_QUOTE])

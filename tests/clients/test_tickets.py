from __future__ import annotations

import msgspec
import pytest

from agentguard.clients._channel import Answer
from agentguard.clients._reply import ReplyError, TicketRefusedError, read_consumed
from agentguard.core import Ticket, TicketCall, canonical_hash

CALL = TicketCall("a.b.c", "act@1", "a/b", {"n": 1}, "agent")
DIGEST = canonical_hash({"n": 1})
TICKET = Ticket("t-1", "i", "me", "agent", (), "act@1", "a/b", DIGEST, "e-1", 0.0, 60.0)


def answer(body: object, status: int = 200) -> Answer:
    return Answer(status, body if isinstance(body, bytes) else msgspec.json.encode(body))


def test_a_ticket_for_just_this_is_taken() -> None:
    assert read_consumed(CALL, DIGEST, answer(TICKET)) == TICKET


@pytest.mark.parametrize(
    "changes",
    [{"action": "act@2"}, {"resource": "a/c"}, {"params_hash": "sha256:0"}, {"principal": "another"}],
    ids=str,
)
def test_a_ticket_for_something_else_is_not(changes: dict[str, str]) -> None:
    with pytest.raises(ReplyError, match="answered with a ticket for"):
        read_consumed(CALL, DIGEST, answer(msgspec.structs.replace(TICKET, **changes)))


def test_a_refusal_keeps_its_code() -> None:
    body = {"error": {"code": "ticket_used", "message": "the ticket was\nused"}}
    with pytest.raises(TicketRefusedError) as error:
        read_consumed(CALL, DIGEST, answer(body, 409))
    assert (error.value.error.code, error.value.error.message) == ("ticket_used", "the ticket was used")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 200),
        (b"{}", 200),
        (b"", 409),
        ({"error": {"code": "other", "message": "no"}}, 409),
        ({"error": {"code": "ticket_used\n", "message": "no"}}, 409),
        ({"error": {"code": "ticket_used", "message": "no"}}, 500),
        (b"", 204),
    ],
)
def test_any_other_answer_is_none(body: object, status: int) -> None:
    with pytest.raises(ReplyError) as error:
        read_consumed(CALL, DIGEST, answer(body, status))
    assert not isinstance(error.value, TicketRefusedError)

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from agentguard import Guard, SidecarTickets
from agentguard.core import Ticket, TicketError
from agentguard.enforcement import KeyFile, read_ticket
from sidecar import ADMIN, AGENT, World, running
from tickets import ACTION, AUDIT_ID, PARAMS, RESOURCE, Desk, Moment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agentguard.enforcement import TicketStore
    from agentguard.server import Services
    from sidecar import Reply

# Whose token `AGENT` is; here it is the one that executes.
EXECUTOR = "deploy-agent"
CALL: dict[str, Any] = {"action": ACTION, "resource": RESOURCE, "params": PARAMS}


class TicketWorld(World):
    """A sidecar that keeps tickets."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        import time

        self.desk = Desk(folder, now=Moment(time.time()))
        self.store: TicketStore = self.desk.store()

    def services(self) -> Services:
        kept = {"ticket_keys": self.desk.keys, "ticket_store": self.store}
        services = super().services()
        for name, value in kept.items():
            object.__setattr__(services, name, value)
        return services

    def consume(self, text: str, token: str | None = AGENT, **changes: Any) -> Reply:
        return self.ask("POST", "/v1/tickets/consume", {"ticket": text, **CALL, **changes}, token)

    def noted(self) -> list[dict[str, Any]]:
        found = [record for record in self.log.records if record.get("type") == "ticket"]
        return [
            {name: each[name] for name in ("status", "code", "executor", "jti", "decision") if name in each}
            for each in found
        ]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[TicketWorld]:
    with running(TicketWorld(tmp_path)) as made:
        assert isinstance(made, TicketWorld)
        yield made
    made.store.close()


def test_a_ticket_is_used_up_once_and_both_is_on_record(world: TicketWorld) -> None:
    text = world.desk.issue(executor=EXECUTOR)
    reply = world.consume(text, principal="deploy-agent")
    assert reply.status == 200, reply.body
    ticket = msgspec.json.decode(reply.body, type=Ticket)
    assert (ticket.audit_id, ticket.audience) == (AUDIT_ID, EXECUTOR)
    again = world.consume(text)
    assert (again.status, again.code) == (409, "ticket_used")
    assert text.encode() not in again.body
    about = {"executor": EXECUTOR, "jti": ticket.jti, "decision": AUDIT_ID}
    assert world.noted() == [
        {"status": "consumed", **about},
        {"status": "refused", "code": "ticket_used", **about},
    ]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"action": "delete-deployment@1"}, "ticket_action"),
        ({"resource": "prod/billing"}, "ticket_resource"),
        ({"params": {}}, "ticket_params"),
        ({"principal": "another"}, "ticket_principal"),
        ({"ticket": "x"}, "ticket_malformed"),
    ],
)
def test_a_ticket_for_something_else_is_refused_on_record(
    world: TicketWorld, changes: dict[str, Any], code: str
) -> None:
    reply = world.consume(world.desk.issue(executor=EXECUTOR), **changes)
    assert (reply.status, reply.code) == (409, code)
    assert [(each["status"], each["code"]) for each in world.noted()] == [("refused", code)]


def test_only_the_executor_that_it_is_for_uses_a_ticket(world: TicketWorld) -> None:
    text = world.desk.issue(executor=EXECUTOR)
    assert world.consume(text, "pep-token").code == "ticket_audience"
    assert world.consume(text, None).status == 401
    assert world.consume(text, ADMIN).status == 401
    assert world.consume(text).status == 200


def test_a_call_with_a_key_twice_is_malformed(world: TicketWorld) -> None:
    text = world.desk.issue(executor=EXECUTOR)
    body = f'{{"ticket": "{text}", "action": "a", "action": "{ACTION}", "resource": "a/b"}}'.encode()
    assert world.ask("POST", "/v1/tickets/consume", body, AGENT).code == "json_invalid"
    twice = b'{"ticket": "x", "action": "a@1", "resource": "a/b", "params": {"n": 1, "n": 2}}'
    assert world.ask("POST", "/v1/tickets/consume", twice, AGENT).code == "json_invalid"


def test_of_many_at_once_exactly_one_wins(world: TicketWorld) -> None:
    text = world.desk.issue(executor=EXECUTOR)
    with ThreadPoolExecutor(8) as pool:
        statuses = [each.status for each in pool.map(lambda _: world.consume(text), range(8))]
    assert sorted(statuses) == [200, *[409] * 7]


def test_the_admin_revokes_a_ticket_in_time_or_is_told(world: TicketWorld) -> None:
    text, used = world.desk.issue(executor=EXECUTOR), world.desk.issue(executor=EXECUTOR)
    first, second = (read_ticket(each, world.desk.keys, now=world.desk.now).jti for each in (text, used))
    assert world.consume(used).status == 200
    assert world.ask("POST", "/v1/tickets/revoke", {"jti": first}, ADMIN).json() == {"in_time": True}
    assert world.ask("POST", "/v1/tickets/revoke", {"jti": second}, ADMIN).json() == {"in_time": False}
    assert world.consume(text).code == "ticket_revoked"
    assert world.ask("POST", "/v1/tickets/revoke", {"jti": ""}, ADMIN).code == "ticket_malformed"
    statuses = [each["status"] for each in world.noted()]
    assert statuses == ["consumed", "revoked", "revoked_late", "refused"]


@pytest.mark.parametrize(("token", "status"), [(None, 401), (AGENT, 403), ("pep-token", 403), ("x", 401)])
def test_nobody_else_revokes(world: TicketWorld, token: str | None, status: int) -> None:
    assert world.ask("POST", "/v1/tickets/revoke", {"jti": "a"}, token).status == status


def test_anybody_may_have_the_public_keys(world: TicketWorld, tmp_path: Path) -> None:
    reply = world.ask("GET", "/v1/tickets/keys")
    assert reply.status == 200
    file = tmp_path / "keys.json"
    file.write_bytes(reply.body)
    assert read_ticket(world.desk.issue(), KeyFile(file), now=world.desk.now).audit_id == AUDIT_ID
    (tmp_path / "agentguard" / world.desk.project / "ticket-keys.json").write_text("{}")
    assert world.ask("GET", "/v1/tickets/keys").code == "ticket_keys_unavailable"


def test_a_log_that_takes_no_record_lets_nothing_through(world: TicketWorld) -> None:
    text = world.desk.issue(executor=EXECUTOR)
    world.log.healthy = False
    reply = world.consume(text)
    assert (reply.status, reply.code) == (503, "audit_unavailable")
    assert world.consume("x").code == "ticket_malformed"
    assert world.ask("POST", "/v1/tickets/revoke", {"jti": "a"}, ADMIN).status == 503
    world.log.healthy = True
    assert world.consume(text).code == "ticket_used"


def test_a_store_that_breaks_lets_nothing_through(world: TicketWorld, tmp_path: Path) -> None:
    text = world.desk.issue(executor=EXECUTOR)
    for path in tmp_path.glob("tickets.sqlite*"):
        path.unlink()
    (tmp_path / "tickets.sqlite").mkdir()
    reply = world.consume(text)
    assert (reply.status, reply.code) == (503, "ticket_store_unavailable")
    assert [(each["status"], each["code"]) for each in world.noted()] == [
        ("refused", "ticket_store_unavailable")
    ]


def test_a_sidecar_without_a_store_refuses() -> None:
    with running(World()) as bare:
        call = {"ticket": "a.b.c", **CALL}
        assert bare.ask("POST", "/v1/tickets/consume", call, AGENT).code == "ticket_store_missing"
        assert bare.ask("POST", "/v1/tickets/revoke", {"jti": "a"}, ADMIN).code == "ticket_store_missing"
        assert bare.ask("GET", "/v1/tickets/keys").code == "ticket_store_missing"


def test_a_check_hands_on_who_the_ticket_is_for_and_why_it_asks(world: TicketWorld) -> None:
    reply = world.check(ticket_for="deployer", context={"reason": "the index is full"})
    assert reply.status == 200
    (asked,) = world.decider.requests
    assert (asked.ticket_for, asked.context.reason) == ("deployer", "the index is full")


def remote(world: TicketWorld, token: str = AGENT) -> SidecarTickets:
    return SidecarTickets(f"http://127.0.0.1:{world.port}", token)


def test_an_executor_has_the_sidecar_use_its_tickets_up(world: TicketWorld) -> None:
    text = world.desk.issue(executor=EXECUTOR)
    with remote(world) as tickets:
        known = tickets.consume(text, principal="deploy-agent", **CALL)
        assert (known.audit_id, known.audience) == (AUDIT_ID, EXECUTOR)
        with pytest.raises(TicketError) as error:
            tickets.consume(text, **CALL)
        assert error.value.code == "ticket_used"
        written = json.dumps(PARAMS, indent=2).encode()
        assert tickets.consume(world.desk.issue(executor=EXECUTOR), **{**CALL, "params": written}).jti


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"action": "delete-deployment@1"}, "ticket_action"),
        ({"params": {"n": 2**53}}, "ticket_params"),
        ({"params": '{"n": 1, "n": 1}'}, "ticket_params"),
    ],
)
def test_an_executor_is_told_why_not(world: TicketWorld, changes: dict[str, Any], code: str) -> None:
    with remote(world) as tickets, pytest.raises(TicketError) as error:
        tickets.consume(world.desk.issue(executor=EXECUTOR), **{**CALL, **changes})
    assert error.value.code == code


def test_an_executor_that_gets_no_answer_does_nothing(world: TicketWorld, tmp_path: Path) -> None:
    text = world.desk.issue(executor=EXECUTOR)
    with remote(world, "expired") as tickets, pytest.raises(TicketError, match="refused the token") as error:
        tickets.consume(text, **CALL)
    assert error.value.code == "ticket_store_unavailable"
    for path in tmp_path.glob("tickets.sqlite*"):
        path.unlink()
    (tmp_path / "tickets.sqlite").mkdir()
    tickets = remote(world)
    with pytest.raises(TicketError, match="HTTP status 503"):
        tickets.consume(text, **CALL)
    tickets.close()
    with pytest.raises(TicketError, match="was closed"):
        tickets.consume(text, **CALL)


def test_a_guard_at_the_sidecar_asks_for_a_ticket_and_says_why(world: TicketWorld) -> None:
    with Guard.connect(f"http://127.0.0.1:{world.port}", AGENT) as guard:
        guard.check("restart-deployment", resource="staging/api", ticket_for="deployer", reason="it is full")
    (asked,) = world.decider.requests
    assert (asked.ticket_for, asked.context.reason) == ("deployer", "it is full")

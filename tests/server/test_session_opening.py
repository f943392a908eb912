"""`POST /v1/sessions`: who may say what a user wants, and a session over HTTP as the SDK has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agentguard.clients import EnforcementPoint, RemoteDecider
from agentguard.core import PrincipalKind, RequestError
from sidecar import ADMIN, World, running

if TYPE_CHECKING:
    from collections.abc import Iterator

TOOLS = [
    {
        "name": "send_email",
        "description": "Send an email",
        "input_schema": {"type": "object", "properties": {}},
    }
]
CALL = {"intent": "Write to Bob", "tools": TOOLS, "principal": "known-agent", "subject": ["emma"]}


@pytest.fixture
def world() -> Iterator[World]:
    with running(World()) as made:
        yield made


@pytest.mark.parametrize(
    ("token", "more", "by", "kind"),
    [
        ("pep-token", {}, "gateway", PrincipalKind.SERVICE),
        ("pep-token", {"by": "berta"}, "berta", PrincipalKind.HUMAN),
        (ADMIN, {}, "admin", PrincipalKind.HUMAN),
    ],
)
def test_those_who_vouch_open_sessions(
    world: World, token: str, more: dict[str, str], by: str, kind: PrincipalKind
) -> None:
    reply = world.ask("POST", "/v1/sessions", {**CALL, **more}, token)
    assert (reply.status, reply.json()["session"], reply.json()["principal"]) == (200, "s-9", "known-agent")
    (opening,) = world.sessions.opened
    assert (opening.intent, opening.subject, opening.tools) == ("Write to Bob", ("emma",), TOOLS)
    assert opening.by is not None
    assert (opening.by.id, opening.by.kind) == (by, kind)


@pytest.mark.parametrize(
    ("token", "body", "status", "code"),
    [
        ("agent-token", {**CALL, "principal": None}, 403, "vouch_refused"),
        ("agent-token", CALL, 403, "principal_not_vouched"),
        ("batch-token", {**CALL, "principal": None}, 403, "vouch_refused"),
        ("pep-token", {**CALL, "principal": "nobody"}, 403, "principal_unknown"),
        (ADMIN, {**CALL, "session": "taken"}, 409, "session_taken"),
        (ADMIN, {**CALL, "tools": []}, 400, "registry_invalid"),
        (ADMIN, {"intent": "x"}, 400, "shape_invalid"),
        ("", CALL, 401, "token_missing"),
    ],
)
def test_others_do_not(world: World, token: str, body: dict[str, Any], status: int, code: str) -> None:
    reply = world.ask("POST", "/v1/sessions", body, token)
    assert (reply.status, reply.json()["error"]["code"]) == (status, code)
    assert world.sessions.opened == []


def test_sdk_opens_a_session_over_http(world: World) -> None:
    point = EnforcementPoint(
        RemoteDecider(f"http://127.0.0.1:{world.port}", "pep-token"), principal="known-agent"
    )
    with point:
        session = point.session("mine", intent="Write to Bob", tools=TOOLS, subject="emma")
        assert (session.id, session.actions) == ("mine", {"send_email": "send-email"})
        session.observe({"tool": "send_email", "args": {"to": "bob"}}, "sent")
        (seen,) = world.decider.observed
        assert (seen.session, seen.params, seen.result) == ("mine", {"to": "bob"}, "sent")
        for tools, session_id in ((TOOLS, "taken"), ([], None), ({object()}, None)):
            with pytest.raises(RequestError):
                point.session(session_id, intent="Write to Bob", tools=tools)

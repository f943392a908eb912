from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from agentguard.core import RequestError
from agentguard.enforcement import TicketIssuer
from tickets import AUDIT_ID, NOW, PARAMS, Desk

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_ticket_is_a_compact_jws_with_these_claims(desk: Desk) -> None:
    head, body, _ = desk.issue().split(".")
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in (head, body))
    assert header == {"typ": "agentguard-ticket+jwt", "alg": "Ed25519", "kid": desk.keys.current()[0]}
    assert re.fullmatch(
        "[0-9a-f]{32}", claims.pop("jti")
    )  # one that began with `-` would be an option of a command
    assert claims.pop("params_hash").startswith("sha256:")
    assert claims == {
        "iss": "agentguard:demo-1234",
        "aud": "deployer",
        "sub": "deploy-agent",
        "on_behalf_of": ["release-bot", "ann"],
        "iat": NOW,
        "exp": NOW + 60,
        "action": "scale-deployment@1",
        "resource": "prod/api",
        "audit_id": AUDIT_ID,
    }


def test_no_two_tickets_are_the_same(desk: Desk) -> None:
    assert desk.issue() != desk.issue()


@pytest.mark.parametrize("executor", ["", "a\nb", "x" * 257, None, 5, "\x1b[31m"])
def test_what_is_no_name_gets_no_ticket(desk: Desk, executor: Any) -> None:
    with pytest.raises(RequestError, match="no executor's name"):
        desk.issue(executor=executor)


@pytest.mark.parametrize("value", [2**53, float("nan"), "\ud800", object()])
def test_parameters_without_a_canonical_form_get_no_ticket(desk: Desk, value: Any) -> None:
    with pytest.raises(RequestError):
        desk.issue({**PARAMS, "value": value})


def test_a_ticket_that_is_too_large_is_not_issued(desk: Desk) -> None:
    with pytest.raises(RequestError, match="larger than 8192 bytes"):
        desk.issue(resource="prod/" + "x" * 9000)


@pytest.mark.parametrize("ttl_s", [0, 61, -1])
def test_a_ticket_lives_a_minute_at_most(desk: Desk, ttl_s: int) -> None:
    with pytest.raises(ValueError, match="1 to 60"):
        TicketIssuer(desk.keys, ttl_s=ttl_s)

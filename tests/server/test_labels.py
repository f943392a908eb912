from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agentguard.core import Integrity, PrincipalKind, Sensitivity
from sidecar import ADMIN, REQUEST_ID, World, running

if TYPE_CHECKING:
    from collections.abc import Iterator

CHANGE = {
    "principal": "helper",
    "session": "s-1",
    "source": "tool:mail.read",
    "action": "mail.send",
    "param": "/to",
    "reason": "known",
}
ENDORSE = {**CHANGE, "integrity": "verified", "request_id": REQUEST_ID}
WORDS = {"principal": "helper", "session": "s-1", "text": "write to bob"}


@pytest.fixture
def world() -> Iterator[World]:
    with running(World()) as made:
        yield made


def test_person_endorses_and_declassifies(world: World) -> None:
    reply = world.ask("POST", "/v1/regrade", ENDORSE, "anna-token")
    assert (reply.status, reply.json()["request_id"]) == (200, REQUEST_ID)
    assert reply.json()["decision"]["effect"] == "allow"
    declassify = {**CHANGE, "confidentiality": "internal"}
    assert world.ask("POST", "/v1/regrade", declassify, "anna-token").status == 200
    first, second = world.labels.regrades
    assert (first.by.id, first.integrity, first.source) == ("anna", Integrity.VERIFIED, "tool:mail.read")
    assert (second.kind, second.confidentiality) == ("flow.declassify", Sensitivity.INTERNAL)
    assert (
        b'agentguard_decisions_total{effect="allow",stage="policy"} 2.0' in world.ask("GET", "/metrics").body
    )


ASKING = [
    ("anna-token", {}, "anna", PrincipalKind.HUMAN),
    ("pep-token", {"by": "berta"}, "berta", PrincipalKind.HUMAN),
    # An agent is asked about like any other, so that its attempt is on record.
    ("agent-token", {}, "deploy-agent", PrincipalKind.AGENT),
    (ADMIN, {}, "admin", PrincipalKind.HUMAN),
    (ADMIN, {"by": "berta"}, "berta", PrincipalKind.HUMAN),
]


@pytest.mark.parametrize(("token", "more", "by", "kind"), ASKING)
def test_who_asks_is_whom_the_token_proves_or_may_name(
    world: World, token: str, more: dict[str, str], by: str, kind: PrincipalKind
) -> None:
    assert world.ask("POST", "/v1/regrade", {**ENDORSE, **more}, token).status == 200
    (regrade,) = world.labels.regrades
    assert (regrade.by.id, regrade.by.kind) == (by, kind)


REFUSED = [
    ("agent-token", {"by": "berta"}, 403, "principal_not_vouched"),
    ("anna-token", {"by": "berta"}, 403, "principal_not_vouched"),
    ("batch-token", {}, 403, "regrade_not_vouched"),
    ("pep-token", {"by": "stranger"}, 403, "principal_unknown"),
    (ADMIN, {"by": "stranger"}, 403, "principal_unknown"),
    # An agent that may act as a person is still one where its own session is meant.
    ("pep-token", {"by": "berta", "principal": "gateway"}, 403, "regrade_not_vouched"),
    ("pep-token", {"by": "berta", "principal": "boss"}, 403, "regrade_not_vouched"),
    ("expired", {}, 401, "token_expired"),
    ("", {}, 401, "token_missing"),
    ("anna-token", {"confidentiality": "public"}, 400, "shape_invalid"),
    ("anna-token", {"value": "and a source"}, 400, "shape_invalid"),
    ("anna-token", {"integrity": "holy"}, 400, "shape_invalid"),
    ("anna-token", {"session": "s-2"}, 404, "session_unknown"),
]


@pytest.mark.parametrize(("token", "more", "status", "code"), REFUSED)
def test_what_is_refused_changes_nothing(
    world: World, token: str, more: dict[str, str], status: int, code: str
) -> None:
    reply = world.ask("POST", "/v1/regrade", {**ENDORSE, **more}, token)
    assert (reply.status, reply.code) == (status, code)
    assert world.labels.regrades == []


VOUCHING: list[tuple[str, dict[str, Any], int, str]] = [
    ("anna-token", {}, 204, "anna"),
    (ADMIN, {}, 204, "admin"),
    (ADMIN, {"by": "berta"}, 204, "berta"),
    ("pep-token", {}, 204, "gateway"),
    ("pep-token", {"by": "berta"}, 204, "berta"),
    ("agent-token", {}, 403, "vouch_refused"),
    ("agent-token", {"principal": None}, 403, "vouch_refused"),
    ("batch-token", {}, 403, "vouch_refused"),
    # With `act_as` too: what an agent says of itself is its own word.
    ("pep-token", {"principal": "gateway"}, 403, "vouch_refused"),
    ("pep-token", {"by": "berta", "principal": "boss"}, 403, "vouch_refused"),
    ("pep-token", {"by": "known-agent", "principal": "known-agent"}, 403, "vouch_refused"),
    ("anna-token", {"text": ""}, 400, "shape_invalid"),
    ("anna-token", {"source": "tool:mail.read"}, 400, "shape_invalid"),
]


@pytest.mark.parametrize(("token", "more", "status", "who"), VOUCHING)
def test_who_may_vouch_for_the_users_words(
    world: World, token: str, more: dict[str, Any], status: int, who: str
) -> None:
    reply = world.ask("POST", "/v1/vouch", {**WORDS, **more}, token)
    assert reply.status == status
    if status != 204:
        assert (reply.code, world.labels.vouched) == (who, [])
        assert b"bob" not in reply.body
        return
    (words,) = world.labels.vouched
    assert words.by is not None
    assert (words.by.id, words.principal, words.session, words.text) == (who, "helper", "s-1", "write to bob")
    assert words.by.kind is not PrincipalKind.AGENT


def test_log_that_takes_no_record_is_a_503(world: World) -> None:
    world.log.healthy = False
    reply = world.ask("POST", "/v1/vouch", WORDS, "anna-token")
    assert (reply.status, reply.code) == (503, "audit_unavailable")

"""Changes of labels across a socket: what the sidecar answers is an answer, everything else an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from agentguard.clients import EnforcementPoint, RemoteDecider
from agentguard.core import (
    TOKEN_PRINCIPAL,
    Effect,
    Integrity,
    LabelKeeper,
    Principal,
    PrincipalKind,
    Regrade,
    RequestError,
    Sensitivity,
    Vouched,
)
from raw_sidecar import DECISION, Call, RawSidecar, allow, error, response

if TYPE_CHECKING:
    from collections.abc import Iterator

ANNA = Principal("anna", PrincipalKind.HUMAN)
NOTHING = b"HTTP/1.1 204 No Content\r\n\r\n"


def wish(**changes: Any) -> Regrade:
    fields: dict[str, Any] = {
        "by": ANNA,
        "principal": "helper",
        "session": "s-1",
        "action": "mail.send",
        "param": "/to",
        "reason": "known",
        "source": "tool:mail.read",
        "integrity": Integrity.VERIFIED,
    }
    return Regrade(**fields | changes)


def answer(call: Call, **changes: Any) -> bytes:
    decision = DECISION | {"principal": "anna", "action": "flow.endorse@1", "resource": "flow/helper/s-1"}
    body = {"request_id": call.json["request_id"], "decision": decision | changes}
    return response(msgspec.json.encode(body))


@pytest.fixture
def sidecar() -> Iterator[RawSidecar]:
    with RawSidecar(answer) as server:
        yield server


@pytest.fixture
def decider(sidecar: RawSidecar) -> Iterator[RemoteDecider]:
    remote = RemoteDecider(sidecar.url, "a.b.c", deadline_s=20.0, breaker_failures=1000)
    yield remote
    remote.close()


def test_change_is_sent_as_it_is_and_the_decision_comes_back(
    sidecar: RawSidecar, decider: RemoteDecider
) -> None:
    assert isinstance(decider, LabelKeeper)
    assert decider.regrade(wish()).effect is Effect.ALLOW
    sidecar.answer = lambda call: answer(call, action="flow.declassify@1", effect="deny")
    second = wish(by=TOKEN_PRINCIPAL, integrity=None, confidentiality=Sensitivity.PUBLIC)
    assert decider.regrade(second).effect is Effect.DENY
    first, other = sidecar.calls
    assert first.path == "/v1/regrade"
    assert {name: value for name, value in first.json.items() if name != "request_id"} == {
        "by": "anna",
        "principal": "helper",
        "session": "s-1",
        "action": "mail.send",
        "param": "/to",
        "reason": "known",
        "source": "tool:mail.read",
        "integrity": "verified",
    }
    assert "by" not in other.json
    assert other.json["confidentiality"] == "public"


ANSWERS = [
    (lambda _: error("404 Not Found", "session_unknown", "no such session"), "session_unknown", "no such"),
    (lambda _: error("403 No", "regrade_not_vouched", "not you"), "regrade_not_vouched", "not you"),
    (lambda _: error("503 No", "audit_unavailable", "disk full"), "audit_unavailable", "disk full"),
    (lambda _: None, "regrade_lost", "without an answer"),
    (lambda _: response(b"{}"), "regrade_lost", "something else"),
    (lambda call: answer(call, action="mail.send@1"), "regrade_lost", "another action"),
    (lambda call: answer(call, principal="eve"), "regrade_lost", "another principal"),
    (lambda call: answer(call).replace(b'"request_id":"', b'"request_id":"0')[:-1], "regrade_lost", "else"),
]


@pytest.mark.parametrize(("script", "code", "why"), ANSWERS)
def test_answer_that_is_no_decision_on_it_is_an_error(
    sidecar: RawSidecar, decider: RemoteDecider, script: Any, code: str, why: str
) -> None:
    sidecar.answer = script
    with pytest.raises(RequestError, match=why) as caught:
        decider.regrade(wish())
    assert caught.value.code == code


def test_vouched_words_are_sent_and_taken(sidecar: RawSidecar, decider: RemoteDecider) -> None:
    sidecar.answer = lambda _: NOTHING
    decider.vouch(Vouched(principal="", session="s-1", text="bob"))
    decider.vouch(Vouched(principal="helper", session="s-1", text="bob", source="config", by=ANNA))
    first, second = (each.json for each in sidecar.calls)
    assert first == {"text": "bob", "session": "s-1"}
    assert second == {
        "text": "bob",
        "session": "s-1",
        "source": "config",
        "principal": "helper",
        "by": "anna",
    }


@pytest.mark.parametrize(
    ("raw", "code"), [(error("403 No", "vouch_refused", "not you"), "vouch_refused"), (None, "vouch_lost")]
)
def test_words_that_are_not_taken_in_are_an_error(
    sidecar: RawSidecar, decider: RemoteDecider, raw: bytes | None, code: str
) -> None:
    sidecar.answer = lambda _: raw
    with pytest.raises(RequestError, match="do not count") as caught:
        decider.vouch(Vouched(principal="", session="s", text="bob"))
    assert caught.value.code == code


def test_closed_decider_changes_nothing(decider: RemoteDecider) -> None:
    decider.close()
    with pytest.raises(RequestError, match="closed"):
        decider.regrade(wish())


def test_plan_of_a_session_says_which(sidecar: RawSidecar, decider: RemoteDecider) -> None:
    sidecar.answer = allow
    session = EnforcementPoint(decider, principal=None).session("s-1")
    (decision,) = session.check_plan([{"action": "restart-deployment", "resource": "staging/api"}])
    assert decision.effect is Effect.ALLOW
    assert sidecar.calls[0].json["context"] == {"session": "s-1"}

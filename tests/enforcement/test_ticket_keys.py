from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from agentguard.core import ConfigError, TicketError
from agentguard.enforcement import KeyFile, TicketVerifier
from tickets import ACTION, AUDIT_ID, EXECUTOR, PARAMS, RESOURCE, Desk

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def file(desk: Desk, tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps(desk.keys.jwks()))
    return path


def test_an_executor_verifies_with_the_file_alone(desk: Desk, file: Path) -> None:
    verifier = TicketVerifier(str(file), executor=EXECUTOR, store=None, now=desk.now)
    known = verifier.verify(desk.issue(), action=ACTION, resource=RESOURCE, params=PARAMS)
    assert (known.issuer, known.audit_id) == ("agentguard:demo-1234", AUDIT_ID)


def test_the_set_of_keys_has_no_private_half(desk: Desk) -> None:
    desk.keys.rotate()
    keys = desk.keys.jwks()["keys"]
    assert len(keys) == 2
    assert {"d", "k"}.isdisjoint(name for key in keys for name in key)
    assert {(key["kty"], key["crv"], key["alg"], key["use"]) for key in keys} == {
        ("OKP", "Ed25519", "Ed25519", "sig")
    }


def test_a_key_that_verifies_no_more_is_not_given_out(desk: Desk) -> None:
    desk.keys.rotate()
    desk.now.at += 66
    assert [key["kid"] for key in desk.keys.jwks()["keys"]] == [desk.keys.current()[0]]


def test_a_changed_file_is_read_again(desk: Desk, file: Path) -> None:
    verifier = TicketVerifier(file, executor=EXECUTOR, store=None, now=desk.now)
    desk.keys.rotate()
    asked: dict[str, Any] = {"action": ACTION, "resource": RESOURCE, "params": PARAMS}
    with pytest.raises(TicketError) as error:
        verifier.verify(desk.issue(), **asked)
    assert error.value.code == "ticket_unknown_key"
    file.write_text(json.dumps(desk.keys.jwks()))
    assert verifier.verify(desk.issue(), **asked).audit_id == AUDIT_ID


@pytest.mark.parametrize("becomes", [None, "{", '{"issuer": "x"}'])
def test_a_file_that_breaks_later_refuses(desk: Desk, file: Path, becomes: str | None) -> None:
    verifier = TicketVerifier(file, executor=EXECUTOR, store=None, now=desk.now)
    if becomes is None:
        file.unlink()
    else:
        file.write_text(becomes)
    with pytest.raises(TicketError) as error:
        verifier.verify(desk.issue(), action=ACTION, resource=RESOURCE, params=PARAMS)
    assert error.value.code == "ticket_keys_unavailable"


def changed(desk: Desk, **changes: Any) -> dict[str, Any]:
    found = desk.keys.jwks()
    return {**found, "keys": [{**found["keys"][0], **changes}]}


@pytest.mark.parametrize(
    "make",
    [
        lambda _: [],
        lambda _: {"keys": []},
        lambda desk: {**desk.keys.jwks(), "issuer": ""},
        lambda desk: changed(desk, kty="oct"),
        lambda desk: changed(desk, crv="X25519"),
        lambda desk: changed(desk, crv="P-256"),
        lambda desk: changed(desk, x="AAAA"),
        lambda desk: changed(desk, kid="mine"),
        lambda desk: changed(desk, d=desk.keys.current()[1].as_dict(private=True)["d"]),
    ],
)
def test_a_file_that_is_no_set_of_public_keys_is_refused(desk: Desk, file: Path, make: Any) -> None:
    file.write_text(json.dumps(make(desk)))
    with pytest.raises(ConfigError) as error:
        KeyFile(file)
    assert error.value.code == "ticket_keys_invalid"
    assert error.value.hint is not None


def test_a_file_that_is_not_there_is_an_error_when_the_verifier_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        TicketVerifier(tmp_path / "none.json", executor=EXECUTOR, store=None)

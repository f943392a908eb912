from __future__ import annotations

import base64
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import OctKey, OKPKey

from agentguard.core import ConfigError, Principal, TicketError, canonical_json
from agentguard.enforcement import TicketVerifier, read_ticket
from agentguard.identity import StateFolder, TokenIssuer, TokenKeys, TokenVerifier
from tickets import ACTION, AUDIT_ID, EXECUTOR, NOW, PARAMS, RESOURCE, Desk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from agentguard.core import Ticket
    from agentguard.enforcement import TicketStore

ASKED: dict[str, Any] = {"action": ACTION, "resource": RESOURCE, "params": PARAMS}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def store(desk: Desk) -> Iterator[TicketStore]:
    made = desk.store()
    yield made
    made.close()


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def parts(ticket: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    head, claims, signature = ticket.split(".")
    return (
        json.loads(base64.urlsafe_b64decode(head + "==")),
        json.loads(base64.urlsafe_b64decode(claims + "==")),
        signature,
    )


def signed_anew(desk: Desk, ticket: str, **claims: Any) -> str:
    """Return a ticket with other claims that the issuer's own key signed; None takes a claim away."""
    header, known, _ = parts(ticket)
    changed = {name: value for name, value in (known | claims).items() if value is not None}
    return jws.serialize_compact(
        header, json.dumps(changed).encode(), desk.keys.current()[1], algorithms=["Ed25519"]
    )


def with_header(desk: Desk, ticket: str, **changes: Any) -> str:
    """Return a ticket with another header, signed by the issuer's own key where that can be."""
    header, claims, _ = parts(ticket)
    header = {name: value for name, value in (header | changes).items() if value is not None}
    signing = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{signing}.{b64(desk.keys.current()[1].private_key.sign(signing.encode()))}"  # type: ignore[union-attr]  # Ed25519


def unsigned(desk: Desk, ticket: str) -> str:
    del desk
    header, claims, _ = parts(ticket)
    return f"{b64(json.dumps(header | {'alg': 'none'}).encode())}.{b64(json.dumps(claims).encode())}."


def hs256_with_the_public_key(desk: Desk, ticket: str) -> str:
    header, claims, _ = parts(ticket)
    secret = OctKey.import_key(desk.keys.current()[1].public_key.public_bytes_raw())
    return jws.serialize_compact(
        header | {"alg": "HS256"}, json.dumps(claims).encode(), secret, algorithms=["HS256"]
    )


def other_key(desk: Desk, ticket: str, *, keeps_kid: bool) -> str:
    del desk
    header, claims, _ = parts(ticket)
    key = OKPKey.generate_key("Ed25519")
    kid = header["kid"] if keeps_kid else key.thumbprint()
    return jws.serialize_compact(
        header | {"kid": kid}, json.dumps(claims).encode(), key, algorithms=["Ed25519"]
    )


def agent_token(desk: Desk, ticket: str) -> str:
    del ticket
    keys = TokenKeys(StateFolder.open(desk.project, {"XDG_STATE_HOME": str(desk.folder)}), now=desk.now)
    return TokenIssuer(keys, audience=EXECUTOR).issue("deploy-agent", ttl_s=60)


def token_key(desk: Desk, ticket: str) -> str:
    header, claims, _ = parts(ticket)
    keys = TokenKeys(StateFolder.open(desk.project, {"XDG_STATE_HOME": str(desk.folder)}), now=desk.now)
    key_id, key, _ = keys.current()
    return jws.serialize_compact(
        header | {"kid": key_id}, json.dumps(claims).encode(), key, algorithms=["Ed25519"]
    )


def other_spelling(desk: Desk, ticket: str) -> str:
    del desk
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return ticket[:-1] + alphabet[alphabet.index(ticket[-1]) + 1]


Spoil = "Callable[[Desk, str], Any]"
ATTACKS: list[tuple[str, Any, str]] = [
    ("nothing", lambda *_: "", "ticket_malformed"),
    ("no text", lambda *_: None, "ticket_malformed"),
    ("bytes", lambda _, ticket: ticket.encode(), "ticket_malformed"),
    ("two parts", lambda _, ticket: ticket.rpartition(".")[0], "ticket_malformed"),
    ("white space", lambda _, ticket: ticket + "\n", "ticket_malformed"),
    ("too long", lambda _, ticket: "A" * 9000 + ticket, "ticket_malformed"),
    ("not ASCII", lambda _, ticket: ticket[:-1] + "\uff21", "ticket_malformed"),
    ("header no JSON", lambda _, ticket: "AAAA" + ticket, "ticket_malformed"),
    ("another spelling of the signature", other_spelling, "ticket_signature"),
    ("no signature", lambda _, ticket: ticket.rpartition(".")[0] + ".", "ticket_signature"),
    ("alg none", unsigned, "ticket_algorithm"),
    ("alg None", lambda desk, ticket: with_header(desk, ticket, alg="None"), "ticket_algorithm"),
    ("alg EdDSA", lambda desk, ticket: with_header(desk, ticket, alg="EdDSA"), "ticket_algorithm"),
    ("alg HS256 by header", lambda desk, ticket: with_header(desk, ticket, alg="HS256"), "ticket_algorithm"),
    ("HS256 with the public key", hs256_with_the_public_key, "ticket_algorithm"),
    ("typ JWT", lambda desk, ticket: with_header(desk, ticket, typ="JWT"), "ticket_type"),
    ("typ of a token", lambda desk, ticket: with_header(desk, ticket, typ="agentguard+jwt"), "ticket_type"),
    ("no typ", lambda desk, ticket: with_header(desk, ticket, typ=None), "ticket_malformed"),
    ("an agent's token", agent_token, "ticket_type"),
    ("signed with the key of tokens", token_key, "ticket_unknown_key"),
    ("unknown key", lambda desk, ticket: other_key(desk, ticket, keeps_kid=False), "ticket_unknown_key"),
    (
        "another's key, our kid",
        lambda desk, ticket: other_key(desk, ticket, keeps_kid=True),
        "ticket_signature",
    ),
    ("kid is a path", lambda desk, ticket: with_header(desk, ticket, kid="../key"), "ticket_unknown_key"),
    ("kid no text", lambda desk, ticket: with_header(desk, ticket, kid=["a"]), "ticket_malformed"),
    (
        "brings its key",
        lambda desk, ticket: with_header(desk, ticket, jwk={"kty": "OKP"}),
        "ticket_malformed",
    ),
    ("names its keys", lambda desk, ticket: with_header(desk, ticket, jku="http://a"), "ticket_malformed"),
    ("crit", lambda desk, ticket: with_header(desk, ticket, crit=["b64"], b64=False), "ticket_malformed"),
    ("other issuer", lambda desk, ticket: signed_anew(desk, ticket, iss="agentguard:x"), "ticket_issuer"),
    ("other executor", lambda desk, ticket: signed_anew(desk, ticket, aud="mailer"), "ticket_audience"),
    ("many executors", lambda desk, ticket: signed_anew(desk, ticket, aud=[EXECUTOR]), "ticket_malformed"),
    ("lives too long", lambda desk, ticket: signed_anew(desk, ticket, exp=NOW + 61), "ticket_lifetime"),
    ("lives for ever", lambda desk, ticket: signed_anew(desk, ticket, exp=None), "ticket_malformed"),
    ("huge time", lambda desk, ticket: signed_anew(desk, ticket, exp=1e300), "ticket_malformed"),
    ("from the future", lambda desk, ticket: signed_anew(desk, ticket, iat=NOW + 6), "ticket_not_yet_valid"),
    ("over", lambda desk, ticket: signed_anew(desk, ticket, iat=NOW - 60, exp=NOW), "ticket_expired"),
    ("no id", lambda desk, ticket: signed_anew(desk, ticket, jti=""), "ticket_malformed"),
    ("a claim too many", lambda desk, ticket: signed_anew(desk, ticket, scope="all"), "ticket_malformed"),
    ("no claims", lambda desk, ticket: signed_anew(desk, ticket, sub=None), "ticket_malformed"),
]


@pytest.mark.parametrize(
    ("attack", "code"), [each[1:] for each in ATTACKS], ids=[each[0] for each in ATTACKS]
)
def test_each_attack_is_refused_with_its_code_and_noted(
    desk: Desk, store: TicketStore, attack: Callable[[Desk, str], Any], code: str
) -> None:
    ticket = desk.issue()
    with pytest.raises(TicketError) as error:
        desk.verifier(store).consume(attack(desk, ticket), **ASKED)
    assert error.value.code == code
    assert ticket not in str(error.value)
    (noted,) = store.refusals()
    assert (noted.at, noted.code, noted.jti) == (NOW, code, "")
    # And it has used nothing up.
    assert desk.verifier(store).consume(ticket, **ASKED).audit_id == AUDIT_ID


OTHERS: list[tuple[str, dict[str, Any], str]] = [
    ("action", {"action": "delete-deployment@1"}, "ticket_action"),
    ("version", {"action": "scale-deployment@2"}, "ticket_action"),
    ("no version", {"action": "scale-deployment"}, "ticket_action"),
    ("resource", {"resource": "prod/billing"}, "ticket_resource"),
    ("resource by case", {"resource": "prod/API"}, "ticket_resource"),
    ("resource out of bounds", {"resource": "prod/../prod/api"}, "ticket_resource"),
    ("more replicas", {"params": {**PARAMS, "replicas": 50}}, "ticket_params"),
    ("one more", {"params": {**PARAMS, "force": True}}, "ticket_params"),
    ("one less", {"params": {"namespace": "prod", "deployment": "api"}}, "ticket_params"),
    ("text for number", {"params": {**PARAMS, "replicas": "5"}}, "ticket_params"),
    ("true for 1", {"params": {**PARAMS, "replicas": True}}, "ticket_params"),
    ("not a number", {"params": {**PARAMS, "replicas": float("nan")}}, "ticket_params"),
    ("beyond 2^53", {"params": {**PARAMS, "replicas": 2**53 + 1}}, "ticket_params"),
    ("a key twice", {"params": '{"namespace":"prod","deployment":"api","replicas":5,"replicas":5}'}, "ticket_params"),
    ("no object", {"params": "[]"}, "ticket_params"),
    ("no JSON", {"params": b"\xff"}, "ticket_params"),
    ("another type", {"params": None}, "ticket_params"),
    ("principal", {"principal": "release-bot"}, "ticket_principal"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "code"), [each[1:] for each in OTHERS], ids=[each[0] for each in OTHERS])
def test_another_deed_than_the_decided_one_is_refused(
    desk: Desk, store: TicketStore, asked: dict[str, Any], code: str
) -> None:
    ticket = desk.issue()
    for act in (desk.verifier(store).consume, desk.verifier(store).verify):
        with pytest.raises(TicketError) as error:
            act(ticket, **(ASKED | asked))
        assert error.value.code == code
    assert [(each.code, each.audit_id) for each in store.refusals()] == [(code, AUDIT_ID)]
    assert desk.verifier(store).consume(ticket, **ASKED).audit_id == AUDIT_ID


def test_a_ticket_says_what_was_decided_and_counts_once(desk: Desk, store: TicketStore) -> None:
    ticket = desk.issue()
    known = desk.verifier(store).consume(ticket, principal="deploy-agent", **ASKED)
    assert (known.principal, known.on_behalf_of) == ("deploy-agent", ("release-bot", "ann"))
    assert (known.audience, known.issuer) == (EXECUTOR, "agentguard:demo-1234")
    assert (known.issued_at, known.expires_at) == (NOW, NOW + 60)
    with pytest.raises(TicketError) as error:
        desk.verifier(store).consume(ticket, **ASKED)
    assert error.value.code == "ticket_used"
    assert [(each.code, each.jti) for each in store.refusals()] == [("ticket_used", known.jti)]


def test_a_ticket_for_another_executor_is_refused_by_this_one(desk: Desk, store: TicketStore) -> None:
    with pytest.raises(TicketError) as error:
        desk.verifier(store, executor="mailer").consume(desk.issue(), **ASKED)
    assert error.value.code == "ticket_audience"


def test_without_a_store_nothing_is_consumed(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    verifier = desk.verifier(None)
    ticket = desk.issue()
    assert verifier.verify(ticket, **ASKED).audit_id == AUDIT_ID
    with caplog.at_level(logging.WARNING, "agentguard.executor"), pytest.raises(TicketError) as error:
        verifier.consume(ticket, **ASKED)
    assert error.value.code == "ticket_store_missing"
    assert caplog.messages == ["a ticket is refused: ticket_store_missing"]


def test_a_refusal_that_cannot_be_noted_is_one_all_the_same(
    desk: Desk, store: TicketStore, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(error: TicketError, ticket: Ticket | None) -> None:
        raise OSError(error.code, ticket)

    verifier = TicketVerifier(desk.keys, executor=EXECUTOR, store=store, now=desk.now, on_refused=fails)
    with caplog.at_level(logging.ERROR, "agentguard.executor"), pytest.raises(TicketError) as error:
        verifier.consume("x", **ASKED)
    assert error.value.code == "ticket_malformed"
    assert "not recorded: OSError" in caplog.text


@pytest.mark.parametrize(
    ("later", "code"),
    [
        (-5.001, "ticket_not_yet_valid"),
        (-5, ""),
        (59.999, ""),
        (60, "ticket_expired"),
        (1e9, "ticket_expired"),
    ],
)
def test_a_ticket_has_its_time(desk: Desk, later: float, code: str) -> None:
    ticket = desk.issue()
    verifier = desk.verifier(None)
    desk.now.at = NOW + later
    if not code:
        assert verifier.verify(ticket, **ASKED).audit_id == AUDIT_ID
        return
    with pytest.raises(TicketError) as error:
        verifier.verify(ticket, **ASKED)
    assert error.value.code == code


def test_a_ticket_is_no_token(desk: Desk) -> None:
    keys = TokenKeys(StateFolder.open(desk.project, {"XDG_STATE_HOME": str(desk.folder)}), now=desk.now)
    tokens = TokenVerifier(keys, lambda _: Principal("deploy-agent"), audience=EXECUTOR)
    with pytest.raises(Exception, match="not of type") as error:
        tokens.verify(desk.issue())
    assert getattr(error.value, "code", "") == "token_type"


def test_keys_that_cannot_be_read_refuse(desk: Desk) -> None:
    ticket = desk.issue()
    desk.keys.rotate()
    (desk.folder / "agentguard" / desk.project / "ticket-keys.json").write_text("{}")
    unknown = other_key(desk, ticket, keeps_kid=False)
    with pytest.raises(TicketError) as error:
        read_ticket(unknown, desk.keys, now=desk.now)
    assert error.value.code == "ticket_keys_unavailable"


def test_a_rotated_key_verifies_until_its_last_ticket_is_over(desk: Desk) -> None:
    ticket = desk.issue()
    desk.keys.rotate()
    assert read_ticket(ticket, desk.keys, now=desk.now).audit_id == AUDIT_ID
    assert read_ticket(desk.issue(), desk.keys, now=desk.now).audit_id == AUDIT_ID


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
_params = st.dictionaries(st.text(max_size=5), _json, max_size=4)
_once = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@_once
@given(decided=_params, executed=_params)
def test_parameters_pass_just_when_their_canonical_json_is_the_same(
    desk: Desk, decided: dict[str, Any], executed: dict[str, Any]
) -> None:
    ticket = desk.issue(decided)
    verifier = desk.verifier(None)
    asked = {"action": ACTION, "resource": RESOURCE}
    # Written by another writer, with other spaces, escapes and order of keys.
    text = json.dumps(dict(reversed(decided.items())), indent=1)
    assert (
        verifier.verify(ticket, params=text, **asked).jti
        == verifier.verify(ticket, params=decided, **asked).jti
    )
    if canonical_json(decided) != canonical_json(executed):
        with pytest.raises(TicketError):
            verifier.verify(ticket, params=executed, **asked)


@_once
@given(data=st.data(), what=st.sampled_from(["action", "resource", "params"]))
def test_any_changed_byte_of_what_is_done_is_refused(desk: Desk, data: st.DataObject, what: str) -> None:
    asked = {"action": ACTION, "resource": RESOURCE, "params": canonical_json(PARAMS).decode()}
    text = bytearray(asked[what], "ascii")
    place = data.draw(st.integers(0, len(text) - 1))
    text[place] = data.draw(st.integers(0, 127).filter(lambda byte: byte != text[place]))
    changed = text.decode("ascii")
    try:
        if what == "params" and json.loads(changed) == PARAMS:
            return  # white space
    except ValueError:
        pass
    with pytest.raises(TicketError):
        desk.verifier(None).verify(desk.issue(), **(asked | {what: changed}))


@_once
@given(data=st.data())
def test_any_changed_byte_of_a_ticket_is_refused(desk: Desk, data: st.DataObject) -> None:
    text = bytearray(desk.issue(), "ascii")
    place = data.draw(st.integers(0, len(text) - 1))
    text[place] = data.draw(st.integers(0, 127).filter(lambda byte: byte != text[place]))
    with pytest.raises(TicketError):
        desk.verifier(None).verify(text.decode("ascii"), **ASKED)


@_once
@given(
    text=st.text(max_size=40)
    | st.from_regex(r"[A-Za-z0-9_-]{1,30}(\.[A-Za-z0-9_-]{0,90}){2}", fullmatch=True)
)
def test_any_text_is_judged_without_another_error(desk: Desk, text: str) -> None:
    with pytest.raises(TicketError):
        desk.verifier(None).verify(text, **ASKED)


@pytest.mark.parametrize("executor", ["", None, 7])
def test_an_executor_has_a_name(desk: Desk, executor: Any) -> None:
    with pytest.raises(ConfigError, match="no executor's name"):
        TicketVerifier(desk.keys, executor=executor, store=None)

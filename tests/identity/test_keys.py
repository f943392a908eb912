from __future__ import annotations

import base64
import json
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agentguard.core import IdentityError, IntegrityError, Principal
from agentguard.identity import (
    LEEWAY_S,
    MAX_TTL_S,
    KeyRing,
    StateFolder,
    TokenIssuer,
    TokenKeys,
    TokenVerifier,
    audit_keys,
    commitment_key,
)

if TYPE_CHECKING:
    from pathlib import Path

    from agentguard.core import Signer

NOW = 1_800_000_000.0
FILE = "token-ed25519-keys.json"


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    return StateFolder.open("demo-1234", {"XDG_STATE_HOME": str(tmp_path)})


def kid_of(token: str) -> str:
    part = token.partition(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["kid"])


def test_key_id_is_the_thumbprint_of_rfc_7638(state: StateFolder) -> None:
    ring = audit_keys(state)
    public = ring.public_keys()[ring.signer().key_id]
    x = base64.urlsafe_b64encode(public).rstrip(b"=").decode()
    canonical = json.dumps({"crv": "Ed25519", "kty": "OKP", "x": x}, separators=(",", ":"))
    digest = sha256(canonical.encode()).digest()
    assert ring.signer().key_id == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def test_audit_signatures_verify_after_rotation_with_retained_keys(state: StateFolder) -> None:
    ring = audit_keys(state)
    old: Signer = ring.signer()
    signature = old.sign(b"head")
    new_id = ring.rotate()
    assert ring.signer().key_id == new_id != old.key_id
    keys = audit_keys(state).public_keys()
    assert set(keys) == {old.key_id, new_id}
    Ed25519PublicKey.from_public_bytes(keys[old.key_id]).verify(signature, b"head")
    Ed25519PublicKey.from_public_bytes(keys[new_id]).verify(ring.signer().sign(b"x"), b"x")
    # A signer that was taken before goes on as what it was: id and signature belong together.
    Ed25519PublicKey.from_public_bytes(keys[old.key_id]).verify(old.sign(b"y"), b"y")


@pytest.mark.parametrize("hs256", [False, True])
def test_old_tokens_verify_after_rotation_and_new_ones_use_the_new_key(
    state: StateFolder,
    hs256: bool,  # noqa: FBT001 - a parameter of a table
) -> None:
    time = [NOW]
    keys = TokenKeys(state, hs256=hs256, now=lambda: time[0])
    running = TokenKeys(state, hs256=hs256, now=lambda: time[0])
    issuer = TokenIssuer(keys)
    verifiers = [TokenVerifier(each, lambda id_: Principal(id=id_)) for each in (keys, running)]
    old = issuer.issue("agent", ttl_s=MAX_TTL_S)
    new_id = keys.rotate()
    new = issuer.issue("agent", ttl_s=MAX_TTL_S)
    assert kid_of(new) == new_id == kid_of(TokenIssuer(running).issue("agent", ttl_s=60))
    assert kid_of(old) != new_id
    for verifier in verifiers:
        assert verifier.verify(old).principal == verifier.verify(new).principal
    time[0] = NOW + MAX_TTL_S - 1
    for verifier in verifiers:
        verifier.verify(old)


def test_retired_key_verifies_no_more_and_is_dropped_when_its_tokens_are_expired(state: StateFolder) -> None:
    time = [NOW]
    ring = KeyRing(state, "some-keys.json", keep_s=MAX_TTL_S + LEEWAY_S, now=lambda: time[0])
    old = ring.signer().key_id
    ring.rotate()
    time[0] = NOW + MAX_TTL_S + LEEWAY_S - 0.1
    assert ring.verification_key(old) is not None
    time[0] += 0.1
    assert ring.verification_key(old) is None
    assert old in ring.public_keys()
    ring.rotate()
    assert old not in ring.public_keys()
    assert len(ring.public_keys()) == 2


def test_private_half_of_a_retired_key_is_gone(state: StateFolder) -> None:
    ring = audit_keys(state)
    ring.rotate()
    current, retired = json.loads(state.read("audit-keys.json"))["keys"]
    assert "d" in current["jwk"]
    assert "d" not in retired["jwk"]


def test_key_made_by_another_process_is_found_at_once(state: StateFolder) -> None:
    running = TokenVerifier(TokenKeys(state), lambda id_: Principal(id=id_))
    running.verify(TokenIssuer(TokenKeys(state)).issue("agent", ttl_s=60))
    other = TokenKeys(state)
    other.rotate()
    assert running.verify(TokenIssuer(other).issue("agent", ttl_s=60)).principal.id == "agent"


def damage(state: StateFolder, how: str) -> None:
    content = json.loads(state.read(FILE))
    key = content["keys"][0]
    if how == "no json":
        state.write(FILE, b"{")
        return
    if how == "no keys":
        content["keys"] = []
    elif how == "other kid":
        key["kid"] = "x"
    elif how == "no private half":
        del key["jwk"]["d"]
    elif how == "short key":
        key["jwk"]["x"] = "AA"
    elif how == "other algorithm":
        content["algorithm"] = "HS256"
    elif how == "no curve":
        del key["jwk"]["crv"]
    elif how == "another's private half":
        key["jwk"]["d"] = base64.urlsafe_b64encode(bytes(32)).rstrip(b"=").decode()
    state.write(FILE, json.dumps(content).encode())


@pytest.mark.parametrize(
    "how",
    [
        "no json",
        "no keys",
        "other kid",
        "no private half",
        "short key",
        "other algorithm",
        "no curve",
        "another's private half",
    ],
)
def test_damaged_key_file_is_refused(state: StateFolder, how: str) -> None:
    keys = TokenKeys(state)
    damage(state, how)
    with pytest.raises(IntegrityError) as caught:
        TokenKeys(state)
    assert caught.value.code == "state_corrupt"
    with pytest.raises(IntegrityError):
        keys.refresh()


def test_lost_key_file_refuses_every_token(state: StateFolder) -> None:
    time = [NOW]
    keys = TokenKeys(state, now=lambda: time[0])
    verifier = TokenVerifier(keys, lambda id_: Principal(id=id_))
    token = TokenIssuer(keys).issue("agent", ttl_s=60)
    verifier.verify(token)
    (state.path / FILE).unlink()
    time[0] += 0.5
    with pytest.raises(IdentityError) as caught:
        verifier.verify(token)
    assert caught.value.code == "keys_unavailable"
    with pytest.raises(IntegrityError):
        TokenIssuer(keys).issue("agent", ttl_s=60)


def test_commitment_key_is_made_once(state: StateFolder) -> None:
    key = commitment_key(state)
    assert len(key) == 32
    assert commitment_key(state) == key
    state.write("commitment.key", b"short")
    with pytest.raises(IntegrityError):
        commitment_key(state)

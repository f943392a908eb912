"""The attack corpus: every forgery is refused with its own code, and its benign neighbour passes."""

from __future__ import annotations

import base64
import hmac
import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import OKPKey

from agentguard.core import IdentityError, Principal, PrincipalKind
from agentguard.identity import StateFolder, TokenIssuer, TokenKeys, TokenVerifier

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW = 1_800_000_000.25
PEOPLE = {
    each.id: each
    for each in (
        Principal(id="deploy-agent", roles=("deployer", "reader"), groups=("sre", "ops")),
        Principal(id="anna", kind=PrincipalKind.HUMAN, roles=("reader", "admin"), groups=("ops",)),
        Principal(
            id="planner", kind=PrincipalKind.SERVICE, roles=("deployer", "reader", "admin"), groups=("ops",)
        ),
    )
}


class World:
    """A project whose clock the test sets, and a forger who knows everything but has no key unless given."""

    def __init__(self, folder: Path, *, hs256: bool = False) -> None:
        self.time = NOW
        self.state = StateFolder.open("demo-1234", {"XDG_STATE_HOME": str(folder)})
        self.keys = TokenKeys(self.state, hs256=hs256, now=lambda: self.time)
        self.issuer = TokenIssuer(self.keys)
        self.verifier = TokenVerifier(self.keys, PEOPLE.get)

    def key(self) -> OKPKey:
        key = self.keys.current()[1]
        assert isinstance(key, OKPKey)
        return key

    def claims(self, **changes: Any) -> dict[str, Any]:
        claims = {
            "iss": "agentguard:demo-1234",
            "sub": "deploy-agent",
            "aud": "agentguard",
            "iat": NOW,
            "nbf": NOW,
            "exp": NOW + 600,
            "jti": "token-1",
        }
        return {name: value for name, value in (claims | changes).items() if value is not ...}

    def header(self, **changes: Any) -> dict[str, Any]:
        header = {"typ": "agentguard+jwt", "alg": "Ed25519", "kid": self.keys.current()[0]} | changes
        return {name: value for name, value in header.items() if value is not ...}

    def sign(
        self,
        header: dict[str, Any] | str,
        claims: dict[str, Any] | str | bytes,
        signer: Callable[[bytes], bytes] | None = None,
    ) -> str:
        parts = [part if isinstance(part, (str, bytes)) else json.dumps(part) for part in (header, claims)]
        text = b".".join(encode(part if isinstance(part, bytes) else part.encode()) for part in parts)
        signature = self.key().get_op_key("sign").sign(text) if signer is None else signer(text)  # type: ignore[union-attr]  # an Ed25519 key
        return f"{text.decode()}.{encode(signature).decode()}"

    def code(self, token: str) -> str:
        with pytest.raises(IdentityError) as caught:
            self.verifier.verify(token)
        if len(token) > 20:
            assert token not in str(caught.value)
        return caught.value.code


def encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def chain(*ids: str) -> dict[str, Any]:
    """`act` for actors from the outermost inwards."""
    act: dict[str, Any] = {"sub": ids[-1]}
    for each in reversed(ids[:-1]):
        act = {"sub": each, "act": act}
    return act


def test_issued_token_proves_its_principal(world: World) -> None:
    verified = world.verifier.verify(world.issuer.issue("deploy-agent", ttl_s=600))
    assert verified.principal == Principal(
        id="deploy-agent", roles=("deployer", "reader"), groups=("ops", "sre")
    )
    assert (verified.act_as, verified.issued_at, verified.expires_at) == (False, NOW, int(NOW) + 600)


def test_hand_made_token_of_the_right_form_passes(world: World) -> None:
    assert world.verifier.verify(world.sign(world.header(), world.claims())).jti == "token-1"


HEADERS: list[tuple[str, dict[str, Any], str]] = [
    ("alg none", {"alg": "none"}, "token_algorithm"),
    ("alg None", {"alg": "None"}, "token_algorithm"),
    ("alg RS256", {"alg": "RS256"}, "token_algorithm"),
    ("alg ES256", {"alg": "ES256"}, "token_algorithm"),
    ("alg Ed448", {"alg": "Ed448"}, "token_algorithm"),
    ("alg HS256", {"alg": "HS256"}, "token_algorithm"),
    ("alg in lower case", {"alg": "ed25519"}, "token_algorithm"),
    ("alg missing", {"alg": ...}, "token_algorithm"),
    ("alg a list", {"alg": ["Ed25519"]}, "token_algorithm"),
    ("alg null", {"alg": None}, "token_algorithm"),
    ("typ JWT", {"typ": "JWT"}, "token_type"),
    ("typ missing", {"typ": ...}, "token_type"),
    ("typ of a list", {"typ": ["agentguard+jwt"]}, "token_type"),
    ("kid missing", {"kid": ...}, "token_unknown_key"),
    ("kid of nobody", {"kid": "A" * 43}, "token_unknown_key"),
    ("kid traversal", {"kid": "../../../../etc/passwd"}, "token_unknown_key"),
    ("kid injection", {"kid": "x' UNION SELECT 'key"}, "token_unknown_key"),
    ("kid too long", {"kid": "k" * 600}, "token_unknown_key"),
    ("kid empty", {"kid": ""}, "token_unknown_key"),
    ("kid a number", {"kid": 1}, "token_unknown_key"),
    ("kid a list", {"kid": ["x"]}, "token_unknown_key"),
    ("jwk", {"jwk": {"kty": "oct", "k": "AAAA"}}, "token_malformed"),
    ("jku", {"jku": "https://127.0.0.1/jwks"}, "token_malformed"),
    ("x5u", {"x5u": "https://127.0.0.1/cert"}, "token_malformed"),
    ("x5c", {"x5c": ["AAAA"]}, "token_malformed"),
    ("crit", {"crit": ["exp"]}, "token_malformed"),
    ("b64 false", {"b64": False}, "token_malformed"),
    ("zip", {"zip": "DEF"}, "token_malformed"),
]


@pytest.mark.parametrize(("changes", "code"), [row[1:] for row in HEADERS], ids=[row[0] for row in HEADERS])
def test_forged_header_is_refused(world: World, changes: dict[str, Any], code: str) -> None:
    # Signed with the real key: it is the header alone that is wrong.
    assert world.code(world.sign(world.header(**changes), world.claims())) == code


CLAIMS: list[tuple[str, dict[str, Any], str]] = [
    *(
        (f"{name} missing", {name: ...}, "token_missing_claim")
        for name in ("iss", "sub", "aud", "iat", "nbf", "exp", "jti")
    ),
    ("iss of another project", {"iss": "agentguard:other-1"}, "token_issuer"),
    ("iss a list", {"iss": ["agentguard:demo-1234"]}, "token_issuer"),
    ("iss null", {"iss": None}, "token_issuer"),
    ("aud another", {"aud": "elsewhere"}, "token_audience"),
    ("aud a list", {"aud": ["agentguard"]}, "token_audience"),
    ("aud in other case", {"aud": "AgentGuard"}, "token_audience"),
    ("expired", {"exp": NOW}, "token_expired"),
    ("expired long ago", {"iat": 0, "nbf": 0, "exp": 1}, "token_expired"),
    ("exp before iat", {"exp": NOW - 10}, "token_expired"),
    ("nbf in the future", {"nbf": NOW + 5.1}, "token_not_yet_valid"),
    ("iat in the future", {"iat": NOW + 5.1}, "token_not_yet_valid"),
    ("iat far in the future", {"iat": NOW + 1e6, "exp": NOW + 1e6 + 60}, "token_not_yet_valid"),
    ("huge lifetime", {"exp": NOW + 86_401}, "token_lifetime"),
    ("lives for ever", {"exp": 1e12}, "token_lifetime"),
    ("iat far in the past", {"iat": 0}, "token_lifetime"),
    ("exp beyond numbers", {"exp": 10**400}, "token_malformed"),
    ("exp beyond bounds", {"exp": 1e13}, "token_malformed"),
    ("exp text", {"exp": str(NOW + 60)}, "token_malformed"),
    ("exp true", {"exp": True}, "token_malformed"),
    ("exp null", {"exp": None}, "token_malformed"),
    ("iat negative", {"iat": -1}, "token_malformed"),
    ("sub empty", {"sub": ""}, "token_malformed"),
    ("sub a list", {"sub": ["deploy-agent"]}, "token_malformed"),
    ("sub with a control character", {"sub": "deploy-agent\n"}, "token_malformed"),
    ("sub too long", {"sub": "a" * 257}, "token_malformed"),
    ("jti a number", {"jti": 1}, "token_malformed"),
    ("jti with a control character", {"jti": "a\x00"}, "token_malformed"),
    ("roles text", {"roles": "deployer"}, "token_malformed"),
    ("roles of numbers", {"roles": [1]}, "token_malformed"),
    ("act_as text", {"act_as": "true"}, "token_malformed"),
    ("act_as a number", {"act_as": 1}, "token_malformed"),
    ("kind unknown", {"kind": "god"}, "token_malformed"),
    ("act chain of depth 5", {"act": chain("a", "b", "c", "d", "e")}, "token_delegation"),
    ("act chain of depth 50", {"act": chain(*map(str, range(50)))}, "token_delegation"),
    ("act names sub", {"act": chain("deploy-agent")}, "token_delegation"),
    ("act cycle", {"act": chain("a", "b", "a")}, "token_delegation"),
    ("act.sub a number", {"act": {"sub": 1}}, "token_delegation"),
    ("act.sub empty", {"act": {"sub": ""}}, "token_delegation"),
    ("act.sub missing", {"act": {}}, "token_delegation"),
    ("act text", {"act": "anna"}, "token_delegation"),
    ("act false", {"act": False}, "token_delegation"),
    ("act a list", {"act": [{"sub": "anna"}]}, "token_delegation"),
    ("act with another claim", {"act": {"sub": "anna", "roles": ["admin"]}}, "token_delegation"),
    ("act.act wrong", {"act": {"sub": "anna", "act": "planner"}}, "token_delegation"),
]


@pytest.mark.parametrize(("changes", "code"), [row[1:] for row in CLAIMS], ids=[row[0] for row in CLAIMS])
def test_forged_claims_are_refused_though_well_signed(
    world: World, changes: dict[str, Any], code: str
) -> None:
    token = world.sign(world.header(), world.claims(**changes))
    assert world.code(token) == code
    assert world.code(token) == code


def test_missing_claim_is_named(world: World) -> None:
    with pytest.raises(IdentityError, match="`nbf`"):
        world.verifier.verify(world.sign(world.header(), world.claims(nbf=...)))


@pytest.mark.parametrize(
    "changes",
    [
        {"nbf": NOW + 5, "iat": NOW + 5},
        {"exp": NOW + 86_400},
        {"exp": NOW + 0.1},
        {"iat": int(NOW), "nbf": int(NOW), "exp": int(NOW) + 60},
        {"act": chain("a", "b", "c", "d")},
        {"unknown": {"nested": [1]}},
        {"sub": "Ünïcødé agent"},
        {"roles": []},
    ],
)
def test_benign_neighbour_passes(world: World, changes: dict[str, Any]) -> None:
    assert world.verifier.verify(world.sign(world.header(), world.claims(**changes))).jti == "token-1"


def test_eddsa_the_older_name_of_the_algorithm_is_accepted(world: World) -> None:
    assert world.verifier.verify(world.sign(world.header(alg="EdDSA"), world.claims())).jti == "token-1"


def test_public_key_as_a_shared_secret_is_refused(tmp_path: Path) -> None:
    for index, hs256 in enumerate((False, True)):
        world = World(tmp_path / str(index), hs256=hs256)
        ring = json.loads(world.state.read("token-ed25519-keys.json"))["keys"][0]
        public = OKPKey.import_key({**ring["jwk"]}).public_key
        for secret in (
            public.public_bytes_raw(),
            public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        ):
            token = world.sign(
                {"typ": "agentguard+jwt", "alg": "HS256", "kid": ring["kid"]},
                world.claims(),
                lambda text, secret=secret: hmac.digest(secret, text, sha256),  # type: ignore[misc]  # bound now
            )
            assert world.code(token) == "token_algorithm"


def test_rsa_signature_of_a_strangers_key_is_refused(world: World) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    sign = lambda text: key.sign(text, padding.PKCS1v15(), SHA256())  # noqa: E731 - shorter than a function
    assert world.code(world.sign(world.header(alg="RS256"), world.claims(), sign)) == "token_algorithm"
    assert world.code(world.sign(world.header(), world.claims(), sign)) == "token_signature"


def test_strangers_key_under_our_kid_is_refused(world: World) -> None:
    stranger = OKPKey.generate_key("Ed25519")
    sign: Callable[[bytes], bytes] = stranger.get_op_key("sign").sign  # type: ignore[union-attr]  # an Ed25519 key
    assert world.code(world.sign(world.header(), world.claims(), sign)) == "token_signature"
    header = world.header(kid=stranger.thumbprint())
    assert world.code(world.sign(header, world.claims(), sign)) == "token_unknown_key"


def test_token_of_another_project_is_refused(world: World, tmp_path: Path) -> None:
    other = World(tmp_path / "other")
    assert world.code(other.issuer.issue("deploy-agent", ttl_s=60)) == "token_unknown_key"


def test_changed_payload_is_refused(world: World) -> None:
    header, payload, signature = world.sign(world.header(), world.claims()).split(".")
    other = encode(json.dumps(world.claims(sub="anna")).encode()).decode()
    assert world.code(f"{header}.{other}.{signature}") == "token_signature"
    assert world.code(f"{header}.{payload}.{'A' * 86}") == "token_signature"
    assert world.code(f"{header}.{payload}.AAAA") == "token_signature"


RAW: list[tuple[str, Callable[[World], Any]]] = [
    ("empty", lambda _: ""),
    ("dots", lambda _: ".."),
    ("one part", lambda _: "abc"),
    ("unsigned", lambda world: world.sign(world.header(alg="none"), world.claims(), lambda _: b"")),
    ("two parts", lambda world: good(world).rpartition(".")[0]),
    ("trailing dot", lambda world: good(world) + "."),
    ("trailing dots", lambda world: good(world) + ".."),
    ("five parts, as JWE", lambda _: "a.b.c.d.e"),
    ("padding", lambda world: good(world) + "=="),
    ("white space", lambda world: good(world) + "\n"),
    ("leading space", lambda world: " " + good(world)),
    ("non-ASCII", lambda world: good(world)[:-1] + "é"),
    ("full-width letters", lambda world: good(world).replace("e", "\uff45", 1)),
    ("lone surrogate", lambda world: good(world) + "\udcff"),
    ("null byte", lambda world: good(world) + "\0"),
    ("oversized", lambda world: world.sign(world.header(), world.claims(pad="x" * 8192))),
    (
        "JSON serialization",
        lambda world: json.dumps({"payload": "e30", "protected": "e30", "signature": good(world)}),
    ),
    ("no text", lambda world: good(world).encode()),
    ("None", lambda _: None),
    ("header no JSON", lambda world: world.sign("{", world.claims())),
    ("header no object", lambda world: world.sign("[]", world.claims())),
    ("header of two lengths", lambda _: "a.e30.e30"),
    ("payload not base64url", lambda world: "{0}.a.{2}".format(*good(world).split("."))),
    (
        "duplicate key in the header",
        lambda world: world.sign('{"alg": "none", ' + json.dumps(world.header())[1:], world.claims()),
    ),
    (
        "duplicate key in the payload",
        lambda world: world.sign(world.header(), '{"sub": "anna", ' + json.dumps(world.claims())[1:]),
    ),
    (
        "duplicate key in an actor",
        lambda world: world.sign(
            world.header(), json.dumps(world.claims())[:-1] + ', "act": {"sub": "anna", "sub": "planner"}}'
        ),
    ),
    ("payload a list", lambda world: world.sign(world.header(), "[]")),
    ("payload not UTF-8", lambda world: world.sign(world.header(), b'{"sub": "\xff"}')),
    ("payload with NaN", lambda world: world.sign(world.header(), world.claims(exp=float("nan")))),
    ("payload nested deeply", lambda world: world.sign(world.header(), "[" * 5000)),
    ("payload empty object in a list", lambda world: world.sign(world.header(), "[{}]")),
]


def good(world: World) -> str:
    return world.sign(world.header(), world.claims())


@pytest.mark.parametrize("make", [row[1] for row in RAW], ids=[row[0] for row in RAW])
def test_what_is_no_token_is_refused(world: World, make: Callable[[World], Any]) -> None:
    with pytest.raises(IdentityError) as caught:
        world.verifier.verify(make(world))
    assert caught.value.code == "token_malformed"


def test_base64_with_stray_bits_is_refused(world: World) -> None:
    token = good(world)
    # 64 bytes end in two bits of padding: another letter there would decode to the same signature.
    other = chr(ord(token[-1]) + 1)
    assert world.code(token[:-1] + other) == "token_signature"


def test_hs256_works_only_by_explicit_setting(tmp_path: Path) -> None:
    shared = World(tmp_path, hs256=True)
    token = shared.issuer.issue("deploy-agent", ttl_s=60)
    assert shared.verifier.verify(token).principal.id == "deploy-agent"
    header, payload, signature = token.split(".")
    flipped = ("B" if signature[0] == "A" else "A") + signature[1:]
    assert shared.code(f"{header}.{payload}.{flipped}") == "token_signature"
    assert World(tmp_path).code(token) == "token_algorithm"


def test_ed25519_tokens_still_count_where_hs256_is_on(tmp_path: Path) -> None:
    token = World(tmp_path).issuer.issue("deploy-agent", ttl_s=60)
    assert World(tmp_path, hs256=True).verifier.verify(token).principal.id == "deploy-agent"

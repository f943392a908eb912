"""Verifies tokens, each once: after that it is known by its digest."""

from __future__ import annotations

import contextlib
import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec
from joserfc.errors import BadSignatureError, JoseError
from joserfc.jws import JWSRegistry, deserialize_compact
from joserfc.util import urlsafe_b64decode

from agentguard.core import AgentGuardError, IdentityError, Principal, PrincipalKind
from agentguard.identity._claims import TOKEN_TYPE, check_claims, expired, malformed, read_claims, read_object
from agentguard.identity._limits import MAX_TOKEN_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agentguard.identity._claims import Claims
    from agentguard.identity._keys import Algorithm, TokenKeys, VerificationKey

# Answers what the inventory says of a principal, or None if it does not know it.
Directory = Callable[[str], Principal | None]

_REFRESH_S = 0.5
_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
# `EdDSA` is what Ed25519 was called before RFC 9864.
_NAMES: dict[Algorithm, frozenset[str]] = {
    "Ed25519": frozenset(("Ed25519", "EdDSA")),
    "HS256": frozenset(("HS256",)),
}


class VerifiedToken(msgspec.Struct, frozen=True):
    """What a token proves: who acts, and until when (Unix seconds).

    With `act_as` its bearer may name another principal in a request.
    """

    principal: Principal
    act_as: bool
    jti: str
    issued_at: float
    expires_at: float


class _KeyDecides(JWSRegistry):
    """Takes the algorithm from the key, whatever the header says."""

    def __init__(self, algorithm: Algorithm) -> None:
        super().__init__(algorithms=[algorithm])
        self._algorithm = algorithm

    def get_alg(self, name: str) -> Any:  # noqa: ARG002 - the header's word does not count
        return super().get_alg(self._algorithm)


_REGISTRIES = {algorithm: _KeyDecides(algorithm) for algorithm in _NAMES}


class TokenVerifier:
    """Says whom a token proves. Safe to call from many threads.

    Effective roles are those of the token, of the actor in the inventory and of every delegator in the
    inventory, intersected; likewise groups. Whom the inventory does not know has none. A verified token is kept
    by its SHA-256 until it expires, or until keys or revocations change; both are looked at twice a second.
    """

    def __init__(
        self,
        keys: TokenKeys,
        directory: Directory,
        *,
        audience: str = "agentguard",
        cache_size: int = 4096,
    ) -> None:
        self._keys = keys
        self._directory = directory
        self._audience = audience
        self._cache_size = cache_size
        self._now = keys.now
        self._lock = threading.Lock()
        self._cache: OrderedDict[bytes, VerifiedToken] = OrderedDict()
        self._generation: tuple[int, ...] = ()
        self._checked_at = float("-inf")

    def verify(self, token: str) -> VerifiedToken:
        """Return what `token` proves.

        Raises:
            IdentityError: it proves nothing; `code` says why, and the message never quotes it.
        """
        now = self._now()
        # Also when the clock went back: an old time must not stop us from looking.
        if not 0.0 <= now - self._checked_at < _REFRESH_S:
            self._refresh(now)
        cache = self._cache
        try:
            if len(token) > MAX_TOKEN_BYTES:
                raise malformed(f"is larger than {MAX_TOKEN_BYTES} bytes")
            digest = sha256(token.encode("ascii")).digest()
        except (UnicodeEncodeError, AttributeError, TypeError):
            raise malformed("is no ASCII text") from None
        try:
            found = cache[digest]
            cache.move_to_end(digest)
        except KeyError:
            found = self._verify_new(token, now)
            self._keep(cache, digest, found)
            return found
        if now >= found.expires_at:
            raise expired()
        return found

    def forget(self) -> None:
        """Verify every token anew; to be called when the inventory has changed."""
        self._cache = OrderedDict()

    def _refresh(self, now: float) -> None:
        with self._lock, _failing_closed():
            self._keys.refresh()
            generation = self._keys.generation
            if generation != self._generation:
                # A verification under way puts its result into the cache that it began with, so the new one
                # never holds what was found before the change.
                self.forget()
                self._generation = generation
            self._checked_at = now

    def _keep(self, cache: OrderedDict[bytes, VerifiedToken], digest: bytes, found: VerifiedToken) -> None:
        with self._lock:
            cache[digest] = found
            if len(cache) > self._cache_size:
                cache.popitem(last=False)

    def _verify_new(self, token: str, now: float) -> VerifiedToken:
        if _SHAPE.fullmatch(token) is None:
            raise malformed("is no signed token in three parts")
        with _failing_closed():
            key = self._find_key(token)
        claims = read_claims(read_object(_check_signature(token, key)))
        check_claims(claims, issuer=self._keys.issuer, audience=self._audience, now=now)
        chain = claims.chain()
        if self._keys.revocations.is_revoked(claims.jti, chain, claims.iat):
            raise IdentityError("the token is revoked", code="token_revoked", hint="issue a new one")
        return VerifiedToken(
            principal=self._principal(claims, chain),
            act_as=claims.act_as,
            jti=claims.jti,
            issued_at=claims.iat,
            expires_at=claims.exp,
        )

    def _find_key(self, token: str) -> VerificationKey:
        header = _read_header(token)
        algorithm, key_id = header.get("alg"), header.get("kid")
        allowed = self._keys.algorithms
        if not any(algorithm in _NAMES[each] for each in allowed if isinstance(algorithm, str)):
            raise _wrong_algorithm()
        key = self._keys.find(key_id) if isinstance(key_id, str) else None
        if key is None:
            raise IdentityError(
                "the token is signed with a key that is not known",
                code="token_unknown_key",
                hint="issue a new one",
            )
        if algorithm not in _NAMES[key.algorithm]:
            raise _wrong_algorithm()
        return key

    def _principal(self, claims: Claims, chain: tuple[str, ...]) -> Principal:
        known = [self._directory(each) for each in chain]
        actor = known[0]
        return Principal(
            id=chain[0],
            kind=actor.kind if actor is not None else claims.kind or PrincipalKind.AGENT,
            roles=_common(claims.roles, (each.roles if each else () for each in known)),
            groups=_common(claims.groups, (each.groups if each else () for each in known)),
            on_behalf_of=chain[1:],
        )


def _read_header(token: str) -> dict[str, Any]:
    header = read_object(_decode(token.partition(".")[0]))
    # jwk, jku, x5u, x5c would let the token bring its own key, crit and b64 its own rules.
    if not header.keys() <= {"typ", "alg", "kid"}:
        raise malformed("has a header parameter other than `typ`, `alg` and `kid`")
    if header.get("typ") != TOKEN_TYPE:
        raise IdentityError(f"the token is not of type `{TOKEN_TYPE}`", code="token_type")
    return header


def _decode(part: str) -> bytes:
    try:
        return urlsafe_b64decode(part.encode())
    except ValueError:
        raise malformed("is not base64url") from None


def _check_signature(token: str, key: VerificationKey) -> bytes:
    """Return the payload, if the key signed it."""
    try:
        payload = deserialize_compact(token, key.key, registry=_REGISTRIES[key.algorithm]).payload
    except BadSignatureError:
        raise IdentityError("the token's signature is wrong", code="token_signature") from None
    except (JoseError, ValueError):
        raise malformed("is no signed token") from None
    assert payload is not None
    return payload


def _common(granted: tuple[str, ...] | None, held: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Return, sorted, what everybody holds and the token grants; None grants all of it."""
    sets = [frozenset(each) for each in held]
    if granted is not None:
        sets.append(frozenset(granted))
    return tuple(sorted(frozenset.intersection(*sets)))


def _wrong_algorithm() -> IdentityError:
    return IdentityError(
        "the token's algorithm is not that of the key", code="token_algorithm", hint="use Ed25519"
    )


@contextlib.contextmanager
def _failing_closed() -> Iterator[None]:
    """Turn trouble with the state folder into a token that proves nothing."""
    try:
        yield
    except IdentityError:
        raise
    except AgentGuardError as error:
        raise IdentityError(
            f"no token can be verified: the state folder's file {error.message}",
            code="keys_unavailable",
            hint="run `agentguard doctor`",
        ) from None

"""What a token says, in types: parsed from hostile text, or built to be signed."""

from __future__ import annotations

import json
from typing import Annotated, Any, NoReturn

import msgspec
from msgspec import Meta

from agentguard.core import IdentityError, PrincipalKind
from agentguard.identity._limits import LEEWAY_S, MAX_DEPTH, MAX_TEXT, MAX_TTL_S

TOKEN_TYPE = "agentguard+jwt"  # noqa: S105 - the `typ` header, no secret
_REQUIRED = ("iss", "sub", "aud", "iat", "nbf", "exp", "jti")

_Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT)]
# Within these bounds arithmetic on times can neither overflow nor lose a second.
_Time = Annotated[float, Meta(ge=0, le=1e12)]


class Claims(msgspec.Struct, frozen=True):
    """The claims of a token (RFC 7519, section 4.1; RFC 8693, section 4.1); unknown ones are ignored.

    Times are Unix seconds. `roles` and `groups` narrow what the inventory gives; None narrows nothing.
    `act` is checked by `chain`, `iss` and `aud` by `check_claims`: they have errors of their own.
    """

    iss: Any
    sub: _Text
    aud: Any
    iat: _Time
    nbf: _Time
    exp: _Time
    jti: _Text
    roles: tuple[_Text, ...] | None = None
    groups: tuple[_Text, ...] | None = None
    kind: PrincipalKind | None = None
    act_as: bool = False
    act: Any = None

    def chain(self) -> tuple[str, ...]:
        """Return who acts, then each delegator from the immediate one to the one who asked first.

        Raises:
            IdentityError: `act` is malformed, deeper than 4, or names one principal twice
                (`token_delegation`).
        """
        actors: list[str] = []
        act = self.act
        while act is not None:
            if len(actors) == MAX_DEPTH:
                raise _delegation(f"is delegated more than {MAX_DEPTH} times")
            if not isinstance(act, dict) or not _is_id(act.get("sub")) or not act.keys() <= {"sub", "act"}:
                raise _delegation("has an actor that is malformed")
            actors.append(act["sub"])
            act = act.get("act")
        chain = (*actors, self.sub)
        if len(set(chain)) < len(chain):
            raise _delegation("names one principal twice in its delegation")
        return chain


def read_object(data: bytes) -> dict[str, Any]:
    """Return the JSON object in `data`; what two readers could read in two ways is refused.

    Raises:
        IdentityError: it is no UTF-8, no JSON object, or has a duplicate key (`token_malformed`).
    """
    try:
        value = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise malformed("is no JSON object, or has a duplicate key")
    return value


def read_claims(payload: dict[str, Any]) -> Claims:
    """Return the claims in a payload.

    Raises:
        IdentityError: one is missing (`token_missing_claim`) or has the wrong type (`token_malformed`).
    """
    for name in _REQUIRED:
        if name not in payload:
            raise IdentityError(f"the token has no `{name}` claim", code="token_missing_claim")
    try:
        claims = msgspec.convert(payload, Claims)
    except (msgspec.ValidationError, OverflowError):
        raise malformed("has a claim of the wrong type or size") from None
    if not _is_id(claims.sub) or not claims.jti.isprintable():
        raise malformed("has a claim with a control character")
    return claims


def check_claims(claims: Claims, *, issuer: str, audience: str, now: float) -> None:
    """Refuse claims that are another's, or out of their time.

    Raises:
        IdentityError: `token_issuer`, `token_audience`, `token_lifetime`, `token_not_yet_valid` or
            `token_expired`.
    """
    if claims.iss != issuer:
        raise IdentityError("the token is of another issuer", code="token_issuer")
    if claims.aud != audience:
        raise IdentityError("the token is meant for another audience", code="token_audience")
    if claims.exp - claims.iat > MAX_TTL_S:
        raise IdentityError(f"the token lives longer than {MAX_TTL_S} s", code="token_lifetime")
    if max(claims.iat, claims.nbf) > now + LEEWAY_S:
        raise IdentityError(
            "the token is not yet valid", code="token_not_yet_valid", hint="compare the clocks"
        )
    if now >= claims.exp:
        raise expired()


def nest_actors(chain: tuple[str, ...]) -> dict[str, Any]:
    """Return the `sub` and `act` claims of a chain, who acts first (RFC 8693, section 4.1)."""
    act: dict[str, Any] | None = None
    for actor in reversed(chain[:-1]):
        act = {"sub": actor} if act is None else {"sub": actor, "act": act}
    return {"sub": chain[-1]} if act is None else {"sub": chain[-1], "act": act}


def malformed(what: str) -> IdentityError:
    """Return the error for a text that is no token of ours; `what` never quotes it."""
    return IdentityError(f"the token {what}", code="token_malformed")


def expired() -> IdentityError:
    """Return the error for a token whose time is over."""
    return IdentityError("the token has expired", code="token_expired", hint="issue a new one")


def _delegation(what: str) -> IdentityError:
    return IdentityError(f"the token {what}", code="token_delegation")


def _is_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_TEXT and value.isprintable()


def _unique(items: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(items)
    if len(result) < len(items):
        raise ValueError("duplicate key")
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)

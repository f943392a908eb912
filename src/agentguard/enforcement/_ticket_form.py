"""The form of an execution ticket: a compact JWS (RFC 7515) with one type, one algorithm, one set of claims."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import msgspec
from joserfc.errors import BadSignatureError, JoseError
from joserfc.jws import deserialize_compact, serialize_compact
from joserfc.util import urlsafe_b64decode
from msgspec import Meta

from agentguard.core import Ticket, TicketError

if TYPE_CHECKING:
    from collections.abc import Callable

    from joserfc.jwk import OKPKey

TICKET_TYPE = "agentguard-ticket+jwt"
ALGORITHM = "Ed25519"
MAX_TICKET_BYTES = 8_192
MAX_NAME = 256  # characters of a `jti` or an executor's name
_SHAPE = re.compile(r"([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.([A-Za-z0-9_-]*)", re.ASCII)
# The last character of 64 bytes in base64url carries two bits; any other would be a second spelling.
_SIGNATURE = re.compile(r"[A-Za-z0-9_-]{85}[AQgw]", re.ASCII)

_Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
# Within these bounds arithmetic on times can neither overflow nor lose a second.
_Time = Annotated[float, Meta(ge=0, le=1e12)]


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The protected header. `jwk`, `jku`, `x5u` or `x5c` would let a ticket bring its own key."""

    typ: str
    alg: str
    kid: str


class _Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The claims (RFC 7519, section 4.1, where they have a name there)."""

    iss: str
    aud: _Name
    sub: Annotated[str, Meta(min_length=1)]
    jti: _Name
    iat: _Time
    exp: _Time
    action: str
    resource: str
    params_hash: str
    audit_id: str
    on_behalf_of: tuple[str, ...] = ()


_header = msgspec.json.Decoder(_Header)
_claims = msgspec.json.Decoder(_Claims)
_encoder = msgspec.json.Encoder()


def sign(ticket: Ticket, key_id: str, key: OKPKey) -> str:
    """Return the ticket as text, signed."""
    claims = _Claims(
        iss=ticket.issuer,
        aud=ticket.audience,
        sub=ticket.principal,
        jti=ticket.jti,
        iat=ticket.issued_at,
        exp=ticket.expires_at,
        action=ticket.action,
        resource=ticket.resource,
        params_hash=ticket.params_hash,
        audit_id=ticket.audit_id,
        on_behalf_of=ticket.on_behalf_of,
    )
    header = {"typ": TICKET_TYPE, "alg": ALGORITHM, "kid": key_id}
    return serialize_compact(header, _encoder.encode(claims), key, algorithms=[ALGORITHM])


def authentic(text: str, find_key: Callable[[str], OKPKey | None]) -> Ticket:
    """Return what a ticket says, if one of our keys signed it; its time and what it is for are not looked at.

    Raises:
        TicketError: `ticket_malformed`, `ticket_type`, `ticket_algorithm`, `ticket_unknown_key` or
            `ticket_signature`; or what `find_key` raises. The message never quotes the ticket.
    """
    match = _SHAPE.fullmatch(text) if type(text) is str and len(text) <= MAX_TICKET_BYTES else None
    if match is None:
        raise malformed("is no signed ticket in three parts")
    try:
        header = _header.decode(urlsafe_b64decode(match[1].encode()))
    except (ValueError, RecursionError):
        raise malformed("has a header that is not `typ`, `alg` and `kid`") from None
    if header.typ != TICKET_TYPE:
        raise TicketError(f"it is not of type `{TICKET_TYPE}`", code="ticket_type")
    # The key decides the algorithm; the header may only agree.
    if header.alg != ALGORITHM:
        raise TicketError("the ticket's algorithm is not that of the keys", code="ticket_algorithm")
    key = find_key(header.kid)
    if key is None:
        raise TicketError(
            "the ticket is signed with a key that is not known",
            code="ticket_unknown_key",
            hint="if the keys were rotated, get the public keys again",
        )
    if _SIGNATURE.fullmatch(match[2]) is None:
        raise _wrong_signature()
    return _as_ticket(_payload(text, key))


def _payload(text: str, key: OKPKey) -> bytes:
    try:
        payload = deserialize_compact(text, key, algorithms=[ALGORITHM]).payload
    except BadSignatureError:
        raise _wrong_signature() from None
    except (JoseError, ValueError):
        raise malformed("is no signed ticket") from None
    assert payload is not None
    return payload


def _as_ticket(payload: bytes) -> Ticket:
    try:
        claims = _claims.decode(payload)
    except (ValueError, RecursionError):
        raise malformed("lacks a claim, or has one too many or of the wrong type") from None
    return Ticket(
        jti=claims.jti,
        issuer=claims.iss,
        audience=claims.aud,
        principal=claims.sub,
        on_behalf_of=claims.on_behalf_of,
        action=claims.action,
        resource=claims.resource,
        params_hash=claims.params_hash,
        audit_id=claims.audit_id,
        issued_at=claims.iat,
        expires_at=claims.exp,
    )


def _wrong_signature() -> TicketError:
    return TicketError("the ticket's signature is wrong", code="ticket_signature")


def malformed(what: str) -> TicketError:
    """Return the error for a text that is no ticket; `what` never quotes it."""
    return TicketError(f"the ticket {what}", code="ticket_malformed")

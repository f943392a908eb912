"""Issues tokens."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from joserfc import jwt

from agentguard.core import IdentityError, PrincipalKind
from agentguard.identity._claims import TOKEN_TYPE, nest_actors, read_claims
from agentguard.identity._limits import MAX_TOKEN_BYTES, MAX_TTL_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentguard.identity._keys import TokenKeys


class TokenIssuer:
    """Issues the project's tokens (JWT, RFC 7519), signed with its current key."""

    def __init__(self, keys: TokenKeys, *, audience: str = "agentguard") -> None:
        self._keys = keys
        self._audience = audience

    def issue(
        self,
        principal_id: str,
        *,
        ttl_s: int,
        roles: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
        on_behalf_of: Sequence[str] = (),
        act_as: bool = False,
        kind: PrincipalKind | None = None,
    ) -> str:
        """Return a token with which `principal_id` acts for `ttl_s` seconds.

        `on_behalf_of` goes from the immediate delegator to the one who asked first. `roles` and `groups` narrow
        what the inventory gives; None leaves that as it is. `act_as` lets the bearer name another principal in
        a request. `kind` counts where the inventory does not know the principal.

        Raises:
            IdentityError: the token would be refused: it lives too long (`token_lifetime`), is delegated more
                than 4 times or in a circle (`token_delegation`), or has a malformed or too long value
                (`token_malformed`).
        """
        if not 1 <= ttl_s <= MAX_TTL_S:
            raise IdentityError(f"a token lives 1 to {MAX_TTL_S} seconds", code="token_lifetime")
        payload = self._payload((principal_id, *on_behalf_of), ttl_s)
        payload |= {"act_as": True} if act_as else {}
        payload |= {"kind": kind.value} if kind is not None else {}
        payload |= {"roles": list(roles)} if roles is not None else {}
        payload |= {"groups": list(groups)} if groups is not None else {}
        read_claims(payload).chain()
        key_id, key, algorithm = self._keys.current()
        header = {"typ": TOKEN_TYPE, "alg": algorithm, "kid": key_id}
        token = jwt.encode(header, payload, key, algorithms=[algorithm])
        if len(token) > MAX_TOKEN_BYTES:
            raise IdentityError(
                f"the token is larger than {MAX_TOKEN_BYTES} bytes",
                code="token_malformed",
                hint="name fewer roles",
            )
        return token

    def _payload(self, chain: tuple[str, ...], ttl_s: int) -> dict[str, Any]:
        now = self._keys.now()
        return {
            "iss": self._keys.issuer,
            "aud": self._audience,
            # With its fraction: a token issued just after a revocation of its principal has to count.
            "iat": round(now, 6),
            "nbf": int(now),
            "exp": int(now) + ttl_s,
            "jti": secrets.token_urlsafe(16),
            **nest_actors(chain),
        }

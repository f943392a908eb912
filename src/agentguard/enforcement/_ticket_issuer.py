"""Issues execution tickets: on a decision that lets an action through, for one executor."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from msgspec.structs import replace

from agentguard.core import RequestError, Ticket, canonical_hash
from agentguard.enforcement._ticket_form import MAX_NAME, MAX_TICKET_BYTES, sign
from agentguard.identity import MAX_TICKET_TTL_S

if TYPE_CHECKING:
    from agentguard.core import Decision, Principal
    from agentguard.identity import TicketKeys


class TicketIssuer:
    """Issues tickets with the project's key, each good for `ttl_s` seconds (1 to 60)."""

    def __init__(self, keys: TicketKeys, *, ttl_s: int = MAX_TICKET_TTL_S) -> None:
        if not 1 <= ttl_s <= MAX_TICKET_TTL_S:
            raise ValueError(f"a ticket lives 1 to {MAX_TICKET_TTL_S} seconds")
        self._keys = keys
        self._ttl_s = ttl_s

    def draft(self, decision: Decision, principal: Principal, executor: str) -> Ticket:
        """Return the ticket for what was decided, not signed yet; its `audit_id` is to come.

        Raises:
            RequestError: no ticket can be bound to it: `executor` is no name, or the parameters have no canonical
                form (RFC 8785).
        """
        if type(executor) is not str or not 0 < len(executor) <= MAX_NAME or not executor.isprintable():
            raise RequestError("`ticket_for` is no executor's name")
        # With its fraction, so that a store knows whether it is older than the ticket.
        now = round(self._keys.now(), 6)
        return Ticket(
            jti=secrets.token_hex(16),
            issuer=self._keys.issuer,
            audience=executor,
            principal=principal.id,
            on_behalf_of=principal.on_behalf_of,
            action=decision.action,
            resource=decision.resource,
            params_hash=canonical_hash(decision.params),
            audit_id="",
            issued_at=now,
            expires_at=now + self._ttl_s,
        )

    def sign(self, draft: Ticket, audit_id: str) -> str:
        """Return the ticket, signed, for the decision on record as `audit_id`.

        Raises:
            RequestError: it would be longer than 8,192 bytes.
            ConfigError, IntegrityError: the keys cannot be read.
        """
        text = sign(replace(draft, audit_id=audit_id), *self._keys.current())
        if len(text) > MAX_TICKET_BYTES:
            raise RequestError(f"the ticket is larger than {MAX_TICKET_BYTES} bytes")
        return text

"""Execution tickets over HTTP: the public keys, and the store of who keeps none of his own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import AgentGuardError, Ticket, TicketCall, TicketError, TicketRevocation
from agentguard.enforcement import TicketVerifier
from agentguard.server._http import HttpError, bearer, parse_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.enforcement import TicketStore
    from agentguard.identity import TicketKeys, VerifiedToken
    from agentguard.server._http import Headers
    from agentguard.server._services import Services

_call_decoder = msgspec.json.Decoder(TicketCall)
_revocation_decoder = msgspec.json.Decoder(TicketRevocation)
_UNAVAILABLE = frozenset(("ticket_store_unavailable", "ticket_store_missing", "ticket_keys_unavailable"))


class TicketRoutes:
    """Answers executors, and the admin who revokes. Each use, refusal and revocation is recorded."""

    def __init__(
        self,
        services: Services,
        authenticate: Callable[[Headers], VerifiedToken],
        require_admin: Callable[[Headers], None],
    ) -> None:
        self._services = services
        self._authenticate = authenticate
        self._require_admin = require_admin

    async def consume(self, headers: Headers, body: bytes) -> bytes:
        """Use a ticket up that is for the principal of the token."""
        executor = self._authenticate(headers).principal.id
        call = parse_json(body, _call_decoder)
        ticket = await asyncio.to_thread(self._consume, executor, call)
        return msgspec.json.encode(ticket)

    async def revoke(self, headers: Headers, body: bytes) -> bytes:
        """Revoke a ticket, if there is still time. Not for a browser's session: there is no form for it."""
        if not bearer(headers):
            raise HttpError(
                401,
                "admin_token_needed",
                "this needs the admin token",
                hint="send `Authorization: Bearer TOKEN`",
            )
        self._require_admin(headers)
        jti = parse_json(body, _revocation_decoder).jti
        in_time = await asyncio.to_thread(self._revoke, jti)
        return msgspec.json.encode({"in_time": in_time})

    async def keys(self) -> bytes:
        """Return the public keys."""
        keys, _ = self._kept()
        try:
            return msgspec.json.encode(await asyncio.to_thread(keys.jwks))
        except AgentGuardError as error:
            raise HttpError(503, "ticket_keys_unavailable", error.message, hint=error.hint) from None

    def _consume(self, executor: str, call: TicketCall) -> Ticket:
        keys, store = self._kept()
        about = {"type": "ticket", "executor": executor}

        def note(error: TicketError, known: Ticket | None) -> None:
            self._record({**about, "status": "refused", "code": error.code, **_about(known)})

        verifier = TicketVerifier(keys, executor=executor, store=store, on_refused=note)
        try:
            ticket = verifier.consume(
                call.ticket,
                action=call.action,
                resource=call.resource,
                params=call.params,
                principal=call.principal,
            )
        except TicketError as error:
            raise _refused(error) from None
        try:
            self._record({**about, "status": "consumed", **_about(ticket)})
        except AgentGuardError as error:
            # The ticket is used up, and nobody acts on it.
            raise HttpError(503, error.code, error.message, hint=error.hint) from None
        return ticket

    def _revoke(self, jti: str) -> bool:
        _, store = self._kept()
        try:
            in_time = store.revoke(jti)
            status = "revoked" if in_time else "revoked_late"
            self._record({"type": "ticket", "status": status, "jti": jti})
        except TicketError as error:
            raise _refused(error) from None
        except AgentGuardError as error:
            raise HttpError(503, error.code, error.message, hint=error.hint) from None
        return in_time

    def _kept(self) -> tuple[TicketKeys, TicketStore]:
        keys, store = self._services.ticket_keys, self._services.ticket_store
        if keys is None or store is None:
            raise HttpError(503, "ticket_store_missing", "this server keeps no tickets")
        return keys, store

    def _record(self, record: dict[str, Any]) -> None:
        self._services.audit.append(record)


def _about(ticket: Ticket | None) -> dict[str, str]:
    """Return what a record says of a genuine ticket; of another one, every word is the sender's."""
    if ticket is None:
        return {}
    return {
        "jti": ticket.jti,
        "decision": ticket.audit_id,
        "principal": ticket.principal,
        "action": ticket.action,
        "resource": ticket.resource,
    }


def _refused(error: TicketError) -> HttpError:
    status = 503 if error.code in _UNAVAILABLE else 409
    return HttpError(status, error.code, error.message, hint=error.hint)

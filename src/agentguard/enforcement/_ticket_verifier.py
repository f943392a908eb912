"""Verifies tickets where the action is done, and has each used once."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from agentguard.core import (
    AgentGuardError,
    ConfigError,
    RequestError,
    Ticket,
    TicketError,
    canonical_hash,
    normalise_resource_id,
    read_json_object,
)
from agentguard.enforcement._ticket_form import authentic
from agentguard.enforcement._ticket_keys import KeyFile
from agentguard.identity import LEEWAY_S, MAX_TICKET_TTL_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from joserfc.jwk import OKPKey

    from agentguard.enforcement._ticket_store import TicketStore

_LOGGER = logging.getLogger("agentguard.executor")


_ROUNDING_S = 1e-3  # what adding up two floats may gain


class PublicKeys(Protocol):
    """Whose tickets count, and with which keys."""

    issuer: str

    def find(self, key_id: str) -> OKPKey | None:
        """Return the public key of that id, or None."""


class TicketVerifier:
    """Lets the executor called `executor` act on tickets that are for it. Safe to use from many threads.

    `keys` are the issuer's public keys: the path of a JWK Set that `agentguard ticket keys` wrote, or an object
    that finds them. `store` remembers what was used; without one no ticket is consumed. A refusal is logged to
    `agentguard.executor` and given to `on_refused`, by default the store's table of refusals.

    Raises:
        ConfigError: `executor` is no name, or the file of the keys cannot be used (`ticket_keys_invalid`).
    """

    def __init__(
        self,
        keys: PublicKeys | str | Path,
        *,
        executor: str,
        store: TicketStore | None,
        now: Callable[[], float] = time.time,
        on_refused: Callable[[TicketError, Ticket | None], None] | None = None,
    ) -> None:
        if type(executor) is not str or not executor:
            hint = "take the name by which agents ask for tickets, as `ticket_for`"
            raise ConfigError("`executor` is no executor's name", hint=hint)
        self._keys: PublicKeys = KeyFile(keys) if isinstance(keys, str | Path) else keys
        self._executor = executor
        self._store = store
        self._now = now
        self._on_refused = on_refused or (store.note_refusal if store is not None else None)

    def consume(
        self,
        ticket: str,
        *,
        action: str,
        resource: str,
        params: dict[str, Any] | str | bytes,
        principal: str | None = None,
    ) -> Ticket:
        """Return the ticket if it is for just this action and was never used; then it is used up.

        Do the action after this returns, and only then. `action` is `name@version`; `params` are what will be
        executed, as an object or as its JSON text. `principal`, if given, must be the one who acts.

        Raises:
            TicketError: nothing may be done. `code` says why; the refusal is noted.
        """
        known: Ticket | None = None
        try:
            known = self._authentic(ticket)
            self._check(known, action, resource, params, principal)
            self._use_up(known)
        except TicketError as error:
            self._refuse(error, known)
            raise
        return known

    def verify(
        self,
        ticket: str,
        *,
        action: str,
        resource: str,
        params: dict[str, Any] | str | bytes,
        principal: str | None = None,
    ) -> Ticket:
        """Return the ticket if it is for just this action; it may have been used, so act on `consume` alone.

        Raises:
            TicketError: it is not; `code` says why.
        """
        known = self._authentic(ticket)
        self._check(known, action, resource, params, principal)
        return known

    def _authentic(self, text: str) -> Ticket:
        ticket = read_ticket(text, self._keys, now=self._now)
        if ticket.audience != self._executor:
            raise TicketError("the ticket is meant for another executor", code="ticket_audience")
        return ticket

    @staticmethod
    def _check(
        ticket: Ticket,
        action: str,
        resource: str,
        params: dict[str, Any] | str | bytes,
        principal: str | None,
    ) -> None:
        if principal is not None and principal != ticket.principal:
            raise TicketError("the ticket is for another principal", code="ticket_principal")
        if action != ticket.action:
            raise TicketError(
                "the ticket is for another action", code="ticket_action", hint="write it as `name@version`"
            )
        try:
            same_resource = normalise_resource_id(resource) == ticket.resource
        except RequestError:
            same_resource = False
        if not same_resource:
            raise TicketError("the ticket is for another resource", code="ticket_resource")
        try:
            found = canonical_hash(read_json_object(params) if isinstance(params, str | bytes) else params)
        except RequestError as error:
            raise TicketError(error.message, code="ticket_params") from None
        # No secret is compared: who knows the ticket can read the hash in it.
        if found != ticket.params_hash:
            raise TicketError("the ticket is for other parameters", code="ticket_params")

    def _use_up(self, ticket: Ticket) -> None:
        if self._store is None:
            raise TicketError(
                "there is no store that remembers which tickets were used",
                code="ticket_store_missing",
                hint="give the verifier a `TicketStore`",
            )
        self._store.consume(ticket)

    def _refuse(self, error: TicketError, ticket: Ticket | None) -> None:
        # Louder where the log is all that remembers it.
        _LOGGER.log(
            logging.INFO if self._on_refused is not None else logging.WARNING,
            "a ticket is refused: %s",
            error.code,
            extra={"code": error.code, "jti": ticket.jti if ticket is not None else ""},
        )
        if self._on_refused is None:
            return
        try:
            self._on_refused(error, ticket)
        except Exception as failure:  # noqa: BLE001 - the refusal holds, on record or not
            name = type(failure).__name__
            _LOGGER.error("the refusal of a ticket is not recorded: %s", name)  # noqa: TRY400 - a traceback may quote parameters


def read_ticket(text: str, keys: PublicKeys, *, now: Callable[[], float] = time.time) -> Ticket:
    """Return what a ticket says, if it is genuine and in its time: for people, it permits nothing.

    Raises:
        TicketError: it is not; `code` says why.
    """
    try:
        ticket = authentic(text, keys.find)
    except TicketError:
        raise
    except AgentGuardError as error:
        what = f"the public keys cannot be read: {error.message}"
        raise TicketError(what, code="ticket_keys_unavailable") from None
    if ticket.issuer != keys.issuer:
        raise TicketError("the ticket is of another issuer", code="ticket_issuer")
    moment = now()
    if ticket.expires_at - ticket.issued_at > MAX_TICKET_TTL_S + _ROUNDING_S:
        raise TicketError(f"the ticket lives longer than {MAX_TICKET_TTL_S} s", code="ticket_lifetime")
    if ticket.issued_at > moment + LEEWAY_S:
        raise TicketError(
            "the ticket is not yet valid", code="ticket_not_yet_valid", hint="compare the clocks"
        )
    if moment >= ticket.expires_at:
        raise TicketError("the ticket has expired", code="ticket_expired", hint="ask for a new decision")
    return ticket

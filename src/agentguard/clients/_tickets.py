"""Tickets for an executor that keeps no store of its own: the sidecar verifies them and has each used once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentguard.clients._remote import RemoteDecider
from agentguard.core import RequestError, TicketCall, TicketError, canonical_hash, read_json_object

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from agentguard.core import Ticket


class SidecarTickets:
    """Has the sidecar at `url` use tickets up that are for the principal whose `token` it is.

    A sidecar that is dead, slow (beyond `deadline_s` seconds) or answers anything but this ticket means that nothing
    may be done. Safe to use from many threads; can be used as a context manager.

    Raises:
        ConfigError: `url` is no http or https address, or the token cannot stand in a header.
    """

    def __init__(self, url: str, token: str, *, deadline_s: float = 2.0) -> None:
        self._remote = RemoteDecider(url, token, deadline_s=deadline_s)

    def consume(
        self,
        ticket: str,
        *,
        action: str,
        resource: str,
        params: dict[str, Any] | str | bytes,
        principal: str | None = None,
    ) -> Ticket:
        """Return the ticket if it is for just this action and was never used, as `TicketVerifier.consume` does.

        If the answer is lost on the way the ticket may be used up, and nothing may be done all the same.

        Raises:
            TicketError: nothing may be done. `code` says why; without an answer it is `ticket_store_unavailable`.
        """
        try:
            given = read_json_object(params) if isinstance(params, str | bytes) else params
            digest = canonical_hash(given)
        except RequestError as error:
            raise TicketError(error.message, code="ticket_params") from None
        return self._remote.consume_ticket(TicketCall(ticket, action, resource, given, principal), digest)

    def close(self) -> None:
        """Close the connections; nothing is consumed after that. Idempotent."""
        self._remote.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

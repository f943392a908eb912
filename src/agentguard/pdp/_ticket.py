"""The execution ticket of a decision: drafted before the decision is recorded, signed when it is.

The record says that a ticket was issued, and the ticket names the record. So all that can be refused is looked at
first, and only the signature comes after.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from msgspec.structs import force_setattr, replace

from agentguard.core import AgentGuardError, Decision, Effect, Principal, RequestError, Ticket

if TYPE_CHECKING:
    from agentguard.enforcement import TicketIssuer

_LOG = logging.getLogger("agentguard.pdp")
_LETS_THROUGH = Effect.TRANSFORM.rank


def draft_ticket(
    issuer: TicketIssuer | None, decision: Decision, principal: Principal, executor: str
) -> tuple[Decision, Ticket | None]:
    """Return the decision and its ticket to be signed; a deny if there can be none where one is needed.

    What lets nothing through carries no ticket.
    """
    if decision.effect.rank > _LETS_THROUGH:
        return decision, None
    if issuer is None:
        return _denied(decision, "this decision point issues none"), None
    try:
        return decision, issuer.draft(decision, principal, executor)
    except RequestError as error:
        return _denied(decision, error.message), None


def sign_ticket(issuer: TicketIssuer, decision: Decision, draft: Ticket) -> Decision:
    """Return the decision with its ticket, or a deny: who asked for a ticket is not to act without one."""
    try:
        force_setattr(decision, "ticket", issuer.sign(draft, decision.audit_id))
    except Exception as error:  # noqa: BLE001 - the boundary: a decision is returned, never raised
        _LOG.error("a ticket could not be signed: %s", type(error).__name__)
        return _denied(
            decision, error.message if isinstance(error, AgentGuardError) else type(error).__name__
        )
    return decision


def _denied(decision: Decision, why: str) -> Decision:
    reason = f"the ticket that was asked for cannot be issued: {why}"
    return replace(decision, effect=Effect.DENY, stage="ticket", reason=reason, obligations=())

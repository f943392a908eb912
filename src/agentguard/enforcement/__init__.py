"""Makes a decision real: its obligations, the tickets by which an executor knows of it, callers held for people.

Enters: a `Decision` and the result of its action; at an executor a ticket and what it is to do. Leaves: the result
as the obligations want it, a signed ticket, or an `ExecutionError` or a `TicketError`, and then nothing. Called by:
the enforcement points and executors; the PDP asks what can be carried out, and issues. It must never pass a result
on that an obligation does not fit, skip one that it does not know, log a parameter, or count a ticket twice.
"""

from typing import TYPE_CHECKING

from agentguard.enforcement._carry_out import carry_out
from agentguard.enforcement._hold import Hold
from agentguard.enforcement._log import log_decision
from agentguard.enforcement._obligation import (
    KNOWN_OBLIGATIONS,
    obligation_problem,
    require_known,
    sandboxes_of,
    unmet_obligation,
)

if TYPE_CHECKING:
    from agentguard.enforcement._ticket_issuer import TicketIssuer
    from agentguard.enforcement._ticket_keys import KeyFile
    from agentguard.enforcement._ticket_store import Refusal, TicketStore
    from agentguard.enforcement._ticket_verifier import PublicKeys, TicketVerifier, read_ticket

__all__ = [
    "KNOWN_OBLIGATIONS",
    "Hold",
    "KeyFile",
    "PublicKeys",
    "Refusal",
    "TicketIssuer",
    "TicketStore",
    "TicketVerifier",
    "carry_out",
    "log_decision",
    "obligation_problem",
    "read_ticket",
    "require_known",
    "sandboxes_of",
    "unmet_obligation",
]

_TICKETS = {
    "KeyFile": "_ticket_keys",
    "PublicKeys": "_ticket_verifier",
    "Refusal": "_ticket_store",
    "TicketIssuer": "_ticket_issuer",
    "TicketStore": "_ticket_store",
    "TicketVerifier": "_ticket_verifier",
    "read_ticket": "_ticket_verifier",
}


def __getattr__(name: str) -> object:
    # Keys, signatures and SQLite load slowly, and who has no tickets needs none of them.
    if name in _TICKETS:
        from importlib import import_module

        return getattr(import_module(f"agentguard.enforcement.{_TICKETS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Execution tickets: what an executor knows of an action that was let through."""

from __future__ import annotations

import msgspec


class Ticket(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a verified ticket says: who may do what, on what, once, until when; `params` are bound by their hash.

    `jti` names the ticket, `audit_id` the record of its decision, `audience` the executor that it is for.
    `principal` acts, `on_behalf_of` its delegators, the immediate one first. Times are Unix seconds.
    """

    jti: str
    issuer: str
    audience: str
    principal: str
    on_behalf_of: tuple[str, ...]
    action: str
    resource: str
    params_hash: str
    audit_id: str
    issued_at: float
    expires_at: float

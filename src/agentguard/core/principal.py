"""Principals: who acts."""

from __future__ import annotations

import enum

import msgspec


class PrincipalKind(enum.Enum):
    """What kind of being acts."""

    AGENT = "agent"
    HUMAN = "human"
    SERVICE = "service"


class Principal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who acts. It comes from a verified token or from the host program, never from what a model wrote.

    `roles` and `groups` are the effective ones (already intersected along the chain). `on_behalf_of` is the
    delegation chain: ids from the immediate delegator to the one who asked first (RFC 8693, section 4.1).
    """

    id: str
    kind: PrincipalKind = PrincipalKind.AGENT
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    on_behalf_of: tuple[str, ...] = ()

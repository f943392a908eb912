"""People: who may look, vote and change rules, as a login proves it."""

from __future__ import annotations

from typing import Literal

import msgspec

VIEWER = "viewer"
APPROVER = "approver"
POLICY_AUTHOR = "policy-author"
ADMIN = "admin"
# What a person may be; each says one thing, and none includes another.
PERSON_ROLES = (VIEWER, APPROVER, POLICY_AUTHOR, ADMIN)


class Person(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A person who has logged in. No token of an agent and no admin token makes one.

    `name` is the account's name, in the same space as the ids of principals: who asks is never who approves.
    `roles` are some of `PERSON_ROLES`.
    """

    name: str
    roles: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()


class Origin(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where somebody spoke from: the way, and the address of the other side as the server saw it."""

    via: Literal["cli", "api", "page", "link", "slack"]
    address: str = ""

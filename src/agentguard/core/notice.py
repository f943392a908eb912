"""Notices: what people are told."""

from __future__ import annotations

import enum
from datetime import datetime

import msgspec

from agentguard.core.decision import Severity


class NoticeKind(enum.Enum):
    """What a notice is about."""

    APPROVAL_PENDING = "approval_pending"
    APPROVAL_ESCALATED = "approval_escalated"
    APPROVAL_DELEGATED = "approval_delegated"
    APPROVAL_DECIDED = "approval_decided"
    APPROVAL_EFFECT_UNKNOWN = "approval_effect_unknown"
    GLASS_BROKEN = "glass_broken"
    CLOCK_JUMPED = "clock_jumped"
    # A rule's obligation `notify`.
    RULE = "rule"
    # Something that was seen and should not be: by the kernel, on a budget.
    ALERT = "alert"
    TEST = "test"


class Notice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One thing to be told. What stands in `title` and `fields` may be hostile: an agent wrote parts of it.

    `id` is the same when the same thing is told again. `fields` are names and values, in the order to be shown.
    `links` are names and paths on the page, as `/approvals/ap-…`, without a host. It is for the people and groups
    that are named, for everybody where `everyone` is true, and otherwise for whoever a channel is for.
    """

    id: str
    kind: NoticeKind
    severity: Severity
    title: str
    at: datetime
    fields: tuple[tuple[str, str], ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    approval: str = ""
    edition: int = 0
    people: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    everyone: bool = False

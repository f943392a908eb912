"""The shape of rules about more than one request, as they are written: closed structs, before compiling."""

from __future__ import annotations

import enum
from typing import Literal

import msgspec

from agentguard.core import Effect, Severity
from agentguard.policy._rule import PrincipalSelector, ResourceSelector, When


class Scope(enum.Enum):
    """Whose requests are looked at together.

    `session`: of one principal in one session; without a session id, all of the principal's that have none.
    `task`: of one principal for one task; without a task, as `session`. `agent`: of one principal.
    `delegation`: of all who act for the same first delegator. `all`: everyone's.
    """

    SESSION = "session"
    TASK = "task"
    AGENT = "agent"
    DELEGATION = "delegation"
    ALL = "all"


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which requests a step is about: the selectors of a rule. Keys must all hold, a list means any of it."""

    principals: tuple[str | PrincipalSelector, ...] | None = None
    actions: tuple[str, ...] | None = None
    resources: tuple[str | ResourceSelector, ...] | None = None
    when: When | None = None


class Sequence(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """`then` is stopped `after` something else (`unless` a third came between), or without what it `requires`."""

    id: str
    effect: Effect
    then: Step
    after: Step | None = None
    unless: Step | None = None
    requires: Step | None = None
    within: str | None = None
    scope: Scope = Scope.SESSION
    reason: str = ""
    severity: Severity = Severity.HIGH
    owner: str = ""


class Limit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """How much of something there may be: one of `count`, `sum` with `max`, `distinct` with `max`.

    `sum` is a JSON pointer to a number or a fact that is one, as `data.bytes`; `distinct` is `resource`, a JSON
    pointer to any value or a fact, of which each member counts, as `net.host`.
    """

    id: str
    effect: Effect
    of: Step
    count: int | None = None
    sum: str | None = None
    distinct: str | None = None
    max: int | float | None = None
    per: str | None = None
    scope: Scope = Scope.SESSION
    reason: str = ""
    severity: Severity = Severity.HIGH
    owner: str = ""


class Breaker(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A pause for who was denied too often: `denials` `within` a time deny all for the time of `pause`."""

    denials: int
    within: str
    pause: str
    scope: Scope = Scope.AGENT
    id: Literal["breaker"] = "breaker"


class CumulativeRisk(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """Bounds on the sum of risk scores in a sliding window."""

    window: str
    approval_from: int
    deny_from: int
    scope: Scope = Scope.SESSION
    id: Literal["cumulative-risk"] = "cumulative-risk"


class SequenceRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a rule file says about more than one request."""

    sequences: tuple[Sequence, ...] = ()
    limits: tuple[Limit, ...] = ()
    breaker: Breaker | None = None
    cumulative_risk: CumulativeRisk | None = None

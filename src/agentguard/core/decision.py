"""Decisions: the whole answer, with its reasons."""

from __future__ import annotations

import enum
from typing import Any, Literal, NoReturn

import msgspec

from agentguard.core.effect import Effect
from agentguard.core.intent import ArgumentOrigin


class Severity(enum.Enum):
    """How much a finding matters."""

    INFO = "info"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Finding(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One detector's evidence: `score` 0 to 1, `span` as (start, end) offsets in what it looked at."""

    detector: str
    score: float
    severity: Severity = Severity.INFO
    explanation: str = ""
    span: tuple[int, int] | None = None
    latency_us: float = 0.0


class Obligation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the enforcement point must do for the effect to hold; one that it does not know is a deny."""

    name: str
    value: Any = None


class RiskScore(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`score` = action risk (1-4) x resource sensitivity (1-4), and the effect that this calls for."""

    action: int
    resource: int
    score: int
    effect: Effect


class NearMiss(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rule that did not apply, and the first predicate of it that failed."""

    rule: str
    effect: Effect
    predicate: str


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was decided, and why. Has no truth value: compare `decision.effect`.

    `action` (`name@version`), `resource` and `params` are the final ones, copied before deciding: an
    enforcement point executes these and never the caller's own objects. `rule` is None when no rule decided
    (default deny, or a malformed request). `policy_version` is the content hash of the policy set.
    `audit_id` is the `event_id` of the record, empty where nothing is recorded. `ticket` is the execution ticket,
    where one was asked for and the action is let through. `origins` says in a session with an intent where the
    arguments come from. `approval` is the id of the approval that the action waits for, or that it was let through
    by; empty where none was asked for.
    """

    effect: Effect
    reason: str
    principal: str
    action: str
    resource: str
    params: dict[str, Any] = {}
    rule: str | None = None
    stage: str = ""
    policy_version: str = ""
    risk: RiskScore | None = None
    obligations: tuple[Obligation, ...] = ()
    findings: tuple[Finding, ...] = ()
    near_misses: tuple[NearMiss, ...] = ()
    prechecks: tuple[str, ...] = ()
    required_privileges: tuple[str, ...] = ()
    correlation_id: str = ""
    audit_id: str = ""
    ticket: str = ""
    latency_us: float = 0.0
    origins: tuple[ArgumentOrigin, ...] = ()
    approval: str = ""

    def __post_init__(self) -> None:
        if not self.reason:
            raise ValueError("a decision needs a reason")

    def __bool__(self) -> NoReturn:
        raise TypeError("a Decision has no truth value; compare decision.effect, as in `is Effect.ALLOW`")


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What came of an action that was let through: `audit_id` names its decision.

    `principal` is who says so; over HTTP the server fills it in from the token, whatever the body says. `approval`
    is the decision's.
    """

    audit_id: str
    status: Literal["succeeded", "failed", "refused"]
    detail: str = ""
    principal: str = ""
    approval: str = ""

"""The shape of a rule as it is written: closed structs, before anything is compiled."""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from agentguard.core import (
    Access,
    Asked,
    Effect,
    Integrity,
    OriginKind,
    PrincipalKind,
    Reach,
    Risk,
    Sensitivity,
    Severity,
)

Scalar = str | int | float | bool | None


class Tier(enum.Enum):
    """Where a rule stands: `mandatory` rules hold whatever the others say."""

    MANDATORY = "mandatory"
    POLICY = "policy"


class PrincipalSelector(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Principals by what they are; all keys that are given must hold."""

    role: str | tuple[str, ...] | None = None
    group: str | tuple[str, ...] | None = None
    kind: PrincipalKind | None = None


class ResourceSelector(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Resources by what the inventory says of them; all keys must hold, a list means any of it."""

    type: str | tuple[str, ...] | None = None
    environment: str | tuple[str, ...] | None = None
    sensitivity: Sensitivity | tuple[Sensitivity, ...] | None = None
    owner: str | tuple[str, ...] | None = None
    labels: dict[str, str | tuple[str, ...]] = {}


class RiskRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Bounds on an action's own risk, both inclusive."""

    min: Risk | None = None
    max: Risk | None = None


class ParamCondition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one parameter must be; all keys that are given must hold.

    `pattern` is RE2 syntax and must match the whole text unless `search` is true.
    """

    min: int | float | None = None
    max: int | float | None = None
    equals: Scalar | msgspec.UnsetType = msgspec.UNSET
    any_of: tuple[Scalar, ...] | None = msgspec.field(default=None, name="in")
    pattern: str | None = None
    search: bool = False
    present: bool | None = None


class TimeWindow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Days and a span of wall-clock time in `tz` (default UTC); the end is exclusive.

    A window over midnight belongs to the day on which it starts.
    """

    days: tuple[str, ...] | None = None
    between: tuple[str, str] | None = None
    tz: str = "UTC"


class SensitivityRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Bounds on the confidentiality of a value, both inclusive."""

    min: Sensitivity | None = None
    max: Sensitivity | None = None


class ProvenanceCondition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where one argument came from; all keys that are given must hold, a list means any of it.

    `source` is a glob over the names of sources. In a rule that forbids, one category or source of the
    argument is enough; in a rule that permits, all that it has must be among the wanted ones.
    """

    integrity: Integrity | tuple[Integrity, ...] | None = None
    confidentiality: SensitivityRange | Sensitivity | tuple[Sensitivity, ...] | None = None
    category: str | tuple[str, ...] | None = None
    source: str | tuple[str, ...] | None = None


class OriginCondition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a session with an intent knows of a call; all keys that are given must hold, a list means any of it.

    `carries`: a text among the arguments could take along what was
    read. `targets`, `amounts` and `secrets` are the worst origin among the call's arguments of that role.
    """

    access: Access | None = None
    asked: Asked | tuple[Asked, ...] | None = None
    reach: Reach | None = None
    carries: bool | None = None
    targets: OriginKind | tuple[OriginKind, ...] | None = None
    amounts: OriginKind | tuple[OriginKind, ...] | None = None
    secrets: OriginKind | tuple[OriginKind, ...] | None = None


class When(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Conditions that must all hold.

    `facts` are about what is inside an argument (`core.FACTS`). Of a fact that is a list, a rule that forbids
    asks whether any member is so, a rule that permits whether every member is.
    """

    action_risk: RiskRange | None = None
    params: dict[str, ParamCondition | Scalar | tuple[Scalar, ...]] = {}
    time: TimeWindow | None = None
    context: dict[str, Scalar | tuple[Scalar, ...]] = {}
    facts: dict[str, ParamCondition | Scalar | tuple[Scalar, ...]] = {}
    provenance: dict[str, ProvenanceCondition] = {}
    origin: OriginCondition | None = None


class Unless(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An exemption: it holds only if all of it holds."""

    principals: tuple[str | PrincipalSelector, ...] | None = None
    actions: tuple[str, ...] | None = None
    resources: tuple[str | ResourceSelector, ...] | None = None
    action_risk: RiskRange | None = None
    params: dict[str, ParamCondition | Scalar | tuple[Scalar, ...]] = {}
    time: TimeWindow | None = None
    context: dict[str, Scalar | tuple[Scalar, ...]] = {}
    facts: dict[str, ParamCondition | Scalar | tuple[Scalar, ...]] = {}
    provenance: dict[str, ProvenanceCondition] = {}
    origin: OriginCondition | None = None


class TransformOp(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One rewriting of the parameters. `path` is a JSON pointer (RFC 6901); see `_transform`."""

    op: str
    path: str | None = None
    value: Any = msgspec.UNSET
    min: int | float | None = None
    max: int | float | None = None
    params: tuple[str, ...] | None = None
    pattern: str | None = None
    replacement: str | None = msgspec.field(default=None, name="with")


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One rule. A list means any of it, keys must all hold, a missing key means anything."""

    id: str
    effect: Effect
    tier: Tier = Tier.POLICY
    principals: tuple[str | PrincipalSelector, ...] | None = None
    actions: tuple[str, ...] | None = None
    resources: tuple[str | ResourceSelector, ...] | None = None
    when: When | None = None
    unless: Unless | None = None
    obligations: tuple[dict[str, Any], ...] = ()
    transform: tuple[TransformOp, ...] = ()
    expires: str | None = None
    severity: Severity | None = None
    owner: str = ""
    reason: str = ""

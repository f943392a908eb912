"""Resources: what an action is done to; and the two scales whose product is the risk."""

from __future__ import annotations

import enum

import msgspec


class Risk(enum.Enum):
    """How much harm an action can do; `weight` is 1 to 4."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    weight: int


class Sensitivity(enum.Enum):
    """How much a resource matters; `weight` is 1 to 4."""

    PUBLIC = "public"
    INTERNAL = "internal"
    RESTRICTED = "restricted"
    CRITICAL = "critical"

    weight: int


for _weight, (_risk, _sensitivity) in enumerate(zip(Risk, Sensitivity, strict=True), start=1):
    _risk.weight = _sensitivity.weight = _weight


class Resource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing in the world, as the inventory knows it.

    `id` is normalised (`normalise_resource_id`). `listed` says whether the inventory knows it; if not,
    `type` is inferred from the id, `sensitivity` is None (which counts as critical) and the rest is empty.
    """

    id: str
    type: str
    environment: str = ""
    sensitivity: Sensitivity | None = None
    owner: str = ""
    labels: dict[str, str] = {}
    listed: bool = False

    @property
    def weight(self) -> int:
        """The sensitivity as 1 to 4; an unknown one weighs as much as critical."""
        return 4 if self.sensitivity is None else self.sensitivity.weight

"""The four effects, ordered by strictness."""

from __future__ import annotations

import enum


class Effect(enum.Enum):
    """What a decision says: `allow < transform < require_approval < deny`.

    The order is a join lattice: when two verdicts meet, the stricter one holds (`join`). An effect has no
    truth value, so `if decision.effect:` cannot let a denial through by accident.
    """

    ALLOW = "allow"
    TRANSFORM = "transform"
    REQUIRE_APPROVAL = "require_approval"
    DENY = "deny"

    rank: int

    def join(self, other: Effect) -> Effect:
        """Return the stricter of the two."""
        return self if self.rank >= other.rank else other

    def __bool__(self) -> bool:
        raise TypeError("an Effect has no truth value; compare it, as in `effect is Effect.ALLOW`")

    def __str__(self) -> str:
        return str(self.value)


for _rank, _effect in enumerate(Effect):
    _effect.rank = _rank

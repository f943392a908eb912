"""Labels of values: how far they can be trusted, and who may see them."""

from __future__ import annotations

import enum

import msgspec

from agentguard.core.resource import Sensitivity


class Integrity(enum.Enum):
    """How far a value can be trusted, from text anyone may have written up to our own configuration."""

    UNTRUSTED = "untrusted"
    UNVERIFIED = "unverified"
    VERIFIED = "verified"
    TRUSTED = "trusted"


_INTEGRITY_RANK = {level: rank for rank, level in enumerate(Integrity)}


class Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Integrity x confidentiality of a value (the product lattice of Biba and Bell-LaPadula)."""

    integrity: Integrity = Integrity.UNVERIFIED
    confidentiality: Sensitivity = Sensitivity.INTERNAL

    def join(self, other: Label) -> Label:
        """Return the label of a value made of both: the lower integrity, the higher confidentiality."""
        return Label(
            integrity=min(self.integrity, other.integrity, key=_INTEGRITY_RANK.__getitem__),
            confidentiality=max(self.confidentiality, other.confidentiality, key=lambda level: level.weight),
        )

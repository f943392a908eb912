"""Labels of values: how far they can be trusted, who may see them, and what they are about."""

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

    rank: int


for _rank, _level in enumerate(Integrity):
    _level.rank = _rank


class Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Integrity x confidentiality x categories x readers of a value (a product of lattices).

    `categories` name what a value is about, as `personal` or `credential`. `readers` are the principals and
    domains that may see it: None means everyone, the empty tuple nobody else. Both are kept sorted, each
    name once.
    """

    integrity: Integrity = Integrity.UNVERIFIED
    confidentiality: Sensitivity = Sensitivity.INTERNAL
    categories: tuple[str, ...] = ()
    readers: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.categories:
            msgspec.structs.force_setattr(self, "categories", tuple(sorted(set(self.categories))))
        if self.readers:
            msgspec.structs.force_setattr(self, "readers", tuple(sorted(set(self.readers))))

    def join(self, other: Label) -> Label:
        """Return the label of a value made of both.

        That is the lower integrity, the higher confidentiality, the categories of both, and the readers
        that both have.
        """
        readers = self.readers if other.readers is None else other.readers
        if self.readers is not None and other.readers is not None:
            readers = tuple(name for name in self.readers if name in other.readers)
        return Label(
            integrity=min(self.integrity, other.integrity, key=lambda level: level.rank),
            confidentiality=max(self.confidentiality, other.confidentiality, key=lambda level: level.weight),
            categories=self.categories + other.categories,
            readers=readers,
        )

"""Endorsing and declassifying: a person's word that a label is too strict, for one purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agentguard.core import Integrity, Label, Sensitivity
from agentguard.flow._packed import with_confidentiality, with_integrity

if TYPE_CHECKING:
    from agentguard.flow._session import Origin

# An origin keeps the names of so many sources.
MAX_SOURCES = 8
MAX_GRANTS = 256


class Grant(msgspec.Struct, frozen=True, omit_defaults=True):
    """A changed label for one action and argument: of a source, or of one value (its fingerprint)."""

    action: str
    param: str
    source: str = ""
    value: int | None = None
    integrity: Integrity | None = None
    confidentiality: Sensitivity | None = None

    def covers(self, action: str, path: str) -> bool:
        """Tell whether it is for this action and argument."""
        return self.action == action and (self.param in ("*", path) or path.startswith(f"{self.param}/"))

    def regrade(self, packed: int) -> int:
        """Return the label as changed; never stricter than before."""
        if self.integrity is not None:
            packed = with_integrity(packed, self.integrity)
        if self.confidentiality is not None:
            packed = with_confidentiality(packed, self.confidentiality)
        return packed


class Regraded(msgspec.Struct, frozen=True):
    """What a regrade changed: the label of its source or value, before and after."""

    before: Label
    after: Label


def regraded(grants: tuple[Grant, ...], origin: Origin) -> int:
    """Return the label of an origin after the grants; each of its sources must be covered."""
    packed = origin.packed
    if len(origin.sources) >= MAX_SOURCES:
        # There may be more of them than were kept.
        return packed
    for kind in ("integrity", "confidentiality"):
        fitting = [each for each in grants if each.source and getattr(each, kind) is not None]
        covering = [[each for each in fitting if each.source == source] for source in origin.sources]
        if covering and all(covering):
            # Sources that were granted differently: the least that all of them were granted.
            packed = _weakest(covering, kind).regrade(packed)
    return packed


def _weakest(covering: list[list[Grant]], kind: str) -> Grant:
    best = [max(each, key=lambda grant: _reach(grant, kind)) for each in covering]
    weakest = min(best, key=lambda grant: _reach(grant, kind))
    return msgspec.structs.replace(weakest, **{_OTHER[kind]: None})


_OTHER = {"integrity": "confidentiality", "confidentiality": "integrity"}


def _reach(grant: Grant, kind: str) -> int:
    if kind == "integrity":
        return grant.integrity.rank if grant.integrity is not None else 0
    return -grant.confidentiality.weight if grant.confidentiality is not None else 0

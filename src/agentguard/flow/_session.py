"""What one session has seen: a joined label, and an index from fingerprints to where they came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agentguard.flow._packed import MILDEST
from agentguard.flow._regrade import MAX_SOURCES

if TYPE_CHECKING:
    from agentguard.flow._prints import Prints
    from agentguard.flow._regrade import Grant

MAX_ORIGINS = 4_096
MAX_SOURCE_NAME = 256
MAX_VOUCHED = 16_384


class Origin(msgspec.Struct, frozen=True):
    """Where a fingerprint came from: the joined label, and the sources that share it."""

    packed: int
    sources: tuple[str, ...]


class Session:
    """The state of one session. Whoever changes it holds the store's lock; reading needs none.

    The index is kept in two generations. When the younger one is full, the older one is forgotten, and its
    label counts for everything that is matched from then on (`lossy`).
    """

    __slots__ = (
        "events",
        "generations",
        "grants",
        "label",
        "labels",
        "lossy",
        "lost",
        "max_prints",
        "merges",
        "numbers",
        "origins",
        "seen",
        "vouched",
    )

    def __init__(self, *, max_prints: int, label: int = MILDEST, lost: bool = False) -> None:
        self.max_prints = max_prints
        self.label = label
        self.lost = lost
        self.lossy = label
        self.seen = 0.0
        self.events = 0
        # Young and old, replaced together so that a reader sees a pair that belongs together.
        self.generations: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.labels = [MILDEST, MILDEST]
        self.origins: list[Origin] = []
        self.numbers: dict[Origin, int] = {}
        self.merges: dict[tuple[int, int], int] = {}
        self.vouched: dict[int, int] = {}
        self.grants: tuple[Grant, ...] = ()

    def __len__(self) -> int:
        """Return how many fingerprints are kept."""
        return len(self.generations[0]) + len(self.generations[1]) + len(self.vouched)

    def find(self, fingerprint: int) -> Origin | None:
        """Return where a fingerprint came from, as far as that is remembered."""
        young, old = self.generations
        number = young.get(fingerprint)
        if number is None:
            number = old.get(fingerprint)
            if number is None:
                return None
        return self.origins[number]

    def observe(self, prints: Prints, packed: int, source: str) -> None:
        """Take in a value."""
        # The label first: who asks in between is judged too strictly rather than too mildly.
        self.label |= packed
        self.events += 1
        number = self._number(Origin(packed, (source[:MAX_SOURCE_NAME],)))
        found = prints.found
        if len(found) > self.max_prints // 2:
            found = set(sorted(found)[: self.max_prints // 2])
            self.lossy |= packed
        if len(self.generations[0]) + len(found) > self.max_prints // 2:
            self._rotate()
        young, old = self.generations
        self.labels[0] |= self.origins[number].packed
        known = young.keys() & found
        fresh = dict.fromkeys(found - known, number)
        for fingerprint in old.keys() & fresh.keys():
            fresh[fingerprint] = self._merge(old[fingerprint], number)
            self.labels[0] |= self.labels[1]
        fresh |= {fingerprint: self._merge(young[fingerprint], number) for fingerprint in known}
        young.update(fresh)

    def vouch(self, prints: set[int], packed: int, source: str) -> None:
        """Take in words of the user or of the configuration; what no longer fits is not vouched for."""
        number = self._number(Origin(packed, (source[:MAX_SOURCE_NAME],)))
        for fingerprint in prints:
            known = self.vouched.get(fingerprint)
            if known is not None:
                self.vouched[fingerprint] = self._merge(known, number)
            elif len(self.vouched) < MAX_VOUCHED:
                self.vouched[fingerprint] = number

    def forget(self) -> None:
        """Drop the index; the session's label counts for everything from then on."""
        self.lossy |= self.label
        self.labels = [MILDEST, MILDEST]
        self.generations = ({}, {})

    def _rotate(self) -> None:
        self.lossy |= self.labels[1]
        self.labels = [MILDEST, self.labels[0]]
        self.generations = ({}, self.generations[0])

    def _number(self, origin: Origin) -> int:
        number = self.numbers.get(origin)
        if number is None:
            if len(self.origins) >= MAX_ORIGINS:
                # No room for its name: it shares the number of all that came too late, and their label.
                return self._late(origin)
            number = len(self.origins)
            self.origins.append(origin)
            self.numbers[origin] = number
        return number

    def _late(self, origin: Origin) -> int:
        last = self.origins[-1]
        if last.packed | origin.packed != last.packed or last.sources != ("other",):
            self.origins[-1] = Origin(last.packed | origin.packed, ("other",))
        return len(self.origins) - 1

    def _merge(self, one: int, two: int) -> int:
        if one == two:
            return one
        pair = (one, two) if one < two else (two, one)
        number = self.merges.get(pair)
        if number is None:
            first, second = self.origins[one], self.origins[two]
            sources = tuple(dict.fromkeys(first.sources + second.sources))[:MAX_SOURCES]
            number = self._number(Origin(first.packed | second.packed, sources))
            if len(self.merges) >= MAX_ORIGINS * 4:
                self.merges.clear()
            if len(self.origins) < MAX_ORIGINS:
                self.merges[pair] = number
        return number

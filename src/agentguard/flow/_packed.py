"""Labels as integers: joining two is one `|`, comparing them two operations.

Integrity and confidentiality are written in unary, so that the stricter level holds the bits of the milder
one. Categories are one bit each. Readers are written as those who are *not* allowed, an infinite set that
Python's negative integers hold: `~0` excludes everybody. So the strictest label of all is -1, the mildest 0.

    bits 0-2    distrust         trusted 0, verified 1, unverified 11, untrusted 111
    bits 3-5    confidentiality  public 0, internal 1, restricted 11, critical 111
    bits 6-69   categories
    bits 70-    excluded readers
"""

from __future__ import annotations

import threading

from agentguard.core import Integrity, Label, Sensitivity

MAX_CATEGORIES = 64
MAX_READERS = 256
# The name of all categories for which there was no bit left.
OTHER = "other"

_CATEGORY_SHIFT = 6
_READER_SHIFT = _CATEGORY_SHIFT + MAX_CATEGORIES
_CATEGORIES = (1 << MAX_CATEGORIES) - 1
_MAX_CACHED = 4096

MILDEST = 0
_DISTRUST = {level: (1 << (3 - level.rank)) - 1 for level in Integrity}
_SECRECY = {level: ((1 << (level.weight - 1)) - 1) << 3 for level in Sensitivity}
_INTEGRITIES = {bits: level for level, bits in _DISTRUST.items()}
_SENSITIVITIES = {bits: level for level, bits in _SECRECY.items()}

UNTRUSTED = _DISTRUST[Integrity.UNTRUSTED]
UNVERIFIED = _DISTRUST[Integrity.UNVERIFIED]
RESTRICTED = _SECRECY[Sensitivity.RESTRICTED]
INTEGRITY_BITS = 0b111
SECRECY_BITS = 0b111000


def dominates(strict: int, mild: int) -> bool:
    """Tell whether `strict` is at least as strict as `mild` in every respect."""
    return strict | mild == strict


def with_integrity(packed: int, integrity: Integrity) -> int:
    """Return the label with its integrity raised to `integrity` (never lowered)."""
    return packed & (~INTEGRITY_BITS | _DISTRUST[integrity])


def with_confidentiality(packed: int, confidentiality: Sensitivity) -> int:
    """Return the label with its confidentiality lowered to `confidentiality` (never raised)."""
    return packed & (~SECRECY_BITS | _SECRECY[confidentiality])


class LabelTable:
    """Which bit stands for which category and reader. Bounded, and what no longer fits gets stricter.

    The 64th and later categories share the bit of `other`; a reader beyond the 256th may not read.
    """

    def __init__(self, categories: tuple[str, ...] = (), readers: tuple[str, ...] = ()) -> None:
        self._lock = threading.Lock()
        self._categories = {name: bit for bit, name in enumerate(categories[: MAX_CATEGORIES - 1])}
        self._readers = {name: bit for bit, name in enumerate(readers[:MAX_READERS])}
        self._packed: dict[Label, int] = {}
        self._labels: dict[int, Label] = {}

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories that have a bit, in the order of their bits."""
        return tuple(self._categories)

    @property
    def readers(self) -> tuple[str, ...]:
        """The readers that have a bit, in the order of their bits."""
        return tuple(self._readers)

    def pack(self, label: Label) -> int:
        """Return the label as an integer."""
        known = self._packed.get(label)
        if known is not None:
            return known
        with self._lock:
            packed = _DISTRUST[label.integrity] | _SECRECY[label.confidentiality]
            for name in label.categories:
                packed |= 1 << (_CATEGORY_SHIFT + self._category(name))
            if label.readers is not None:
                packed |= ~sum(1 << bit for bit in self._reader_bits(label.readers)) << _READER_SHIFT
            if len(self._packed) >= _MAX_CACHED:
                self._packed.clear()
            self._packed[label] = packed
        return packed

    def unpack(self, packed: int) -> Label:
        """Return the label of an integer made by `pack` or joined from such."""
        known = self._labels.get(packed)
        if known is not None:
            return known
        bits = packed >> _CATEGORY_SHIFT & _CATEGORIES
        excluded = packed >> _READER_SHIFT
        with self._lock:
            categories = [name for name, bit in self._categories.items() if bits >> bit & 1]
            readers = [name for name, bit in self._readers.items() if not excluded >> bit & 1]
            if bits >> (MAX_CATEGORIES - 1):
                categories.append(OTHER)
            label = Label(
                _INTEGRITIES[packed & INTEGRITY_BITS],
                _SENSITIVITIES[packed & SECRECY_BITS],
                tuple(categories),
                tuple(readers) if excluded else None,
            )
            if len(self._labels) >= _MAX_CACHED:
                self._labels.clear()
            self._labels[packed] = label
        return label

    def _category(self, name: str) -> int:
        if name == OTHER:
            return MAX_CATEGORIES - 1
        if name not in self._categories and len(self._categories) < MAX_CATEGORIES - 1:
            self._categories[name] = len(self._categories)
        return self._categories.get(name, MAX_CATEGORIES - 1)

    def _reader_bits(self, names: tuple[str, ...]) -> list[int]:
        for name in names:
            if name not in self._readers and len(self._readers) < MAX_READERS:
                self._readers[name] = len(self._readers)
        return [self._readers[name] for name in names if name in self._readers]

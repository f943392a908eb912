"""Fingerprints: keyed numbers that stand for texts, made at the speed of C loops.

A word's number is BLAKE2b under a random key; the number of a sequence is Python's hash of the tuple of its
words' numbers. Who does not know the key can choose neither collisions in the index nor in its hash table.
What is remembered of a word already met is its number under Python's own keyed hash, never the word.
"""

from __future__ import annotations

import sys
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import fold_spelling
from agentguard.flow._decode import MAX_DECODED, MAX_DEPTH, decoded
from agentguard.flow._text import atoms, squash, squashed, words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Sequences of so many words; independent texts on one subject share many of three, hardly any of four.
SHINGLE = 4
# Pieces of long atoms (keys, tokens, addresses), in characters.
GRAM = 8
LONG_ATOM = 20
MIN_ATOM = 5
MIN_DIGITS = 4
# Characters of one value that are fingerprinted: its beginning, its end, and samples of the rest.
HEAD = 24_576
TAIL = 12_288
SAMPLES = 3
SAMPLE = 4_096
BUDGET = HEAD + TAIL + SAMPLES * SAMPLE
MAX_LEAVES = 4_096
MAX_JSON = 262_144
# Entries that are looked at of one value, of whatever kind.
MAX_ITEMS = 65_536
# Longer ones are known by their pieces only.
MAX_LEAF = 1_024
MAX_SHORT = 256

_MAX_CACHED = 65_536
_DENSE_ATOM = 64
_STRIDE = 4
_MAX_ATOM = 4_096
# A word by itself is no evidence, but it tells who may have said a short value: kept under another number.
ALONE = 0x5DEECE66D
# Numbers depend on how this interpreter hashes tuples.
DIALECT = f"{sys.implementation.cache_tag}-{sys.hash_info.width}"


class Short(msgspec.Struct, frozen=True, gc=False):
    """The fingerprint of a value that could be an argument by itself; `size` in letters and digits."""

    key: int
    size: int
    alone: tuple[int, ...]


class _Chars(dict[str, int]):
    """The numbers of single characters, made when first asked for."""

    def __init__(self, printer: Printer) -> None:
        super().__init__()
        self._printer = printer

    def __missing__(self, char: str) -> int:
        number = self[char] = self._printer.keyed(f"\0{char}")
        return number


class Prints(msgspec.Struct):
    """The fingerprints of one observed value; `partial`: it was larger than what is looked at."""

    found: set[int]
    partial: bool


class Printer:
    """Makes fingerprints under one key. Safe to use from many threads."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self._keyed = blake2b(digest_size=8, key=key)
        self._words: dict[int, int] = {}
        self._shorts: dict[int, Short] = {}
        self._chars = _Chars(self)

    def keyed(self, text: str) -> int:
        """Return the number of a normalised text."""
        seen = hash(text)
        number = self._words.get(seen)
        if number is None:
            # A copy of one that has its key: to make one anew costs half as much again.
            state = self._keyed.copy()
            state.update(text.encode("utf-8", "surrogatepass"))
            number = int.from_bytes(state.digest()) >> 4
            if len(self._words) >= _MAX_CACHED:
                self._words = {}
            self._words[seen] = number
        return number

    def short(self, raw: str) -> Short:
        """Return the fingerprint of a whole value as it came."""
        seen = hash(raw)
        known = self._shorts.get(seen)
        if known is not None:
            return known
        normal = fold_spelling(raw)
        parts = words(normal)
        joined = "".join(parts)
        made = Short(self.keyed(joined), len(joined), tuple(self.keyed(each) ^ ALONE for each in parts[:3]))
        if len(parts) > len(made.alone):
            made = Short(made.key, made.size, ())
        if len(self._shorts) >= _MAX_CACHED:
            self._shorts = {}
        if len(raw) <= MAX_SHORT:
            self._shorts[seen] = made
        return made

    def numbers(self, parts: list[str]) -> list[int]:
        """Return the numbers of words."""
        seen = list(map(hash, parts))
        known = self._words
        try:
            return list(map(known.__getitem__, seen))
        except KeyError:
            return [known.get(each) or self.keyed(part) for each, part in zip(seen, parts, strict=True)]

    def shingles(self, numbers: list[int]) -> Iterator[int]:
        """Yield the number of each sequence of four words."""
        return map(hash, zip(numbers, numbers[1:], numbers[2:], numbers[3:], strict=False))

    def grams(self, atom: str, *, step: int = 1) -> Iterator[int]:
        """Yield the numbers of the eight-character pieces of a squashed atom, one for each `step`."""
        lanes = list(map(self._chars.__getitem__, atom))
        windows = (lanes[at : len(lanes) - GRAM + 1 + at : step] for at in range(GRAM))
        return map(hash, zip(*windows, strict=True))

    def text(self, raw: str) -> set[int]:
        """Return the fingerprints of a text's pieces, and of what is encoded in it."""
        found: set[int] = set()
        self._text(raw, found, MAX_DEPTH, [MAX_DECODED])
        return found

    def value(self, value: Any) -> Prints:
        """Return the fingerprints of a JSON value or a text; bytes count as the text that they are."""
        if isinstance(value, bytes | bytearray | memoryview):
            value = bytes(value[: BUDGET * 4 + 1]).decode("utf-8", errors="replace")
        leaves: list[str] = []
        text, partial = (value, False) if isinstance(value, str) else flatten(value, leaves)
        pieces = cut(text)
        found: set[int] = set()
        for piece in pieces:
            found |= self.text(piece)
        if isinstance(value, str):
            leaves = _leaves_of_text(value)
        found.update(self.numbers(squashed([fold_spelling(leaf) for leaf in leaves])))
        found.discard(self.keyed(""))
        return Prints(found, partial or len(text) > BUDGET)

    def phrases(self, raw: str) -> set[int]:
        """Return the fingerprints of all that trusted words can be meant to say: phrases of up to four words."""
        normal = fold_spelling(raw[:HEAD])
        parts = words(normal)
        found = {self.keyed(squash(each)) for each in atoms(normal)}
        for count in range(1, 5):
            found.update(self.keyed("".join(parts[at : at + count])) for at in range(len(parts) - count + 1))
        found.add(self.short(raw).key)
        found.discard(self.keyed(""))
        return found

    def _text(self, raw: str, found: set[int], depth: int, budget: list[int]) -> None:
        normal = fold_spelling(raw)
        numbers = self.numbers(words(normal))
        found.update(self.shingles(numbers))
        found.update([number ^ ALONE for number in set(numbers)])
        whole = set(squashed(atoms(normal)))
        found.update(self.numbers([each for each in whole if len(each) >= MIN_ATOM]))
        for each in whole:
            if len(each) >= LONG_ATOM:
                self._long(each[:_MAX_ATOM], found)
        if depth:
            for inner in decoded(raw):
                budget[0] -= len(inner.text)
                if budget[0] < 0:
                    return
                whole_inner = squash(fold_spelling(inner.text))
                if len(whole_inner) >= MIN_ATOM:
                    found.add(self.keyed(whole_inner))
                self._text(inner.text, found, depth - 1, budget)

    def _long(self, atom: str, found: set[int]) -> None:
        found.update(self.grams(atom, step=1 if len(atom) <= _DENSE_ATOM else _STRIDE))


def cut(text: str) -> Iterable[str]:
    """Return the pieces of a text that are looked at: all of it within the budget."""
    if len(text) <= BUDGET:
        return (text,)
    middle = len(text) - HEAD - TAIL
    starts = [HEAD + (at + 1) * middle // (SAMPLES + 1) for at in range(SAMPLES)]
    return (text[:HEAD], *[text[start : start + SAMPLE] for start in starts], text[-TAIL:])


def flatten(value: Any, leaves: list[str]) -> tuple[str, bool]:
    """Return a JSON value as one text, put what stands in it into `leaves`, and tell whether it was too large."""
    parts: list[str] = []
    # What is being gone through: pairs of an object, or entries of a list.
    stack: list[tuple[Iterator[Any], bool]] = [(iter((value,)), False)]
    size, left = 0, MAX_ITEMS
    while stack:
        items, named = stack[-1]
        for item in items:
            left -= 1
            if named:
                # A key is part of the text, and no value by itself.
                key, item = item  # noqa: PLW2901 - the same place in the other kind of container
                parts.append(str(key))
                size += len(parts[-1]) + 1
            kind = type(item)
            if kind is str:
                parts.append(item)
                size += len(item) + 1
                if 1 < len(item) <= MAX_LEAF:
                    leaves.append(item)
            elif kind is dict or kind is list:
                stack.append((iter(item.items()), True) if kind is dict else (iter(item), False))
                break
            elif item is not None and kind is not bool:
                inner = _entries(item) if kind is not int else None
                if inner is not None:
                    stack.append(inner)
                    break
                written = str(item)
                parts.append(written)
                size += len(written) + 1
                if len(written) >= MIN_DIGITS:
                    leaves.append(written)
            if len(leaves) >= MAX_LEAVES or size > BUDGET * 2 or left < 0:
                return "\n".join(parts), True
        else:
            stack.pop()
        if len(stack) > MAX_LEAVES:
            return "\n".join(parts), True
    return "\n".join(parts), False


def _entries(item: Any) -> tuple[Iterator[Any], bool] | None:
    """Return what stands in a container that is none of JSON's own, None if it is no container."""
    if isinstance(item, dict):
        return iter(item.items()), True
    return (iter(item), False) if isinstance(item, list | tuple | set | frozenset) else None


def _leaves_of_text(text: str) -> list[str]:
    leaves = [text] if 1 < len(text) <= MAX_LEAF else []
    if text[:1] in ("{", "[") and len(text) <= MAX_JSON:
        try:
            flatten(msgspec.json.decode(text), leaves)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            return leaves
    return leaves

"""Records: what the results of a session hold, with the place of each value and what the user's words pick out.

A record is an object of a result, a result that is one value, or one entry of a list of values. Its short fields
are structure, its long ones are texts: a value counts as structured only where it is a whole short field.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from agentguard.intent._forms import (
    ENDPOINTS,
    ID,
    MAX_VALUE,
    NAME,
    atoms_of,
    key_of,
    shape_of,
    words_of,
)
from agentguard.intent._verbs import singular

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentguard.intent._words import Words

MAX_DEPTH = 16
MAX_LEAVES = 4_000
MAX_RECORDS = 2_000
# A field longer than this is a text in which anything can be said.
MAX_FIELD = 120
_MAX_FIELD_WORDS = 16
_SENTENCE_WORDS = 5
_ANNOTATED = re.compile(r"(\S{1,60}) \([^()]{1,60}\)")
_REMARK_WORDS = 12
MAX_ATOMS = 4_000
_MAX_PARTS = 50
# The fields of a letter's head (RFC 5322, 3.6), and what other kinds of texts have in its place.
_HEADS = frozenset(
    [
        "subject",
        "from",
        "sender",
        "to",
        "cc",
        "bcc",
        "reply-to",
        "reply_to",
        "comments",
        "keywords",
        "title",
        "name",
    ]
)


class Call:
    """One call that was reported: the tool, how its arguments came about, and what selects its records.

    `is_guided`: each argument that selects something is the user's word or as good; `is_plain`: no argument selects
    anything; `is_near`: no more than one of several that fit the user's words; `words` are the user's words among the arguments; `is_loose` as of `Parsed`; `is_write`: it changes.
    """

    __slots__ = (
        "is_document",
        "is_guided",
        "is_loose",
        "is_near",
        "is_own",
        "is_plain",
        "is_write",
        "number",
        "tool",
        "words",
    )

    def __init__(self, number: int, tool: str) -> None:
        self.number = number
        self.tool = tool
        self.words: frozenset[str] = frozenset()
        self.is_document = self.is_near = False
        self.is_guided = self.is_plain = self.is_loose = self.is_own = self.is_write = False


class Leaf:
    """One value in its place: `column` is the path with `*` for list positions, `field` its last name."""

    __slots__ = ("column", "field", "key", "record", "value")

    def __init__(self, key: str, value: Any, field: str, column: str, record: Record) -> None:
        self.key = key
        self.value = value
        self.field = field
        self.column = column
        self.record = record


class Record:
    """An object of a result. `hits` are the user's words in its short fields, `names` those that are names."""

    __slots__ = (
        "_all",
        "atoms",
        "call",
        "children",
        "column",
        "field",
        "has_text",
        "hits",
        "leaves",
        "mentions",
        "names",
        "number",
        "parent",
        "texts",
    )

    def __init__(self, number: int, call: Call, parent: Record | None, field: str, column: str) -> None:
        self.number = number
        self.call = call
        self.parent = parent
        self.field = field
        self.column = column
        self.leaves: list[Leaf] = []
        self.children: list[Record] = []
        self.atoms: set[str] = set()
        self.texts: list[str] = []
        self.has_text = False
        # What stands in the midst of short fields: somebody's words, and no text that a user refers to.
        self.mentions: set[str] = set()
        self.hits: frozenset[str] = frozenset()
        self.names: frozenset[str] = frozenset()
        self._all: frozenset[str] | None = None

    def own_hits(self) -> frozenset[str]:
        """Return the user's words in this record, in those it stands in and those in it."""
        found = self._all
        if found is None:
            found = self.hits
            for each in self.above():
                found |= each.hits
            # A whole document is picked out by its name, and not by what one of its sections is about.
            if not (self.call.is_document and self.parent is None):
                for each in self.below():
                    found |= each.hits
            self._all = found
        return found

    def all_hits(self) -> frozenset[str]:
        """Return its own hits and the user's words among the arguments of its call."""
        return self.own_hits() | self.call.words

    def is_beaten_by(self, own: frozenset[str], asked: frozenset[str], *, several: bool = False) -> bool:
        """Tell whether a record with these hits of its own, and these words in its call, fits as well as this one.

        Where the user speaks of `several` things, one that fits as well is just another of them.
        """
        mine = self.own_hits()
        if mine and several:
            return mine < own
        # Where a record has words of its own, those of the call are no help to one that has none.
        return mine <= own if mine else self.call.words <= (own | asked)

    def above(self) -> Iterator[Record]:
        """Yield the records that this one stands in."""
        each = self.parent
        while each is not None:
            yield each
            each = each.parent

    def below(self) -> Iterator[Record]:
        """Yield the records that stand in this one."""
        stack = list(self.children)
        while stack:
            each = stack.pop()
            yield each
            stack += each.children


def is_text(value: Any) -> bool:
    """Tell whether a value is a text rather than a field: long, or of several lines."""
    if type(value) is not str or len(value.split(None, 1)) < 2:  # noqa: PLR2004 - one word is none, however long
        return False
    return len(value) > MAX_FIELD or "\n" in value.strip() or value.count(" ") >= _MAX_FIELD_WORDS


def _annotated(value: Any) -> tuple[str, ...]:
    """Return the id of which a value says something in brackets behind it: `M-17 (off)`."""
    match = _ANNOTATED.fullmatch(value) if type(value) is str and value.endswith(")") else None
    return (match[1],) if match is not None and shape_of(key_of(match[1])) == ID else ()


def _is_sentence(value: Any) -> bool:
    return type(value) is str and value.count(" ") >= _SENTENCE_WORDS


def _is_remark(value: Any) -> bool:
    return type(value) is str and value.count(" ") >= _REMARK_WORDS


class Reader:
    """Reads the result of one call into records; bounded, and what is beyond is left out (`is_cut`)."""

    def __init__(self, call: Call, words: Words, first: int) -> None:
        self.call = call
        self.words = words
        self.next = first
        self.records: list[Record] = []
        self.leaves: list[Leaf] = []
        self.texts = 0
        # How often a field is a text, and how often it is short.
        self.texts_of: Counter[str] = Counter()
        self.short: Counter[str] = Counter()
        self.long: list[tuple[Record, str, str, set[str]]] = []
        self.is_cut = False

    def read(self, value: Any) -> None:
        """Read a result."""
        root = self._record(None, "", "")
        self._value(value, root, "", "", MAX_DEPTH)
        self._demote()
        for record in self.records:
            self._mark(record)

    def _demote(self) -> None:
        """Take long values of a field that is short elsewhere, or of the head of a letter, for no texts to refer to."""
        for record, column, value, atoms in self.long:
            if self.short[column] > self.texts_of[column] or column.rpartition("/")[2].casefold() in _HEADS:
                record.atoms -= atoms
                record.mentions |= atoms
                record.texts = [each for each in record.texts if each is not value]

    def _record(self, parent: Record | None, field: str, column: str) -> Record:
        record = Record(self.next, self.call, parent, field, column)
        self.next += 1
        self.records.append(record)
        if parent is not None:
            parent.children.append(record)
        return record

    def _value(self, value: Any, record: Record, field: str, column: str, depth: int) -> None:
        if len(self.leaves) >= MAX_LEAVES or len(self.records) >= MAX_RECORDS or depth == 0:
            self.is_cut = True
            return
        if type(value) is dict:
            self._object(value, record, field, column, depth)
        elif type(value) is list:
            for item in value:
                if type(item) is dict or not column or column.endswith("/*"):
                    below = self._record(record, field, f"{column}/*")
                    self._value(item, below, field, f"{column}/*", depth - 1)
                else:
                    self._value(item, record, field, f"{column}/*", depth - 1)
        elif value is not None and type(value) is not bool:
            self._leaf(value, record, field, column)

    def _object(self, value: dict[str, Any], record: Record, field: str, column: str, depth: int) -> None:
        is_own = record.column == column and not record.leaves and not record.children
        own = record if is_own else self._record(record, field, column)
        # Keys that are no names of fields but data: `{"Hotel A": {...}, "Hotel B": {...}}`.
        keyed = _keys_are_data(value)
        for name, inner in value.items():
            if keyed:
                entry = self._record(own, name, f"{column}/*")
                self._leaf(name, entry, "", f"{column}/~key")
                self._value(inner, entry, field, f"{column}/*", depth - 1)
            elif type(inner) is dict:
                below = self._record(own, name, f"{column}/{name}")
                self._value(inner, below, name, f"{column}/{name}", depth - 1)
            else:
                self._value(inner, own, name, f"{column}/{name}", depth - 1)

    def _leaf(self, value: Any, record: Record, field: str, column: str) -> None:
        # A result that is one sentence is a text as well, however short.
        if is_text(value) or (not column and _is_sentence(value)):
            self.texts += 1
            record.texts.append(value)
            record.has_text = True
            atoms = set(atoms_of(value)[: MAX_ATOMS - len(record.atoms)])
            record.atoms |= atoms
            self.long.append((record, column, value, atoms))
            self.texts_of[column] += 1
            self.is_cut = self.is_cut or len(record.atoms) >= MAX_ATOMS
            return
        self.short[column] += 1
        for part in (*parts_of(value), *_annotated(value)):
            key = key_of(part)
            if key:
                leaf = Leaf(key, part, field, column, record)
                record.leaves.append(leaf)
                self.leaves.append(leaf)

    def _kinds(self, column: str) -> frozenset[str]:
        """Return what the things of a column are called, by its name and that of the tool."""
        words = (*words_of(self.call.tool), *words_of(column.replace("/", " ")))
        return frozenset((*words, *map(singular, words)))

    def _mark(self, record: Record) -> None:
        hits: frozenset[str] = frozenset()
        names: set[str] = set()
        for leaf in record.leaves:
            if _is_remark(leaf.value):
                # Whoever writes sentences into a field would choose what it is found by.
                continue
            found = self.words.hits(leaf.value, leaf.key)
            if found and shape_of(leaf.key) == ID:
                # `deal_62` in a list of deals: the word is the same in the ids of all of them.
                found -= self._kinds(leaf.column)
            hits |= found
            name = self.words.name_hit(leaf.key)
            if name is not None:
                names.add(name)
        record.hits = hits
        record.names = frozenset(names)


def _keys_are_data(value: dict[str, Any]) -> bool:
    """Tell whether an object's keys are names of things: they look like ids, or like no name of a field."""
    if not value:
        return False
    shapes = [shape_of(key_of(name)) for name in value]
    if all(shape != NAME for shape in shapes):
        return True
    inner = {type(each) for each in value.values()}
    return len(value) > 1 and len(inner) == 1 and any(" " in name.strip() for name in value)


def parts_of(value: Any) -> list[Any]:
    """Return the parts of a value: a text that lists addresses is several."""
    if type(value) is str and ("," in value or ";" in value) and len(value) <= MAX_VALUE:
        parts = [part.strip() for part in value.replace(";", ",").split(",") if part.strip()]
        if 1 < len(parts) <= _MAX_PARTS and all(shape_of(key_of(part)) in ENDPOINTS for part in parts):
            return list(parts)
    return [value]

"""What one session remembers: records by their values, what the agent wrote itself, and what was refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentguard.intent._forms import (
    ENDPOINTS,
    ID,
    MAIL,
    NAME,
    NUMBER,
    PATH,
    WEEK,
    atoms_of,
    clean,
    form_of,
    key_of,
    measure_of,
    shape_of,
    tokens_of,
    words_of,
)
from agentguard.intent._records import Call, Leaf, Reader, Record, is_text
from agentguard.intent._verbs import read_wish, singular
from agentguard.intent._vocabulary import IDENTITIES, OWNERS, is_telling

if TYPE_CHECKING:
    from agentguard.intent._verbs import Wish
    from agentguard.intent._words import Words

MAX_KEYS = 50_000
MAX_PLACES = 12
MAX_TEXT_KEPT = 1_000_000
# Words of texts, each counted once a record. Beyond, texts are searched and not looked up.
MAX_INDEXED = 200_000
# Of one column so many values are compared with each other.
MAX_MEMBERS = 300
# Calls that were refused before doubts are no longer worth asking a person about.
MAX_STRIKES = 4
MAX_ASKS = 2

MINE = frozenset(("my", "mine", "our", "ours"))
# What a field's name ends in, whomever it is about.
_ENDINGS = frozenset(("id", "ids", "name", "email", "mail", "number", "no", "key", "code", "ref"))
_NOWHERE: set[int] = set()
# The user's words in a record itself, and among the arguments of the call that gave it.
Hits = tuple[frozenset[str], frozenset[str]]


class Memory:
    """The state of one session. Whoever changes it holds the session's lock."""

    def __init__(self, words: Words, identities: frozenset[str]) -> None:
        self.words = words
        self.calls = 0
        self.is_cut = False
        self.values: dict[str, list[Leaf]] = {}
        self.atoms: dict[str, list[Record]] = {}
        # By column, the user's words that records have, and the values of the records that have just these.
        self.columns: dict[tuple[str, str], dict[Hits, set[str]]] = {}
        self.members: dict[tuple[str, str], list[Leaf]] = {}
        self.sources: dict[tuple[str, str], dict[Hits, set[int]]] = {}
        self.texts: dict[int, str] = {}
        # The user's words in texts: they break a tie, and pick nothing out by themselves.
        self.about: dict[int, frozenset[str]] = {}
        self.texts_with: set[frozenset[str]] = set()
        self.me: set[str] = {key for key in (*identities, *words.me) if key}
        self.my_fields: set[str] = set()
        # The folders that paths stand in, each with the first such path.
        self.folders: dict[str, Leaf] = {}
        self.authored: dict[str, int] = {}
        self.refused: set[str] = set()
        self.pending: dict[str, int] = {}
        self.strikes = 0
        self._with_word: dict[str, set[int]] = {}
        self._indexed = 0
        self.with_text: list[Record] = []
        self._wishes: dict[int, Wish] = {}
        self._next = 0
        self._kept = 0

    def begin(self, tool: str) -> Call:
        """Return a new call, whose result is to be read."""
        self.calls += 1
        return Call(self.calls, tool)

    def take(self, call: Call, value: Any) -> None:
        """Take in a result."""
        reader = Reader(call, self.words, self._next)
        reader.read(value)
        self._next = reader.next
        self.is_cut = self.is_cut or reader.is_cut
        if not call.is_write:
            self._learn_identity(call, reader)
        for leaf in reader.leaves:
            self._index(leaf)
        for record in reader.records:
            self._index_record(record)

    def wrote(self, values: list[Any]) -> None:
        """Remember what the agent wrote: read back, it is worth no more than when it was written."""
        if self.calls == 0:
            return
        for value in values:
            keys = [key_of(value)]
            if type(value) is str and (is_text(value) or " " in value):
                keys += atoms_of(value)
            for key in keys:
                if key and key not in self.values and self.words.says(key) is None and key not in self.me:
                    self._bounded(self.authored)[key] = self._next

    def is_rewritten(self, leaf: Leaf) -> bool:
        """Tell whether the agent itself may have put this value where it was read."""
        written = self.authored.get(leaf.key)
        return written is not None and leaf.record.number >= written

    def is_mine(self, record: Record) -> bool:
        """Tell whether a record names the user, or stands in one that does."""
        return any(leaf.key in self.me for each in (record, *record.above()) for leaf in each.leaves)

    def is_foreign(self, leaf: Leaf) -> bool:
        """Tell whether a record names somebody else where the user's own records name the user."""
        found = False
        for record in (leaf.record, *leaf.record.above()):
            for each in record.leaves:
                if each.key in self.me:
                    return False
                if each is not leaf and each.field in self.my_fields:
                    found = True
        return found

    def rivals(self, leaf: Leaf) -> bool:
        """Tell whether another record fits the user's words as well as the one of this value, with another value."""
        record, several = leaf.record, self.words.many
        groups = self.columns.get((record.call.tool, leaf.column), {})
        same = {each.key for each in record.leaves if each.column == leaf.column}
        shape = shape_of(leaf.key)
        others = False
        for (own, asked), keys in groups.items():
            if keys <= same or not record.is_beaten_by(own, asked, several=several):
                continue
            # Beside an address only another one is in doubt.
            if shape not in ENDPOINTS or any(shape_of(each) == shape for each in keys - same):
                others = True
                break
        if not others or (shape not in ENDPOINTS and self._is_about_more(leaf, same)):
            return False
        # "My court on Saturday": of those that fit, the one that is the user's.
        if self.words.every.isdisjoint(MINE) or not self.is_mine(leaf.record):
            return True
        members = self.members.get((leaf.record.call.tool, leaf.column), ())
        return len(members) >= MAX_MEMBERS or any(
            each.key not in same
            and record.is_beaten_by(each.record.own_hits(), each.record.call.words, several=several)
            and not self.is_foreign(each)
            for each in members
        )

    def _is_about_more(self, leaf: Leaf, same: set[str]) -> bool:
        """Tell whether of the texts that fit the user's words alike, the one with this value says more of his words."""
        mine = self.about.get(leaf.record.number, frozenset())
        members = self.members.get((leaf.record.call.tool, leaf.column), ())
        if not mine or not leaf.record.own_hits() or len(members) >= MAX_MEMBERS:
            return False
        return all(
            self.about.get(each.record.number, frozenset()) < mine
            for each in members
            if each.key not in same
            and leaf.record.is_beaten_by(each.record.own_hits(), each.record.call.words)
        )

    def is_lone(self, leaf: Leaf) -> bool:
        """Tell whether the result that a value stands in has no other address of its kind."""
        form = form_of(leaf.key)
        records = {leaf.record, *leaf.record.above()}
        top = next((each for each in records if each.parent is None), leaf.record)
        within = (top, *top.below())
        return all(
            each.key == leaf.key or form_of(each.key) != form for record in within for each in record.leaves
        ) and not any(
            atom != leaf.key and form_of(atom) == form
            for record in within
            for atom in (*record.atoms, *record.mentions)
        )

    def is_only_one(self, leaf: Leaf) -> bool:
        """Tell whether of all things of one list just this one is the user's."""
        members = self.members.get((leaf.record.call.tool, leaf.column), ())
        return (
            1 < len(members) < MAX_MEMBERS
            and self.is_mine(leaf.record)
            and not any(each.key != leaf.key and self.is_mine(each.record) for each in members)
        )

    def has_others_of_mine(self, leaf: Leaf) -> bool:
        """Tell whether more things of the list that a value stands in are the user's."""
        members = self.members.get((leaf.record.call.tool, leaf.column), ())
        return any(each.key != leaf.key and self.is_mine(each.record) for each in members)

    def is_referred_to(self, leaf: Leaf) -> bool:
        """Tell whether the one record that the user's words pick out refers to this one by a field that they name.

        "Her account manager": her company has `account_manager_id`, and the record of this value has that id.
        """
        record = leaf.record
        if record.call.is_loose or record.call.is_write:
            return False
        return any(
            self._refers(place, own)
            for own in record.leaves
            if own.column != leaf.column and _is_key(own)
            for place in self.values.get(own.key, ())
        )

    def is_of_one_named(self, leaf: Leaf) -> bool:
        """Tell whether the record of a value is the one of its list that names whom the user's words pick out.

        "Piet's report": it has a login that stands in the record of Piet, which another read gave.
        """
        record = leaf.record
        if record.call.is_loose or record.call.is_write:
            return False
        whose = {each.key for each in _identifying(record) if each is not leaf and self._is_of_named(each)}
        if not whose:
            return False
        members = self.members.get((record.call.tool, leaf.column), ())
        return len(members) < MAX_MEMBERS and not any(
            each.key != leaf.key and not whose.isdisjoint(other.key for other in _identifying(each.record))
            for each in members
        )

    def _is_of_named(self, own: Leaf) -> bool:
        """Tell whether a value identifies, in the result of another read, one whom the user calls by a name."""
        return any(
            place.record.call.number != own.record.call.number
            and not (place.record.call.is_loose or place.record.call.is_write)
            and not IDENTITIES.isdisjoint(words_of(place.field))
            and not place.record.names.isdisjoint(self.words.names)
            and not self._has_namesakes(place)
            for place in self.values.get(own.key, ())
        )

    def _has_namesakes(self, place: Leaf) -> bool:
        members = self.members.get((place.record.call.tool, place.column), ())
        mine = place.record.names & self.words.names
        return any(each.key != place.key and mine <= each.record.names for each in members)

    def _refers(self, place: Leaf, own: Leaf) -> bool:
        other = place.record
        if other is own.record or other.call.is_loose or other.call.is_write or not other.all_hits():
            return False
        named = [each for each in words_of(place.field) if is_telling(each)]
        return bool(named) and self.words.stems.issuperset(map(singular, named)) and not self.rivals(place)

    def is_passed_over(self, leaf: Leaf) -> bool:
        """Tell whether just one thing of the list that a value stands in has more of the user's words than its record."""
        groups = self.columns.get((leaf.record.call.tool, leaf.column), {})
        mine = leaf.record.own_hits()
        better = {
            key
            for (own, _), keys in groups.items()
            if mine < own and any(map(is_telling, own))
            for key in keys
        }
        return len(better) == 1 and leaf.key not in better

    def is_extreme(self, leaf: Leaf, end: int) -> bool:
        """Tell whether the thing of this name is alone at one end of a scale: no text can put it there."""
        members = self.members.get((leaf.record.call.tool, leaf.column), ())
        own = _telling(leaf.record)
        said = [_telling(each.record) for each in members]
        every = {each.key for each in members}
        if self._is_end_of(leaf, every, end):
            # "The later one of Saturday": not what is later still, on another day.
            return not any(own < hits and self._tells(hits - own) for hits in said)
        # "The cheapest room with a balcony": only what has the user's words competes.
        fitting = {each.key for each, hits in zip(members, said, strict=True) if not hits < own}
        return (
            fitting != every and not any(own < hits for hits in said) and self._is_end_of(leaf, fitting, end)
        )

    def _tells(self, words: frozenset[str]) -> bool:
        """Tell whether words narrow a choice down to a day, and do not just happen to stand in a text."""
        return any(each in WEEK or ":" in each for each in words)

    def is_named_by_source(self, leaf: Leaf) -> bool:
        """Tell whether a text that the user leaves the deeds to calls the record of a value by its name.

        By the whole of a short field, or by a part of a name that nothing else of the list has.
        """
        record = leaf.record
        members = self.members.get((record.call.tool, leaf.column), ())
        if record.call.is_write or len(members) >= MAX_MEMBERS:
            return False
        own = [
            each
            for each in _identifying(record)
            if each is not leaf and any(map(is_telling, tokens_of(each.key)))
        ]
        for source in self.with_text:
            if source.call.number == record.call.number or not self.is_source(source):
                continue
            for each in own:
                if shape_of(each.key) == NAME and self.says(source, each.key):
                    return True
                for token in tokens_of(each.key) if shape_of(each.key) == NAME else ():
                    if (
                        is_telling(token)
                        and source.number in self._with_word.get(token, _NOWHERE)
                        and not any(
                            other.key != leaf.key and token in tokens_of(one.key)
                            for other in members
                            for one in _identifying(other.record)
                        )
                    ):
                        return True
        return False

    def _is_end_of(self, leaf: Leaf, rivals: set[str], end: int) -> bool:
        mine = self._scales(leaf.key)
        others = [self._scales(key) for key in rivals if key != leaf.key]
        if not others:
            return False
        for scale, value in mine.items():
            known = [each[scale] for each in others if scale in each]
            if len(known) == len(others) and all(value * end > other * end for other in known):
                return True
        return False

    def _scales(self, key: str) -> dict[tuple[str, str], float]:
        found: dict[tuple[str, str], float] = {}
        for leaf in self.values.get(key, ()):
            for each in leaf.record.leaves:
                number = measure_of(each.value) if each is not leaf else None
                if number is not None:
                    found[leaf.record.call.tool, each.column] = number
        return found

    def is_source(self, record: Record) -> bool:
        """Tell whether the user's words pick this record out among those of its kind."""
        if not record.all_hits() or (record.call.is_write and not record.call.is_guided):
            return False
        groups = self.sources.get((record.call.tool, record.column), {})
        fits = record.is_beaten_by
        rivals = {number for hits, numbers in groups.items() if fits(*hits) for number in numbers}
        # Of two texts by the same one, the one that is about what the user speaks of.
        mine = self.about.get(record.number, frozenset())
        return all(each == record.number or self.about.get(each, frozenset()) < mine for each in rivals)

    def is_best_source(self, record: Record) -> bool:
        """Tell whether no other text that was read fits more of the user's words than this record's does."""
        hits = record.all_hits()
        return not any(hits < other for other in self.texts_with)

    def wishes(self) -> list[Wish]:
        """Return what the texts ask for that the user's words pick out, for whoever hands over to them."""
        found = []
        for record in self.with_text:
            if self.is_source(record) and self.is_best_source(record):
                wish = self._wishes.get(record.number)
                if wish is None:
                    wish = self._wishes[record.number] = read_wish(self.texts[record.number])
                found.append(wish)
        return found

    def lines_with(self, record: Record, key: str) -> list[str]:
        """Return the lines of a record's text that have a value."""
        return [line for line in self.texts.get(record.number, "").split("\n") if key in line]

    def texts_saying(self, key: str) -> list[Record]:
        """Return the records in whose texts a value stands, as a whole."""
        words = tokens_of(key)
        if not words or self.is_cut or self._indexed >= MAX_INDEXED:
            return [record for record in self.with_text if self.says(record, key)]
        # Where a value stands as a whole, each of its words does.
        within = min((self._with_word.get(word, _NOWHERE) for word in words), key=len)
        if not within:
            return []
        return [record for record in self.with_text if record.number in within and self.says(record, key)]

    def says(self, record: Record, key: str) -> bool:
        """Tell whether a value stands in the text of a record, as a whole."""
        text = self.texts.get(record.number)
        if text is None or not key:
            return key in record.atoms
        at = text.find(key)
        while at >= 0:
            end = at + len(key)
            if not (at and text[at - 1].isalnum()) and not (end < len(text) and text[end].isalnum()):
                return True
            at = text.find(key, at + 1)
        return key in record.atoms

    def _index(self, leaf: Leaf) -> None:
        if " " in leaf.key and type(leaf.value) is str:
            for atom in atoms_of(leaf.value):
                if atom != leaf.key and shape_of(atom) in ENDPOINTS:
                    leaf.record.mentions.add(atom)
            if leaf.record.call.is_write:
                leaf.record.mentions.update(atom for atom in atoms_of(leaf.value) if shape_of(atom) == ID)
        if (
            "/" in leaf.key
            and " " not in leaf.key
            and not leaf.record.call.is_write
            and shape_of(leaf.key) == PATH
        ):
            folder = leaf.key.rpartition("/")[0]
            while folder and folder not in self.folders:
                self._bounded(self.folders)[folder] = leaf
                folder = folder.rpartition("/")[0]
        places = self._bounded(self.values).setdefault(leaf.key, [])
        if len(places) < MAX_PLACES:
            places.append(leaf)
        else:
            # The first and the newest places: what is in between says nothing that these do not.
            places[-1] = leaf
        groups = self._bounded(self.columns).setdefault((leaf.record.call.tool, leaf.column), {})
        groups.setdefault((leaf.record.own_hits(), leaf.record.call.words), set()).add(leaf.key)
        members = self._bounded(self.members).setdefault((leaf.record.call.tool, leaf.column), [])
        if len(members) < MAX_MEMBERS:
            members.append(leaf)
        if leaf.key in self.me and not leaf.column.endswith("*") and _head_of(leaf.field) in OWNERS:
            self.my_fields.add(leaf.field)

    def _index_record(self, record: Record) -> None:
        for atom in (*record.atoms, *record.mentions):
            places = self._bounded(self.atoms).setdefault(atom, [])
            if len(places) < MAX_PLACES:
                places.append(record)
        groups = self._bounded(self.sources).setdefault((record.call.tool, record.column), {})
        groups.setdefault((record.own_hits(), record.call.words), set()).add(record.number)
        if record.texts and self._kept < MAX_TEXT_KEPT:
            kept = self.texts[record.number] = "\n".join(
                clean(line) for text in record.texts for line in text.splitlines()
            )
            self._kept += len(kept)
            words = tokens_of(kept)
            self.about[record.number] = self.words.stems.intersection(map(singular, words))
            self._index_words(record.number, set(words))
            self.with_text.append(record)
            self.texts_with.add(record.all_hits())
        record.texts = []

    def _index_words(self, number: int, words: set[str]) -> None:
        if self._indexed < MAX_INDEXED:
            self._indexed += len(words)
            for word in words:
                self._with_word.setdefault(word, set()).add(number)

    def _learn_identity(self, call: Call, reader: Reader) -> None:
        """Learn who the user is from a read that is about the user: without arguments, or with the user's own name."""
        root = reader.records[0]
        if not (call.is_plain or call.is_own) or reader.texts or not root.leaves:
            return
        shapes = [shape_of(leaf.key) for leaf in root.leaves]
        if sum(shape in ENDPOINTS for shape in shapes) > len({each for each in shapes if each in ENDPOINTS}):
            # Two addresses of one kind: a message or a payment, with another side to it.
            return
        is_one_value = len(root.leaves) == 1 and not root.leaves[0].field
        for leaf, shape in zip(root.leaves, shapes, strict=True):
            named = not IDENTITIES.isdisjoint(words_of(leaf.field))
            if is_one_value:
                named = call.is_own and shape != NUMBER
            if named and "*" not in leaf.column and (shape != NUMBER or "id" in words_of(leaf.field)):
                self.me.add(leaf.key)
                if leaf.field and (shape != "name" or "name" not in words_of(leaf.field)):
                    self.my_fields.add(leaf.field)
            elif shape == MAIL and call.is_plain and len(root.leaves) > 1:
                self.me.add(leaf.key)

    def _bounded(self, table: dict[Any, Any]) -> dict[Any, Any]:
        if len(table) >= MAX_KEYS:
            self.is_cut = True
            del table[next(iter(table))]
        return table


def _identifying(record: Record) -> list[Leaf]:
    """Return the values of a record, and of those right in it, that may say whose or by whom it is."""
    found = [each for one in (record, *record.children) for each in one.leaves]
    return [each for each in found if shape_of(each.key) in (ID, NAME, NUMBER, MAIL)]


def _is_key(leaf: Leaf) -> bool:
    """Tell whether others can refer to a record by this value."""
    return shape_of(leaf.key) in (ID, NUMBER) and "id" in words_of(leaf.field)


def _head_of(field: str) -> str:
    """Return what the name of a field is about: `account_manager_id` is about a manager, `user` about a user."""
    words = words_of(field)
    return next((each for each in reversed(words) if each not in _ENDINGS), words[-1] if words else "")


def _telling(record: Record) -> frozenset[str]:
    """Return the user's words in a record, without numbers that stand everywhere."""
    return frozenset(each for each in record.own_hits() if not each.isdigit() or is_telling(each))

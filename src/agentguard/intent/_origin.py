"""Where one value comes from, judged by what the session remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl

from agentguard.intent._forms import (
    ENDPOINTS,
    ID,
    MAIL,
    NAME,
    NUMBER,
    PATH,
    URL,
    form_of,
    is_moment,
    key_of,
    shape_of,
    tokens_of,
    words_of,
)
from agentguard.intent._kind import K
from agentguard.intent._memory import MINE
from agentguard.intent._segments import parts_between
from agentguard.intent._verbs import singular
from agentguard.intent._vocabulary import REPLIES, SLOTS, is_telling

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.core import OriginKind
    from agentguard.intent._memory import Memory
    from agentguard.intent._records import Leaf, Record

# As good as the user's word when a read is led by it.
GOOD = frozenset(
    (
        K.USER,
        K.INVENTORY,
        K.SUBJECT,
        K.DERIVED,
        K.SELECTED,
        K.DELEGATED,
        K.OWNED,
        K.CREATED,
        K.LISTED,
        K.COMPOSED,
    )
)
_ANY_FIELD = frozenset(
    [
        "email",
        "mail",
        "id",
        "name",
        "account",
        "address",
        "url",
        "link",
        "user",
        "number",
        "key",
        "value",
        "text",
    ]
)
_MAX_SUMS = 200
# A line of a letter that has an address and not many words more is no sentence.
_HEAD_WORDS = 3
_HALF_A_CENT = 0.005
# Of more pieces it is a sentence; a longer number is an id or an account.
_MAX_PIECES = 6
_SHORT_NUMBER = 3


def _never() -> bool:
    return False


class Found(NamedTuple):
    """The origin of one value: its kind, the place that gave it, and the user's words that led there."""

    kind: OriginKind
    leaf: Leaf | None = None
    words: frozenset[str] = frozenset()
    record: Record | None = None


class Judge:
    """Tells the origin of values for one call. `is_listed` says whether the inventory knows a value.

    `is_external`: the call's targets are others' endpoints; `is_risky`: it can do much harm; `is_asked`: the
    user asks for what the call does; `names_object`: his words name the kind of thing that it is done to.
    """

    def __init__(
        self,
        memory: Memory,
        is_listed: Callable[[str], bool],
        *,
        is_external: bool,
        is_risky: bool,
        is_asked: bool = True,
        is_read: bool = False,
        makes: bool = False,
        names_object: bool = False,
    ) -> None:
        self.memory = memory
        self.words = memory.words
        self.is_listed = is_listed
        self.is_external = is_external
        self.is_risky = is_risky
        self.is_asked = is_asked
        self.is_read = is_read
        self.makes = makes
        self.names_object = names_object

    def origin(
        self, value: Any, *, is_endpoint: bool = False, is_traced: Callable[[], bool] = _never
    ) -> Found:
        """Return where a target comes from; `is_traced` tells whether pieces of it stand in what was read."""
        key = key_of(value)
        memory = self.memory
        if key in memory.refused:
            return Found(K.REFUSED)
        found = self._plain(value, key, is_endpoint=is_endpoint or shape_of(key) in ENDPOINTS)
        if found.kind.rank < K.AMBIGUOUS.rank:
            return found
        composed = self._composed(value, key)
        if composed is not None:
            return composed
        if found.kind is K.UNKNOWN:
            pieced = self._pieced(value) if type(value) is str else None
            if pieced is not None:
                return pieced
            twin = self.words.looks_like(key)
            if twin is not None:
                return Found(K.LOOKALIKE, words=frozenset((twin,)))
            if is_traced():
                return Found(K.TEXT)
            if self.makes and shape_of(key) in (NAME, PATH):
                return Found(K.NEW)
        return found

    def _plain(self, value: Any, key: str, *, is_endpoint: bool, is_amount: bool = False) -> Found:
        said = self.words.says(key)
        memory = self.memory
        places = memory.values.get(key, ())
        if said is not None:
            # A thing of somebody else's is that also when the user names it.
            foreign = bool(places) and not is_endpoint and all(map(memory.is_foreign, places))
            return Found(K.AMBIGUOUS if foreign else K.USER, words=frozenset((said,)))
        if self._is_twin(key):
            return Found(K.LOOKALIKE, words=frozenset((self.words.looks_like(key) or "",)))
        if type(value) is str and self.is_listed(value):
            return Found(K.INVENTORY)
        if key in memory.me:
            return Found(K.SUBJECT)
        best = Found(K.UNKNOWN)
        for leaf in places:
            found = self._of_leaf(leaf, is_endpoint=is_endpoint)
            if found.kind.rank < best.kind.rank or best.kind is K.UNKNOWN:
                best = found
                if best.kind is K.SELECTED:
                    return best
        if memory.calls == 0:
            return Found(K.DERIVED)
        if best.kind is K.FOREIGN:
            return best
        told = self._told(key, shape_of(key), is_amount=is_amount, is_endpoint=is_endpoint)
        if told is not None and (told.kind.rank < best.kind.rank or best.kind is K.UNKNOWN):
            if told.kind is K.DELEGATED and any(map(memory.is_passed_over, places)):
                # Of the things of its kind the user's words pick out another one.
                return Found(K.AMBIGUOUS, told.leaf, told.words, told.record)
            return told
        return best

    def _is_twin(self, key: str) -> bool:
        """Tell whether a value is a word of the user's in other letters."""
        return not key.isascii() and self.words.looks_like(key) is not None

    def _of_leaf(self, leaf: Leaf, *, is_endpoint: bool) -> Found:
        memory, record = self.memory, leaf.record
        call = record.call
        if memory.is_rewritten(leaf):
            return Found(K.TEXT, leaf)
        is_foreign = not is_endpoint and memory.is_foreign(leaf)
        # Of a text that was taken apart, each part must have words of the user's itself.
        hits = frozenset() if call.is_loose and not record.own_hits() else record.all_hits()
        has_rivals = memory.rivals(leaf) if hits else False
        if is_foreign:
            # What the user's words pick out by itself a person may decide about.
            is_meant = bool(record.own_hits()) and not has_rivals and not call.is_loose
            return Found(K.AMBIGUOUS if is_meant else K.FOREIGN, leaf, hits)
        weak = call.is_loose and self.is_risky and is_endpoint and not self._has_name(leaf)
        weak = weak and not (call.words and call.is_guided and memory.is_lone(leaf))
        is_picked = bool(hits) and not has_rivals and not weak and (not is_endpoint or self._is_named(leaf))
        if is_picked or self._is_my_field(leaf):
            return Found(K.SELECTED, leaf, hits)
        if call.is_write:
            return Found(K.SEEN if is_endpoint else K.CREATED, leaf)
        guided = call.is_plain or call.is_guided
        if guided and not is_endpoint and any(memory.is_extreme(leaf, end) for end in self.words.extremes):
            return Found(K.SELECTED, leaf, hits)
        if memory.is_referred_to(leaf) or (not is_endpoint and memory.is_of_one_named(leaf)):
            return Found(K.SELECTED, leaf, hits)
        if self.is_asked and self.words.leaves_deeds and memory.is_named_by_source(leaf):
            return Found(K.DELEGATED, leaf, hits)
        if not is_endpoint and memory.is_mine(record):
            return Found(self._of_mine(leaf, hits), leaf, hits)
        if hits and (has_rivals or weak) and not guided:
            return Found(K.AMBIGUOUS, leaf, hits)
        return Found(self._of_guided(leaf, hits, is_endpoint=is_endpoint) if guided else K.SEEN, leaf, hits)

    def _of_guided(self, leaf: Leaf, hits: frozenset[str], *, is_endpoint: bool) -> OriginKind:
        """Return the origin of what a read on the user's words gave, if these do not pick it out."""
        memory, many = self.memory, self.words.many
        if is_endpoint:
            is_near = self._is_named(leaf) if hits else memory.is_passed_over(leaf)
            return K.LISTED if many else K.AMBIGUOUS if is_near else K.SEEN
        is_other = memory.is_passed_over(leaf) or not (self.is_read or leaf.record.own_hits())
        return K.AMBIGUOUS if is_other and not many else K.LISTED

    def _of_mine(self, leaf: Leaf, hits: frozenset[str]) -> OriginKind:
        """Return the origin of a thing of the user's that his words do not pick out among all things."""
        if self.memory.is_only_one(leaf):
            is_it = self.names_object and not MINE.isdisjoint(self.words.every)
            return K.SELECTED if is_it else K.OWNED
        if not self.words.many and not hits and self.memory.has_others_of_mine(leaf):
            # The user speaks of one thing of his, and nothing says that it is this one.
            return K.AMBIGUOUS
        return K.OWNED

    def _is_named(self, leaf: Leaf) -> bool:
        """Tell whether the user's words name whose address a value is, and not only the record it stands in."""
        words = self.words
        if self._has_name(leaf):
            return True
        record = leaf.record
        shape = shape_of(leaf.key)
        scalars = {
            each.key
            for each in record.leaves
            if shape_of(each.key) == shape
            and (self.is_read or not each.column.endswith("*"))
            and each.key not in self.memory.me
        }
        if scalars == {leaf.key}:
            if (record.names and not record.has_text) or self.is_read:
                return True
            if not words.every.isdisjoint(REPLIES):
                return True
        fields = {each.removesuffix("s") for each in words_of(leaf.field)} - _ANY_FIELD
        return any(each in words.every or f"{each}s" in words.every for each in fields)

    def _is_my_field(self, leaf: Leaf) -> bool:
        """Tell whether the user speaks of a field of the user's own record: "my home address"."""
        call = leaf.record.call
        if (
            call.is_write
            or not (call.is_plain or call.is_own)
            or leaf.record.column
            or not self.memory.is_mine(leaf.record)
        ):
            return False
        telling = [each for each in words_of(leaf.field) if each not in _ANY_FIELD]
        return bool(telling) and all(is_telling(each) and each in self.words.every for each in telling)

    def _has_name(self, leaf: Leaf) -> bool:
        return any(token in self.words.names for token in tokens_of(leaf.key))

    def _told(
        self, key: str, shape: str, *, is_amount: bool = False, is_endpoint: bool = False
    ) -> Found | None:
        """Return the origin of a value that stands in texts, or None if it stands in none."""
        memory, words = self.memory, self.words
        places = memory.atoms.get(key, [])
        if not places and self.is_asked and shape in (NAME, ID):
            places = memory.texts_saying(key)
        if not places:
            return None
        if shape == ID and self._is_confirmed(key, places):
            return Found(K.CREATED, record=places[0])
        best = Found(self._of_text(key, shape, places[0]), record=places[0])
        wanted = NUMBER if is_amount else ID if shape == NUMBER else shape
        is_spoken_of = (wanted in words.slots or wanted == NUMBER) and shape not in words.endpoints
        for record in places:
            if key in record.mentions and key not in record.atoms:
                continue
            if memory.authored.get(key, record.number + 1) <= record.number:
                continue
            if not memory.is_source(record):
                if best.kind is K.TEXT and self._is_near(record, wanted, shape):
                    best = Found(K.CITED, None, record.all_hits(), record)
                continue
            kind = K.CITED
            if self.is_asked and (words.hands_over or is_spoken_of) and memory.is_best_source(record):
                is_sure = is_amount or (
                    not (is_endpoint and self._is_whom_else(shape))
                    and not self._is_for_another(key, shape, record)
                    and (
                        (shape not in ENDPOINTS and (words.hands_over or shape in (NAME, PATH)))
                        or self._is_only(key, shape, record)
                        or self._is_labelled(key, shape, record)
                    )
                )
                kind = K.DELEGATED if is_sure else K.AMBIGUOUS
            elif self._is_meant(key, shape, record):
                kind = K.DELEGATED
            if kind.rank < best.kind.rank or (kind is best.kind and not best.words):
                best = Found(kind, None, record.all_hits(), record)
        return best

    def _of_text(self, key: str, shape: str, first: Record) -> OriginKind:
        """Return the origin of what stands only in texts that the user's words do not lead to.

        A name or an id reaches nobody new. Where the user asks for what is done, a person can tell whether it is meant.
        """
        if shape == URL:
            return K.CITED if self._is_looked_for(key) else K.TEXT
        is_harmless = shape not in ENDPOINTS and not self.is_read and not first.call.is_write
        return K.CITED if is_harmless and self.is_asked and key not in self.memory.authored else K.TEXT

    def _is_whom_else(self, shape: str) -> bool:
        """Tell whether a name or a handle in a text would decide to whom something goes, which was not left to it."""
        return shape not in ENDPOINTS and self.is_risky and not self.words.is_open

    def _is_for_another(self, key: str, shape: str, record: Record) -> bool:
        """Tell whether the user says by name to whom something goes, and neither a text nor an address has that name."""
        whom = self.words.whom
        if shape != MAIL or not whom:
            return False
        said = whom.intersection(tokens_of(key)) or whom & record.all_hits()
        return not said and not any(
            whom.intersection(tokens_of(line)) for line in self.memory.lines_with(record, key)
        )

    def _is_near(self, record: Record, wanted: str, shape: str) -> bool:
        """Tell whether a text may be the one that the user hands over to or takes such a value from: a person can tell."""
        words = self.words
        is_open = (
            words.hands_over
            or words.cites
            or words.refers
            or (wanted in words.slots and shape not in words.endpoints)
        )
        call = record.call
        if not self.is_asked or not is_open or call.is_write:
            return False
        # Where the user's words lead to no text at all, it may be any.
        is_any = call.is_near or not any(map(self.memory.is_source, self.memory.with_text))
        return bool(record.all_hits()) or is_any

    def _is_confirmed(self, key: str, places: list[Record]) -> bool:
        """Tell whether the answer to a change is what first gave this id, and gives no other: "Booking number BK-7001"."""
        first = places[0]
        if "*" in first.column or not first.call.is_write or key in self.memory.authored:
            return False
        others = {
            each for each in (*first.atoms, *first.mentions) if shape_of(each) == ID and not is_moment(each)
        }
        return others == {key} and not any(each.number < first.number for each in places)

    def _is_looked_for(self, key: str) -> bool:
        """Tell whether an address is to be looked at, of which the user speaks, and no text of his words gives one.

        A person can tell whether this is the one. A query could carry something there.
        """
        words = self.words
        if not self.is_read or "?" in key or URL not in words.slots or URL in words.endpoints:
            return False
        return not any(
            self.memory.is_source(record) and any(shape_of(atom) == URL for atom in record.atoms)
            for record in self.memory.with_text
        )

    def _is_only(self, key: str, shape: str, record: Record) -> bool:
        """Tell whether a text says just one value of this shape, and the record has none among its fields."""
        known = self.memory.me
        form = form_of(key)
        others = {each for each in record.atoms if form_of(each) == form and each not in known}
        others = {each for each in others if self.words.says(each) is None}
        if others == {key} and self.words.cites:
            return True
        fields = {each.key for each in record.leaves if shape_of(each.key) == shape and each.key not in known}
        return others == {key} and (fields <= {key} or self.words.hands_over)

    def _is_labelled(self, key: str, shape: str, record: Record) -> bool:
        """Tell whether the user speaks of several, and by the word that stands in the same line as this value."""
        if not self.words.many:
            return False
        asked = {word for word in self.words.every if shape in SLOTS.get(word, ())}
        stems = {singular(word) for word in asked} - _ANY_FIELD
        return any(
            not stems.isdisjoint(map(singular, tokens_of(line)))
            for line in self.memory.lines_with(record, key)
        )

    def _is_meant(self, key: str, shape: str, record: Record) -> bool:
        if not self.is_asked or shape != MAIL:
            return False
        return self._is_the_one_called(key, record) or self._is_letterhead(key, record)

    def _is_letterhead(self, key: str, record: Record) -> bool:
        """Tell whether the user wants to answer a letter, and its head or foot has the one address in it."""
        if self.words.every.isdisjoint(REPLIES) or not self.memory.is_best_source(record):
            return False
        lines = self.memory.lines_with(record, key)
        return self._is_only(key, MAIL, record) and any(len(line.split()) <= _HEAD_WORDS for line in lines)

    def _is_the_one_called(self, key: str, record: Record) -> bool:
        """Tell whether a text has just one address with a name that the user gave."""
        names = self.words.names.intersection(tokens_of(key))
        others = [each for each in record.atoms if each != key and shape_of(each) == MAIL]
        return bool(names) and all(names.isdisjoint(tokens_of(each)) for each in others)

    def _composed(self, value: Any, key: str) -> Found | None:
        """Return the origin of a value that was put together, if each part of it has a good one."""
        if type(value) is not str:
            return None
        shape = shape_of(key)
        if shape == URL:
            return self._composed_url(key)
        if shape in ENDPOINTS:
            return None
        tokens = tokens_of(key)
        if tokens and all(each in self.words.every for each in tokens) and any(map(is_telling, tokens)):
            return Found(K.COMPOSED, words=frozenset(tokens))
        joined = self._joined(value)
        if joined is not None:
            return joined
        above = self.memory.folders.get(key)
        if above is not None and (above.record.call.is_plain or above.record.call.is_guided):
            # What was listed stands in it.
            return Found(K.LISTED, above)
        if "/" in key:
            folder, _, last = key.rpartition("/")
            start = self._plain(folder, key_of(folder), is_endpoint=False) if folder else Found(K.LISTED)
            end = self._plain(last, key_of(last), is_endpoint=False)
            if start.kind in GOOD and end.kind in GOOD:
                return Found(K.COMPOSED, end.leaf or start.leaf, start.words | end.words)
        return None

    def _pieced(self, value: str) -> Found | None:
        """Return the origin of things with a word or a number behind: "d07 22"."""
        pieces = value.split()
        if not 1 < len(pieces) <= _MAX_PIECES:
            return None
        found = []
        for each in pieces:
            key = key_of(each)
            if key and not (key in self.words.every or (key.isdigit() and len(key) <= _SHORT_NUMBER)):
                found.append(self._plain(each, key, is_endpoint=False))
        worst = max(found, key=lambda each: each.kind.rank, default=None)
        if worst is None or worst.kind not in GOOD:
            return None
        return Found(max(worst.kind, K.LISTED, key=lambda each: each.rank), worst.leaf, worst.words)

    def _joined(self, value: str) -> Found | None:
        """Return the origin of fields of one record that were put in a row: a name and its street."""
        keys = [key_of(each) for each in parts_between(value)]
        if len(keys) < 2 or not all(keys):  # noqa: PLR2004 - one is no row
            return None
        records = [{leaf.record.number for leaf in self.memory.values.get(key, ())} for key in keys]
        if not set.intersection(*records):
            return None
        found = [self._plain(key, key, is_endpoint=False) for key in keys]
        worst = max(found, key=lambda each: each.kind.rank)
        return worst if worst.kind in GOOD else None

    def _composed_url(self, key: str) -> Found | None:
        base, _, query = key.partition("?")
        host, *steps = base.split("/")
        if self.is_read and not query and host in self.words.hosts:
            # Another page of the place that the user named: nobody else learns of it.
            return Found(K.COMPOSED, words=frozenset((host,)))
        whole = self._plain(base, base, is_endpoint=True) if query else Found(K.UNKNOWN)
        if whole.kind not in GOOD:
            whole = self._plain(host, host, is_endpoint=True)
            if not all(self._plain(each, key_of(each), is_endpoint=False).kind in GOOD for each in steps):
                return None
        parts = [part for pair in parse_qsl(query, keep_blank_values=True) for part in pair]
        if whole.kind not in GOOD or not all(self._is_good_part(each) for each in parts):
            return None
        return Found(K.COMPOSED, whole.leaf, whole.words)

    def _is_good_part(self, part: str) -> bool:
        key = key_of(part)
        return all(each in self.words.every for each in tokens_of(key)) or self.words.says(key) is not None

    def amount(self, value: Any) -> Found:
        """Return where an amount comes from: also a sum, a difference or a product with a number of the user's."""
        if value == 1:
            # One piece, where nothing is said of the number.
            return Found(K.COMPOSED)
        found = self._plain(value, key_of(value), is_endpoint=False, is_amount=True)
        if type(value) is str:
            return found
        # Money that went out is written with a minus in most lists.
        turned = self._plain(-value, key_of(-value), is_endpoint=False, is_amount=True)
        found = min(found, turned, key=lambda each: each.kind.rank)
        if found.kind.rank < K.AMBIGUOUS.rank:
            return found
        if self.words.computes:
            return Found(K.COMPOSED)
        known = [each for each in self.memory.values if shape_of(each) == NUMBER][:_MAX_SUMS]
        said = [each for each in self.words.phrases if shape_of(each) == NUMBER][:_MAX_SUMS]
        for one in map(float, said):
            for other in map(float, (*said, *known)):
                if any(
                    abs(value - each) < _HALF_A_CENT
                    for each in (other + one, other - one, one - other, one * other)
                ):
                    return Found(K.COMPOSED, words=frozenset((key_of(one),)))
        return found

"""The user's words: what they name, what they ask for, and what they hand over to others."""

from __future__ import annotations

import re
from typing import Any

from agentguard.intent._forms import (
    ENDPOINTS,
    MAX_VALUE,
    MONTHS,
    URL,
    atoms_of,
    clean,
    dates_of,
    key_of,
    moments_of,
    shape_of,
    skeleton,
    tokens_of,
)
from agentguard.intent._verbs import (
    cites,
    computes,
    delegates,
    delegates_deeds,
    delegates_the_way,
    extremes,
    read_wish,
    refers,
    refers_back,
    singular,
    slots,
    speaks_of_many,
    spelt_numbers,
)
from agentguard.intent._vocabulary import (
    BEFORE_A_VERB,
    DEEDS,
    KINDS,
    NUMBERS,
    PERSONS,
    READING,
    STOP,
    is_telling,
)

MAX_PROMPT = 65_536
MAX_WORDS = 4_000
_WINDOW = 8
# Of less than this a look-alike says nothing.
_MIN_SKELETON = 5
# Words of which the first letters are the same have one stem, mostly.
_STEM = 5

_QUOTED = re.compile(
    r"\"([^\"\n]{1,400})\"|\u201c([^\u201d\n]{1,400})\u201d|(?<!\w)'([^'\n]{1,200})'(?!\w)|`([^`\n]{1,400})`"
)
_WHO_I_AM = re.compile(
    r"\b(?:my ([a-z ]{2,30}?)(?: address| number)? is|i am|i'm|this is|my name's|call me)\s+", re.IGNORECASE
)
_SENTENCE = re.compile(r"(?:^|[.!?:\n]\s*)[\"'(]*$")
_HOST_PART = re.compile(r"(?<=[\w.+-])@\S+|\b(?:[a-z][a-z0-9+.-]*://|www\.)[^\s/]+")
_COUNTED = re.compile(rf"\b(?:[2-9]|\d{{2,4}}|{'|'.join(NUMBERS)})\s+([a-z]{{2,}}s)\b")
_TO_WHOM = re.compile(
    r"\b(\w+) (?:(?:my|our|the|his|her|their) (?:[a-z][\w-]* ){1,2})?(?:(?:Mr|Mrs|Ms|Dr)\.? )?"
    r"([A-Z][\w-]+(?: [A-Z][\w-]+)*)(?!')\b"
)
_YEAR = re.compile(r"(?:19|20)\d\d")
_WORD = re.compile(r"[^\W\d_][\w'\u2019-]*")
_PERSON = re.compile(r"\b(\w+)\s+(?:(?:the|our|my|a|an|his|her|their)\s+)?(?=(\w[\w'-]+))")
_IS_NAME = re.compile(r"[A-Z][\w'-]*(?:\s+[A-Z][\w'-]*){0,3}")


class Words:
    """One user's words, read once. Nothing of them is kept elsewhere.

    `content` are the words that can pick a record out, `names` those of them that are written as names,
    `endpoints` the shapes of addresses that are spelt out, `wish` the changes that are asked for, `me` what
    the user says of himself.
    """

    def __init__(self, prompt: str) -> None:
        text = prompt[:MAX_PROMPT]
        pieces = text.split()[:MAX_WORDS]
        self.phrases: dict[str, str] = {}
        self._take_phrases(text, pieces)
        spelt = clean(text)
        every = tokens_of(spelt)[: MAX_WORDS * 2]
        self.content = frozenset(each for each in tokens_of(_without_hosts(spelt)) if is_telling(each))
        days = dates_of(text)
        if days:
            # "22 May 2026" is a day: the name of its month and its year alone say nothing.
            self.content -= MONTHS | {each for each in self.content if _YEAR.fullmatch(each)}
        self.content |= days
        self.stems = frozenset(map(singular, self.content))
        self.names = _names(text)
        self.endpoints = frozenset(shape for shape in map(shape_of, self.phrases) if shape in ENDPOINTS)
        self.wish = read_wish(text)
        # What is to be done picks out nothing that it is done to.
        done = {noun for noun, verb in DEEDS.items() if verb in self.wish.verbs and verb != noun}
        self.content -= (self.wish.verbs | done) - _capitalised(text)
        # "Three nights": what is counted tells nothing apart.
        counted = _counted(text) - self.names
        self.content -= counted
        self.stems -= frozenset(map(singular, counted))
        for number in spelt_numbers(every):
            self.phrases.setdefault(number, number)
        is_referred = not self.wish.kinds and not self.wish.loose and refers_back(text)
        self.whom = _whom(text) & self.names
        self.hands_over = is_referred or delegates(text)
        # "Do what the mail says" names no kind of change: it is for whatever that says.
        self.leaves_deeds = is_referred or (not self.wish.kinds and delegates_deeds(text))
        self.is_open = self.leaves_deeds or (not self.wish.kinds and delegates_the_way(text))
        self.cites = cites(text)
        self.refers = refers(text)
        self.slots = slots(every)
        self.many = speaks_of_many(every)
        self.computes = computes(every)
        self.every = frozenset(every)
        self._beginnings = frozenset(each[:_STEM] for each in self.content if len(each) > _STEM)
        self.extremes = extremes(every, text)
        self.me = frozenset(_identities(text))
        # The hosts of addresses that are spelt out.
        self.hosts = frozenset(
            key.partition("/")[0] for key in self.phrases if shape_of(key) == URL and "://" not in key
        )
        self._skeletons = {
            skeleton(key): key for key in self.phrases if len(key) >= _MIN_SKELETON and _is_distinct(key)
        }

    def says(self, key: str) -> str | None:
        """Return the user's words that are this value, or None."""
        return self.phrases.get(key)

    def has_stem(self, token: str) -> bool:
        """Tell whether a word is the user's, or begins as a longer one of his: a plumber does the plumbing."""
        if token in self.every:
            return True
        return len(token) > _STEM and token[:_STEM] in self._beginnings

    def looks_like(self, key: str) -> str | None:
        """Return the user's words that this value only looks like, or None."""
        if len(key) < _MIN_SKELETON or key in self.phrases:
            return None
        twin = self._skeletons.get(skeleton(key))
        if twin is not None:
            return self.phrases[twin]
        return None if shape_of(key) not in ENDPOINTS else self._misspelt(key)

    def hits(self, value: Any, key: str) -> frozenset[str]:
        """Return the user's words that a short value of a record has: whole, in part, or as a date."""
        said = self.content.intersection(tokens_of(key))
        if type(value) is str and len(value) <= 60 and any(map(str.isdigit, value)):  # noqa: PLR2004 - a date is short
            said |= self.content.intersection(moments_of(value))
        if key in self.phrases and key not in said and (_is_distinct(key) or is_telling(key)):
            said |= {key}
        return frozenset(said)

    def name_hit(self, key: str) -> str | None:
        """Return the name of the user's that a short value is or has, or None."""
        words = tokens_of(key)
        if key in self.phrases and any(map(is_telling, words)):
            return self.phrases[key]
        if len(words) <= 4:  # noqa: PLR2004 - a name has few parts
            return next((word for word in words if word in self.names), None)
        return None

    def _misspelt(self, key: str) -> str | None:
        for known in self.phrases:
            if abs(len(known) - len(key)) <= 1 and shape_of(known) == shape_of(key) and _nearly(known, key):
                return self.phrases[known]
        return None

    def _take_phrases(self, text: str, pieces: list[str]) -> None:
        cleaned = [clean(piece) for piece in pieces]
        for at in range(len(pieces)):
            self._take(pieces[at])
            for size in range(2, _WINDOW + 1):
                window = cleaned[at : at + size]
                if len(window) < size:
                    break
                joined = " ".join(window)
                self._take(joined)
        for match in _QUOTED.finditer(text):
            self._take(next(filter(None, match.groups())), is_quoted=True)
        for line in text.splitlines()[:MAX_WORDS]:
            if len(line) <= MAX_VALUE:
                self._take(line)
        for key in atoms_of(text)[: MAX_WORDS * 2]:
            if key not in STOP:
                self.phrases.setdefault(key, key)

    def _take(self, words: str, *, is_quoted: bool = False) -> None:
        key = key_of(words)
        for each in (key, key.removesuffix("'s").removesuffix("\u2019s")):
            if each and (is_quoted or each not in STOP):
                self.phrases.setdefault(each, each)


def _is_distinct(key: str) -> bool:
    words = tokens_of(key)
    return len(words) > 1 or any(map(str.isdigit, key)) or any(map(is_telling, words))


def _capitalised(text: str) -> frozenset[str]:
    return frozenset(
        clean(match[0])
        for match in _WORD.finditer(text)
        if match[0][0].isupper() and not _SENTENCE.search(text[max(0, match.start() - 4) : match.start()])
    )


def _whom(text: str) -> frozenset[str]:
    """Return the names to which the user says that something goes: "mail Samir Aziz the rules"."""
    found: set[str] = set()
    for match in _TO_WHOM.finditer(text):
        verb = clean(match[1])
        if verb == "to" or "send" in KINDS.get(verb, ()):
            found.update(tokens_of(clean(match[2])))
    return frozenset(found)


def _counted(text: str) -> frozenset[str]:
    """Return the words of which the user gives the number, in lower case: "3 nights", "twenty boxes"."""
    return frozenset(match[1] for match in _COUNTED.finditer(text.casefold()))


def _without_hosts(spelt: str) -> str:
    """Return a text without the hosts of its addresses: their words say nothing of what is meant."""
    return _HOST_PART.sub(" ", spelt)


def _names(text: str) -> frozenset[str]:
    """Return the words that are names: capitalised, quoted, or where a person stands ("to our accountant")."""
    found: set[str] = set()
    for match in _WORD.finditer(text):
        word = match[0]
        token = clean(word).removesuffix("'s").removesuffix("\u2019s")
        if not word[0].isupper() or not is_telling(token):
            continue
        begins = _SENTENCE.search(text[max(0, match.start() - 4) : match.start()])
        if not begins or not (token in READING or token in KINDS or token in BEFORE_A_VERB):
            found.update(tokens_of(token))
    for match in _PERSON.finditer(text.casefold()):
        if match[1] in PERSONS and match[2] not in KINDS and match[2] not in READING:
            found.update(each for each in tokens_of(match[2]) if is_telling(each))
    for match in _QUOTED.finditer(text):
        found.update(
            each for each in tokens_of(clean(next(filter(None, match.groups())))) if is_telling(each)
        )
    # An address is a name wherever it stands.
    for key in atoms_of(text):
        if shape_of(key) in ENDPOINTS:
            found.add(key)
    return frozenset(found)


def _identities(text: str) -> list[str]:
    """Return what a user says of himself: "my name is …", "my email is …", "I am …"."""
    found = []
    for match in _WHO_I_AM.finditer(text):
        rest = text[match.end() : match.end() + 200]
        name = _IS_NAME.match(rest)
        word = rest.split(maxsplit=1)[0] if rest.split() else ""
        if name is not None:
            found.append(key_of(name[0]))
        elif match[1] is not None or any(map(str.isdigit, word)):
            found.append(key_of(word))
    return [key for key in found if key and key not in STOP]


def _nearly(one: str, other: str) -> bool:
    """Tell whether two values differ by one character: left out, put in, changed, or two in each other's place."""
    if len(one) > len(other):
        one, other = other, one
    at = 0
    while at < len(one) and one[at] == other[at]:
        at += 1
    if len(one) < len(other):
        return one[at:] == other[at + 1 :]
    if one[at + 1 :] == other[at + 1 :]:
        return True
    return one[at : at + 2] == other[at : at + 2][::-1] and one[at + 2 :] == other[at + 2 :]

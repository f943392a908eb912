"""The user's words: what they name, what they ask for, and what they hand over to others."""

from __future__ import annotations

import re
from typing import Any

from agentguard.intent._forms import (
    ENDPOINTS,
    MAX_VALUE,
    atoms_of,
    clean,
    dates_of,
    key_of,
    shape_of,
    skeleton,
    tokens_of,
)
from agentguard.intent._verbs import asked_kinds, delegates, extremes, slots, speaks_of_many

MAX_PROMPT = 65_536
MAX_WORDS = 4_000
_WINDOW = 8
# Of less than this a look-alike says nothing.
_MIN_SKELETON = 5
# Numbers of so few digits stand everywhere.
_FEW_DIGITS = 2

_STOP = frozenset(
    [
        "a",
        "an",
        "the",
        "this",
        "that",
        "these",
        "those",
        "i",
        "me",
        "my",
        "mine",
        "we",
        "us",
        "our",
        "you",
        "your",
        "he",
        "him",
        "his",
        "she",
        "her",
        "it",
        "its",
        "they",
        "them",
        "their",
        "who",
        "whom",
        "whose",
        "which",
        "what",
        "where",
        "when",
        "why",
        "how",
        "and",
        "or",
        "but",
        "nor",
        "not",
        "no",
        "yes",
        "if",
        "then",
        "else",
        "than",
        "so",
        "as",
        "at",
        "by",
        "for",
        "from",
        "in",
        "into",
        "of",
        "off",
        "on",
        "onto",
        "out",
        "over",
        "to",
        "up",
        "with",
        "without",
        "about",
        "after",
        "again",
        "all",
        "also",
        "am",
        "any",
        "are",
        "be",
        "been",
        "before",
        "being",
        "both",
        "can",
        "could",
        "did",
        "do",
        "does",
        "done",
        "each",
        "every",
        "few",
        "had",
        "has",
        "have",
        "having",
        "here",
        "just",
        "more",
        "most",
        "much",
        "must",
        "now",
        "only",
        "other",
        "own",
        "same",
        "shall",
        "should",
        "some",
        "such",
        "there",
        "through",
        "too",
        "under",
        "until",
        "very",
        "was",
        "were",
        "will",
        "would",
        "while",
        "please",
        "s",
        "t",
        "re",
        "ve",
        "ll",
        "d",
        "m",
        "one",
        "two",
        "is",
        "there's",
        "it's",
        "i'm",
        "new",
        "old",
        "first",
        "last",
        "next",
        "latest",
        "previous",
        "today",
        "tomorrow",
        "yesterday",
        "send",
        "get",
        "make",
        "find",
        "check",
        "tell",
        "show",
        "give",
        "want",
        "need",
        "use",
        "using",
        "like",
    ]
)
# Too common to pick a record out, however rare they are in a session.
_PLAIN = frozenset(
    [
        "email",
        "emails",
        "mail",
        "mails",
        "message",
        "messages",
        "file",
        "files",
        "document",
        "documents",
        "event",
        "events",
        "meeting",
        "meetings",
        "calendar",
        "account",
        "accounts",
        "transaction",
        "transactions",
        "order",
        "orders",
        "user",
        "users",
        "channel",
        "channels",
        "name",
        "id",
        "number",
        "date",
        "time",
        "day",
        "week",
        "month",
        "year",
        "list",
        "item",
        "items",
        "details",
        "information",
        "info",
        "hotel",
        "hotels",
        "restaurant",
        "restaurants",
        "flight",
        "flights",
        "product",
        "products",
        "issue",
        "issues",
        "repository",
        "repo",
        "project",
        "task",
        "tasks",
        "note",
        "notes",
        "contact",
        "contacts",
        "person",
        "people",
        "subject",
        "title",
        "body",
        "text",
        "link",
        "url",
        "website",
        "page",
        "address",
        "phone",
        "price",
        "amount",
        "true",
        "false",
        "none",
        "null",
    ]
)
_QUOTED = re.compile(
    r"\"([^\"\n]{1,400})\"|\u201c([^\u201d\n]{1,400})\u201d|(?<!\w)'([^'\n]{1,200})'(?!\w)|`([^`\n]{1,400})`"
)
_WHO_I_AM = re.compile(
    r"\b(?:my ([a-z ]{2,30}?)(?: address| number)? is|i am|i'm|this is|my name's|call me)\s+", re.IGNORECASE
)
_SENTENCE = re.compile(r"(?:^|[.!?:\n]\s*)[\"'(]*$")
_IS_NAME = re.compile(r"[A-Z][\w'-]*(?:\s+[A-Z][\w'-]*){0,3}")


class Words:
    """One user's words, read once. Nothing of them is kept elsewhere.

    `content` are the words that can pick a record out, `names` those of them that are written as names,
    `endpoints` the shapes of addresses that are spelt out, `kinds` the changes that are asked for, `me` what
    the user says of himself.
    """

    def __init__(self, prompt: str) -> None:
        text = prompt[:MAX_PROMPT]
        pieces = text.split()[:MAX_WORDS]
        self.phrases: dict[str, str] = {}
        self._take_phrases(text, pieces)
        spelt = clean(text)
        every = tokens_of(spelt)[: MAX_WORDS * 2]
        self.content = frozenset(each for each in every if is_telling(each)) | dates_of(text)
        self.names = _names(text)
        self.endpoints = frozenset(shape for shape in map(shape_of, self.phrases) if shape in ENDPOINTS)
        self.kinds = asked_kinds(text)
        self.hands_over = delegates(text)
        self.slots = slots(every)
        self.many = speaks_of_many(every)
        self.every = frozenset(every)
        self.extremes = extremes(every, text)
        self.me = frozenset(_identities(text))
        self._skeletons = {
            skeleton(key): key for key in self.phrases if len(key) >= _MIN_SKELETON and _is_distinct(key)
        }

    def says(self, key: str) -> str | None:
        """Return the user's words that are this value, or None."""
        return self.phrases.get(key)

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
        if type(value) is str and len(value) <= 40 and any(map(str.isdigit, value)):  # noqa: PLR2004 - a date is short
            said |= self.content.intersection(dates_of(value))
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
            if key not in _STOP:
                self.phrases.setdefault(key, key)

    def _take(self, words: str, *, is_quoted: bool = False) -> None:
        key = key_of(words)
        for each in (key, key.removesuffix("'s").removesuffix("\u2019s")):
            if each and (is_quoted or each not in _STOP):
                self.phrases.setdefault(each, each)


def is_telling(token: str) -> bool:
    """Tell whether a word can pick a record out among others."""
    return token not in _STOP and token not in _PLAIN and len(token) > (_FEW_DIGITS if token.isdigit() else 1)


def _is_distinct(key: str) -> bool:
    words = tokens_of(key)
    return len(words) > 1 or any(map(str.isdigit, key)) or any(map(is_telling, words))


def _names(text: str) -> frozenset[str]:
    """Return the words that are written as names: capitalised other than at the start of a sentence, or quoted."""
    found: set[str] = set()
    for match in re.finditer(r"[^\W\d_][\w'-]*", text):
        word = match[0]
        token = clean(word).removesuffix("'s")
        if (
            word[0].isupper()
            and is_telling(token)
            and not _SENTENCE.search(text[max(0, match.start() - 4) : match.start()])
        ):
            found.update(tokens_of(token))
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
    return [key for key in found if key and key not in _STOP]


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

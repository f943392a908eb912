"""Words of names and descriptions: `sendMailTo`, `send-mail-to` and `send_mail_to` are the same three."""

from __future__ import annotations

import functools
import re

MAX_TEXT = 600

_PARTS = re.compile(r"[A-Z]{2,}s(?![a-z])|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")
_SENTENCE = re.compile(r"(?<=[.!?;:\n])\s+")
# Words that end in s and are no plurals.
_NO_PLURAL = frozenset(
    ("address", "status", "is", "has", "this", "its", "cvs", "dns", "https", "sms", "aws", "access", "process",
     "class", "business", "progress", "news", "alias", "canvas", "as", "was", "us", "gas", "bus", "plus", "pass",
     "analysis", "basis", "bias", "focus", "cross", "success", "express", "pos", "gps", "css", "js", "os", "vs",
     "args", "always", "previous", "various", "towards", "details", "contents", "terms")
)  # fmt: skip

_PLURALS = ("people", "children")


def listed(text: str) -> frozenset[str]:
    """Return the words of a list that is written as text."""
    return frozenset(text.split())


def is_plural(name: str) -> bool:
    """Tell whether a name speaks of several: `points`, `people`."""
    return name[-1:] in ("s", "S") or name.lower().endswith(_PLURALS)


@functools.lru_cache(maxsize=4096)
def words(name: str) -> tuple[str, ...]:
    """Return the words of a name, in lower case and the singular.

    Only the first 600 characters count: a name or description is whatever somebody wrote.
    """
    return tuple(singular(part.lower()) for part in _PARTS.findall(name[:MAX_TEXT]))


def singular(word: str) -> str:
    """Return `boxes` as `box`, `replies` as `reply`; what is no plural stays."""
    if len(word) < 3 or not word.endswith("s") or word in _NO_PLURAL:  # noqa: PLR2004 - `is`, `as`
        return word
    if word.endswith("ies") and len(word) > 4:  # noqa: PLR2004 - `ties`, `dies`
        return word[:-3] + "y"
    if word.endswith(("sses", "ches", "shes", "xes", "zzes")):
        return word[:-2]
    return word if word.endswith("ss") else word[:-1]


def sentences(text: str) -> list[tuple[str, ...]]:
    """Return the words of each sentence in the first 600 characters of `text`."""
    found = (words(each) for each in _SENTENCE.split(text[:MAX_TEXT].strip()))
    return [each for each in found if each]


@functools.lru_cache(maxsize=4096)
def parted(word: str, first: frozenset[str], second: frozenset[str]) -> tuple[str, ...]:
    """Return `sendmail` as (`send`, `mail`) where both halves are known; else the word alone."""
    if len(word) < 5:  # noqa: PLR2004 - two words of at least two letters, and no accident
        return (word,)
    for at in range(len(word) - 2, 1, -1):
        if word[:at] in first and singular(word[at:]) in second:
            return word[:at], singular(word[at:])
    return (word,)

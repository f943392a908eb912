"""Requests whose verb is in no list: a sentence that begins with a word before an article, a pronoun or a number.

No list has all verbs. Where a sentence evidently asks for something and no verb of it is known, that much is said and
no more: the call then counts as one that the user may have asked for in other words.
"""

from __future__ import annotations

import re

from agentguard.intent._vocabulary import ASKING, BEFORE_A_VERB, KINDS, READING, STOP

_SENTENCES = re.compile(r"(?<=[.!?;:])\s+|\n+")
_PARTS = re.compile(r",\s*(?:and\s+|then\s+|please\s+)*|\s+(?:and|then)\s+(?:then\s+|also\s+|please\s+)?")
_WORDS = re.compile(r"[a-z][a-z'-]*|\d+")
_POLITE = re.compile(
    r"^(?:(?:hi|hey|hello|ok|okay|so|now|also|first|next|finally|and|then|please|kindly|just|oh)\b[\s,!]*)+"
    r"|^(?:can|could|would|will) you (?:please |also |just )*|^i(?:'d| would) (?:like|need|want) (?:you )?to "
    r"|^(?:i )?(?:need|want) (?:you )?to |^let's |^help me (?:to )?"
)
# What stands behind a verb, and hardly behind a noun that begins a sentence.
_OBJECTS = frozenset(
    [
        "the",
        "a",
        "an",
        "my",
        "our",
        "your",
        "his",
        "her",
        "their",
        "its",
        "this",
        "that",
        "these",
        "those",
        "it",
        "them",
        "him",
        "me",
        "us",
        "all",
        "every",
        "each",
        "both",
        "any",
        "some",
        "up",
        "off",
        "out",
        "down",
        "back",
        "over",
        "through",
        "together",
        "in",
        "on",
        "as",
        "one",
        "two",
        "three",
        "four",
        "five",
    ]
)
# So far from its begin a sentence says what it wants.
_BEGINNING = 3
# Of no more words it may be an answer: "the red one". Of a fragment it is known only if it is polite.
_FRAGMENT = 3
_PLEASE = re.compile(r"\bplease\b|\bpls\b|\bi(?:'d like|'ll have| need| want)\s+(?!to\b|you\b)")
_NO_VERB = ("ing", "ly", "ness", "tion", "ity")


def imperatives(text: str) -> frozenset[str]:
    """Return the verbs that begin a request and that no list has; `text` in lower case."""
    found = set()
    for sentence in _SENTENCES.split(text):
        if sentence.rstrip().endswith("?") and _POLITE.match(sentence) is None:
            continue
        for part in _PARTS.split(sentence):
            verb = _verb_of(part)
            if verb:
                found.add(verb)
    return frozenset(found)


def _verb_of(part: str) -> str:
    words = _WORDS.findall(_POLITE.sub("", part.strip(" \"'(-*")))
    if len(words) < 2:  # noqa: PLR2004 - a verb and its object
        return ""
    verb, behind = words[:2]
    if verb in STOP | READING | ASKING | BEFORE_A_VERB or verb in KINDS or verb.endswith(_NO_VERB):
        return ""
    return verb if verb.isalpha() and (behind in _OBJECTS or behind.isdigit()) else ""


def asks(text: str) -> bool:
    """Tell whether a text without a verb asks for something to be done, and not for an answer.

    Whoever only states something ("the rooms are cold") wants something, unless what he says is a question, a wish to
    know, or a look at something.
    """
    sentences = [each for part in _SENTENCES.split(text) if (each := part.strip(" \"'(-*"))]
    return any(map(_states, sentences)) and not any(map(_looks, sentences))


def _states(sentence: str) -> bool:
    said = _WORDS.findall(sentence)
    return not sentence.endswith("?") and (len(said) > _FRAGMENT or _PLEASE.search(sentence) is not None)


def _looks(sentence: str) -> bool:
    words = _WORDS.findall(_POLITE.sub("", sentence))
    return sentence.endswith("?") or any(word in READING or word in ASKING for word in words[:_BEGINNING])

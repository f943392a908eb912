"""Sentences that a program wrote from one pattern: what all of them have is the pattern, what differs are the fields.

"Load 7 for Kestrel leaves on Monday." above "Load 9 for Baltic leaves on Friday." are two records. The pattern is found
as a patience diff finds what stays (Cohen, 2003): words that each sentence has exactly once, in the same order, and
between two such words again. What is longer than a field is somebody's words, and so is all that comes after it.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import Any

MAX_SENTENCES = 300
MAX_TOKENS = 200
# A field has few words; of fewer words in common than this no pattern is made.
_FIELD_WORDS = 6
_PATTERN_WORDS = 3
_FEW = 2
_DEPTH = 4
_TOKEN = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d)?|\w[\w@#/+'-]*(?:[.:]\w[\w@#/+'-]*)*|[^\w\s]")
_SENTENCE_END = re.compile(r"[.!?]\s+\S")
_MARKS = frozenset(".,;:()<>[]\"'|=!?")
_BRACKETS = frozenset('()<>[]":')
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
# A name and behind it, in brackets, the one thing that identifies it: what a sentence is about.
_LEAD = re.compile(r"([A-Z][\w.'-]*(?: [A-Z][\w.'-]*){0,3}) [(<]([^\s()<>]{1,60})[)>](?= )")

_Span = tuple[int, int]


def sentences_of(text: str) -> list[dict[str, Any]] | None:
    """Return the records that sentences of one pattern are, or None if there is no such pattern."""
    parts = [each.strip() for each in (text.split("\n\n") if "\n\n" in text else text.splitlines())]
    parts = [each for each in parts if each]
    if not 1 < len(parts) <= MAX_SENTENCES or not all(map(_is_sentence, parts)):
        return None
    spans = [[match.span() for match in _TOKEN.finditer(each)][:MAX_TOKENS] for each in parts]
    tokens = [[each[start:end] for start, end in own] for each, own in zip(parts, spans, strict=True)]
    bounds = _split(tokens, [(0, len(each)) for each in tokens], 0)
    if not _is_pattern_of(bounds, is_sure=len(parts) > _FEW):
        return None
    return [_record(part, own, bounds, at) for at, (part, own) in enumerate(zip(parts, spans, strict=True))]


def lead_of(text: str) -> dict[str, Any] | None:
    """Return what the one sentence of a text begins with, a name and what identifies it, and the text; or None."""
    match = _LEAD.match(text)
    if match is None or "\n" in text:
        return None
    return {"name": match[1], "id": match[2], "text": f"{text}\n."}


def _is_sentence(part: str) -> bool:
    return part[0].isalpha() and "\n" not in part


def _is_pattern_of(bounds: list[tuple[str, list[_Span]]], *, is_sure: bool) -> bool:
    """Tell whether sentences have enough in common; two of them have some words by chance."""
    words = {word for word, _ in bounds if word.isalpha() and word.islower()}
    marks = sum(word in _BRACKETS for word, _ in bounds)
    return len(words) >= _PATTERN_WORDS or (is_sure and bool(words) and marks >= _PATTERN_WORDS)


def _split(tokens: list[list[str]], ranges: list[_Span], depth: int) -> list[tuple[str, list[_Span]]]:
    """Return the slots of the pattern in order: for each the word before it, and its range in each sentence."""
    anchors = _anchors(tokens, ranges) if depth < _DEPTH else []
    if not anchors:
        return [("", ranges)]
    found: list[tuple[str, list[_Span]]] = []
    before, starts = "", [start for start, _ in ranges]
    for word, places in [*anchors, ("", [end for _, end in ranges])]:
        inner = list(zip(starts, places, strict=True))
        if any(start < end for start, end in inner):
            below = _split(tokens, inner, depth + 1)
            found += [(own or before if at == 0 else own, each) for at, (own, each) in enumerate(below)]
        elif before:
            found.append((before, inner))
        before, starts = word, [place + 1 for place in places]
    return found


def _anchors(tokens: list[list[str]], ranges: list[_Span]) -> list[tuple[str, list[int]]]:
    """Return the words that stand once in each range, in the order that they have in all of them."""
    places: list[dict[str, int]] = []
    common: set[str] | None = None
    for own, (low, high) in zip(tokens, ranges, strict=True):
        inner = own[low:high]
        once = {word: low + at for at, word in enumerate(inner) if _is_pattern(word, low + at)}
        once = {word: at for word, at in once.items() if inner.count(word) == 1}
        places.append(once)
        common = set(once) if common is None else common & set(once)
    chain = sorted(common or (), key=lambda word: places[0][word])
    for found in places[1:]:
        chain = _rising(chain, found)
    return [(word, [own[word] for own in places]) for word in chain]


def _is_pattern(word: str, at: int) -> bool:
    """Tell whether a word can be of the pattern: a name, a number or an address is data, also where all have it."""
    return word in _MARKS or (word.isalpha() and (at == 0 or word.islower()))


def _rising(words: list[str], places: dict[str, int]) -> list[str]:
    """Return the longest part of some words of which the places rise."""
    tails: list[int] = []
    last: list[int] = []
    before: list[int] = []
    for at, word in enumerate(words):
        spot = bisect_left(tails, places[word])
        before.append(last[spot - 1] if spot else -1)
        if spot == len(tails):
            tails.append(places[word])
            last.append(at)
        else:
            tails[spot], last[spot] = places[word], at
    found, at = [], last[-1] if last else -1
    while at >= 0:
        found.append(words[at])
        at = before[at]
    return found[::-1]


def _record(
    part: str, spans: list[_Span], bounds: list[tuple[str, list[_Span]]], number: int
) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for word, ranges in bounds:
        low, high = ranges[number]
        if low >= high:
            continue
        value = part[spans[low][0] : spans[high - 1][1]].strip(" .,;:()<>\"'")
        if len(value.split()) > _FIELD_WORDS or _SENTENCE_END.search(value):
            # Somebody's words; where they end nobody can tell.
            record["text"] = f"{part[spans[low][0] :]}\n."
            break
        name = word if word.isalpha() else "part"
        while name in record:
            name += _LETTERS[len(record) % len(_LETTERS)]
        if value:
            record[name] = value
    return record

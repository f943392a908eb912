"""Texts made comparable: case, width, look-alikes, invisible characters and punctuation no longer count."""

from __future__ import annotations

import re

# Written without spaces between words: each character counts as a word.
_DENSE = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_ASCII_WORD = re.compile(r"[0-9a-z]+")
_TO_SPACE = str.maketrans({chr(code): " " for code in range(128) if not chr(code).isalnum()})
_TO_NOTHING = str.maketrans({chr(code): None for code in range(128) if not chr(code).isalnum()})
_TO_NOTHING_BUT_NULL = {code: to for code, to in _TO_NOTHING.items() if code}
_WORD = re.compile(rf"[{_DENSE}]|[^\W_{_DENSE}]+")
# Words that hang together by punctuation, as addresses, paths and keys do. None of these patterns can backtrack
# far: what they read is hostile.
_ATOM = re.compile(r"[^\W_]+(?:[@._:/\\+%=&?#~$-]+[^\W_]+)*")
_ASCII_ATOM = re.compile(r"[0-9a-z]+(?:[@._:/\\+%=&?#~$-]+[0-9a-z]+)*")
_TWO_NUMBERS = re.compile(r"\d[ .-][^\W_]*\d")
# Numbers are written in so many groups at most (an IBAN has nine); more are a table.
_MAX_GROUPS = 10
_PARTS = re.compile(r"[@/\\:=?&#]+")


def words(normal: str) -> list[str]:
    """Return the words of a normalised text: runs of letters and digits."""
    return normal.translate(_TO_SPACE).split() if normal.isascii() else _WORD.findall(normal)


def word_spans(normal: str) -> list[tuple[int, int]]:
    """Return where the words of a normalised text begin and end."""
    pattern = _ASCII_WORD if normal.isascii() else _WORD
    return [match.span() for match in pattern.finditer(normal)]


def squash(normal: str) -> str:
    """Return the letters and digits of a normalised text, run together."""
    if normal.isalnum():
        return normal
    if normal.isascii():
        return normal.translate(_TO_NOTHING)
    return "".join(_WORD.findall(normal))


def squashed(normals: list[str]) -> list[str]:
    """Return each text squashed: all at once, as a call for each costs more than the work."""
    joined = "\0".join(normals)
    if joined.isascii() and joined.count("\0") == len(normals) - 1:
        return joined.translate(_TO_NOTHING_BUT_NULL).split("\0")
    return [squash(each) for each in normals]


def atoms(normal: str) -> list[str]:
    """Return what could be an argument by itself: addresses, paths, keys, numbers, and parts of these."""
    # Plain words are nearly all of a text and no atoms: they go before the patterns look.
    chunks = normal.split()
    if all(map(str.isalpha, chunks)):
        return []
    rest = " ".join([chunk if not chunk.isalpha() else "|" for chunk in chunks])
    pattern = _ASCII_ATOM if rest.isascii() else _ATOM
    found = [atom for atom in pattern.findall(rest) if not atom.isalpha()]
    for atom in [each for each in found if "/" in each or "@" in each or ":" in each or "=" in each]:
        found += _PARTS.split(atom)
    if _TWO_NUMBERS.search(rest):
        found += [rest[start:end] for start, end in _groups(rest, word_spans(rest))]
    return found


def atom_spans(normal: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return where atoms begin and end, with their parts; `spans` are those of the words."""
    found = []
    for match in _ATOM.finditer(normal):
        if match[0].isalpha():
            continue
        start, end = match.span()
        found.append((start, end))
        at = start
        for cut in _PARTS.finditer(normal, start, end):
            found.append((at, cut.start()))
            at = cut.end()
        if at != start:
            found.append((at, end))
    return found + _groups(normal, spans)


def _groups(normal: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return where numbers are written in groups, as those of accounts, cards and telephones are."""
    found = []
    run: list[tuple[int, int]] = []
    for start, end in [*spans, (0, 0)]:
        digits = not normal[start:end].isalpha() and start < end
        near = bool(run) and start - run[-1][1] == 1 and normal[start - 1] in " .-"
        if not (digits and near):
            if 1 < len(run) <= _MAX_GROUPS:
                found.append((run[0][0], run[-1][1]))
            run = []
        if digits:
            run.append((start, end))
    return found

"""Texts without a format, taken apart as people read them: entries of a list, sections under headings, one line.

What comes out is loose: whoever wrote a part of the text could have written a line more.
"""

from __future__ import annotations

import re
from typing import Any

from agentguard.intent._forms import ENDPOINTS, ID, key_of, shape_of

# A field before its value, in a line of its own; and who said something in one line, with when.
_HEAD = re.compile(r"\s*([A-Za-z][\w -]{0,30}?)\s*:\s+(\S.{0,200})")
_SAID = re.compile(r"([^\n]{2,60}?):\s+(\S.*)")

_STAMPED = re.compile(r"\[[^\]\s]{1,20}\] ")
# What tools that search print: a file, the number of a line, and the line.
_MATCHED = re.compile(r"((?:[^\s:]*/[^\s:]*|[^\s:]+\.[A-Za-z]{1,5})):(\d{1,7}):(.*)")

MAX_SEGMENTS = 500
MAX_LINE = 240
MAX_PARTS = 16
# Parts of more words are no names of anything.
_SHORT = 6
# Names of fields; with a number in them they would look like keys that are data.
_LETTERS = "abcdefghijklmnop"
_HEADING = re.compile(r"\s*(?:#{1,6}\s+|={2,}\s*|-{3,}\s*(?=\S)|\*{2})(.+?)(?:\s*=+|\s*-{3,}|\*{2})?:?\s*")
_BULLET = re.compile(r"\s*(?:[-*\u2022+>]|\d{1,3}[.)])\s+")
# What parts of a line are set apart by.
_BETWEEN = re.compile(r"\s*(?:[,;|()\[\]\u00b7\u2022]|:\s|\s[-\u2013\u2014]\s|(?<=\S)(?:\t|\s{2,}))\s*")
# Left over where two of them meet.
_DASH = re.compile(r"^[-\u2013\u2014]\s+")
# What the columns of a table in plain text are set apart by.
_COLUMNS = re.compile(r"\t+|\s{2,}")
_MARKED = re.compile(r"(?<![\w@#])[@#][\w.-]*\w|\S*\d\S*|\S+@\S+|\w+://\S+")


def sections_of(text: str) -> Any:
    """Return a text with headings, or one of letters, as a whole and as its sections; None if it has none."""
    found = _titled_letters(text) or _sections(_lines(text)) or _letters(text)
    return None if found is None else {"text": f"{text}\n.", "sections": found}


def entries_of(text: str) -> Any:
    """Return a text as the entries of a list or the lines of a talk, or None if it is neither."""
    lines = _lines(text)
    if not lines:
        return None
    matched = [_MATCHED.fullmatch(line) for line in lines[:MAX_SEGMENTS]]
    if all(matched):
        return [
            {"path": each[1], "line": int(each[2]), "text": each[3].strip()}
            for each in matched
            if each is not None
        ]
    if _is_terse(lines[0]) if len(lines) == 1 else _are_entries(lines):
        return [_entry(line) for line in lines[:MAX_SEGMENTS] if len(line) <= MAX_LINE] or None
    return _talk(lines) or _grouped(lines)


def columns_of(text: str) -> list[dict[str, str]] | None:
    """Return a table whose columns are set apart by white space, its first line being their names; or None."""
    rows = [_COLUMNS.split(line.strip()) for line in _lines(text)[:MAX_SEGMENTS]]
    if len(rows) < 2:  # noqa: PLR2004 - a heading alone is no table
        return None
    head, *body = rows
    if len(head) < 2 or len(set(head)) != len(head) or not all(map(_is_column, head)):  # noqa: PLR2004 - one column is a list
        return None
    if not all(len(row) == len(head) for row in body):
        return None
    return [dict(zip(head, row, strict=True)) for row in body]


def parts_between(line: str) -> list[str]:
    """Return the parts of a line that are set apart."""
    parts = (_DASH.sub("", part.strip(" .")) for part in _BETWEEN.split(_unmarked(line)))
    return [part for part in parts if part]


def has_parts(line: str) -> bool:
    """Tell whether a line has several parts that are set apart."""
    return _BETWEEN.search(line.strip()) is not None


def _is_column(name: str) -> bool:
    return name[:1].isalpha() and len(name.split()) <= _SHORT // 2 and not any(map(str.isdigit, name))


def _grouped(lines: list[str]) -> Any:
    """Return lists that stand under titles, each entry in the group of its title; None if a line is neither."""
    groups: list[dict[str, Any]] = []
    entries: list[str] = []
    for at, line in enumerate(lines):
        following = lines[at + 1] if at + 1 < len(lines) else None
        if _is_title(line, following):
            entries = []
            groups.append({"heading": line.strip(" #*:"), "lines": entries})
        elif not groups or not _is_listed(line):
            return None
        else:
            entries.append(line)
    if not groups or not all(_are_alike(each["lines"]) for each in groups):
        return None
    return [
        {"heading": each["heading"], "entries": [_entry(line) for line in each["lines"]]}
        for each in groups[:MAX_SEGMENTS]
    ]


def _are_alike(lines: list[str]) -> bool:
    """Tell whether lines are entries of one list: one that differs is a sentence."""
    if not lines:
        return False
    bullets = sum(_BULLET.match(line) is not None for line in lines)
    if bullets == len(lines):
        return True
    return bullets == 0 and len({len(_BETWEEN.split(line.strip(" .)]"))) for line in lines}) == 1


def _is_listed(line: str) -> bool:
    return len(line) <= MAX_LINE and (_BULLET.match(line) is not None or _is_row(line))


def _is_title(line: str, following: str | None) -> bool:
    """Tell whether a line is short, no entry itself, and has an entry below it."""
    if following is None or _BULLET.match(line) or len(line.split()) > _SHORT * 2 or line[-1] in ".!?;,":
        return False
    plain = line.strip(" *")
    if plain.endswith(":"):
        return True
    if line[:1].isspace():
        return False
    is_deeper = following[:1].isspace() or _BULLET.match(following) is not None
    return is_deeper or (_BETWEEN.search(plain) is None and _is_row(following))


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip()][: MAX_SEGMENTS * 4]


def _sections(lines: list[str]) -> list[dict[str, Any]] | None:
    found: list[dict[str, Any]] = []
    body: list[str] = []
    for line in lines:
        match = _HEADING.fullmatch(line) if len(line) <= MAX_LINE else None
        if match is not None and _BULLET.match(line) is None:
            body = []
            found.append({"heading": match[1].strip(), "body": body})
        elif found:
            body.append(line)
        else:
            # It does not begin with a heading: what comes before one belongs to nothing.
            return None
    if len(found) < 2:  # noqa: PLR2004 - one heading is that of the whole
        return None
    return [_section(each["heading"], each["body"]) for each in found[:MAX_SEGMENTS]]


def _section(heading: str, body: list[str]) -> dict[str, Any]:
    """Return a section: the parts of its heading, and its lines, as fields if they are short."""
    fields = _entry(heading)
    fields["heading"] = heading
    if body and all(len(line.split()) <= _SHORT and line[-1:] not in ".!?" for line in body):
        fields |= {
            f"line{_LETTERS[at]}": _entry(line.strip(" *_")) for at, line in enumerate(body[:MAX_PARTS])
        }
    else:
        fields["text"] = "\n".join((*body, "."))
    return fields


def _titled_letters(text: str) -> list[dict[str, Any]] | None:
    """Return letters of which each stands under a heading, with `Key: value` lines right below it."""
    first, found, rest = text.partition("\n")
    if not found or _HEADING.fullmatch(first) is None or _HEAD.fullmatch(rest.partition("\n")[0]) is None:
        return None
    return _letters(text)


def _letters(text: str) -> list[dict[str, Any]] | None:
    """Return letters: blocks of `Key: value` lines, each followed by what it is the head of."""
    found: list[dict[str, Any]] = []
    body: list[str] = []
    for block in re.split(r"\n[ \t]*\n", text)[:MAX_SEGMENTS]:
        title, *rest = block.strip().splitlines() or [""]
        titled = _HEADING.fullmatch(title) if len(title) <= MAX_LINE and rest else None
        heads = [
            _HEAD.fullmatch(line) for line in (rest if titled is not None else block.strip().splitlines())
        ]
        if heads and all(heads):
            body = []
            head = {} if titled is None else {"title": titled[1].strip()}
            found.append(
                {"head": head | {each[1]: each[2] for each in heads if each is not None}, "body": body}
            )
        elif found:
            body.append(block)
        else:
            return None
    if not any(each["body"] for each in found):
        return None
    return [each["head"] | {"text": "\n".join((*each["body"], "."))} for each in found]


def _talk(lines: list[str]) -> list[dict[str, Any]] | None:
    """Return the lines of a talk: before the first colon who and when, after it what was said."""
    parted = [_SAID.fullmatch(line) for line in lines]
    if not lines or not all(parted):
        return None
    if len(lines) == 1 and not (
        _STAMPED.match(lines[0]) and len(_MARKED.findall(lines[0].partition(": ")[0])) > 1
    ):
        # One line is a sentence with a colon in it, unless it begins with a number in brackets and says when or who.
        return None
    found = []
    for line in parted[:MAX_SEGMENTS]:
        assert line is not None
        marked = [match[0].strip("[]#.,") for match in _MARKED.finditer(line[1])]
        names = " ".join(word for word in line[1].split() if word.isalpha())
        found.append({"heading": line[1], "name": names, "marked": marked, "text": f"{line[2]}\n."})
    return found


def _are_entries(lines: list[str]) -> bool:
    if any(len(line) > MAX_LINE for line in lines):
        return False
    bullets = sum(_BULLET.match(line) is not None for line in lines)
    return bullets == len(lines) or (bullets == 0 and all(_is_row(line) for line in lines))


def _unmarked(line: str) -> str:
    """Return a line without the mark of a list before it."""
    mark = _BULLET.match(line)
    return line[mark.end() :] if mark is not None else line


def _is_row(line: str) -> bool:
    """Tell whether a line is an entry rather than a sentence: it has parts set apart, or is short and has an address."""
    if line[-1] in ".!?":
        return False
    return _BETWEEN.search(line) is not None or ("@" in line and len(line.split()) <= _SHORT)


def _is_terse(line: str) -> bool:
    """Tell whether a single line is a row of short parts, and no sentence."""
    parts = [part for part in _BETWEEN.split(line) if part.strip()]
    return len(line) <= MAX_LINE and len(parts) > 1 and all(len(part.split()) <= _SHORT for part in parts)


def _entry(line: str) -> dict[str, Any]:
    """Return the parts of a line by their place, and what in them is marked as a name or a number."""
    parts = parts_between(line)
    entry: dict[str, Any] = {
        f"part{_LETTERS[at]}": part
        for at, part in enumerate(parts[:MAX_PARTS])
        if len(part.split()) <= _SHORT
    }
    # What is longer is somebody's words.
    said = [part for part in parts if len(part.split()) > _SHORT]
    parts = [part for part in parts if len(part.split()) <= _SHORT]
    if said:
        entry["said"] = "\n".join((*said, "."))
    marked = [
        match[0].rstrip(".")
        for part in parts
        for match in _MARKED.finditer(part)
        if match[0] != part and (match[0][0] in "@#" or shape_of(key_of(match[0])) in (*ENDPOINTS, ID))
    ]
    if marked:
        entry["marked"] = marked[:MAX_PARTS]
    return entry

"""What a tool gave back, as JSON: texts that are JSON, YAML, a table or `key: value` lines are read as such.

A text is structure only as a whole. What stands in a sentence, in a quotation or in a field is never read again,
so nobody gets a record by writing one into a text. A text whose shape anybody could have written by adding a line
is said to be loose.
"""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import msgspec
import yaml

from agentguard.intent._forms import ENDPOINTS, key_of, shape_of
from agentguard.intent._html import page_tables_of
from agentguard.intent._layouts import (
    cut_list,
    headed,
    literal_of,
    pairs_of,
    ruled_table_of,
    tables_of,
    unwrapped,
)
from agentguard.intent._prose import lead_of, sentences_of
from agentguard.intent._records import MAX_FIELD
from agentguard.intent._segments import columns_of, entries_of, has_parts, sections_of

MAX_TEXT = 131_072
_MAX_ROWS = 5_000
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_LOADER):  # type: ignore[misc]  # which of the two it is depends on how PyYAML was built
    """A safe loader that refuses a key that stands twice: one of the two would be lost."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - PyYAML's signature
        """Return the mapping, as PyYAML does."""
        found = super().construct_mapping(node, deep=deep)
        if len(found) != len(node.value):
            raise yaml.YAMLError("a key stands twice")
        return found


_YAML_START = re.compile(r"\s*(?:- |[\w \"'/.@-]{1,80}:(?: |\n|$))")
# Anchors, aliases and tags: one text of them can stand for millions of values.
_YAML_TRICKS = re.compile(r"(?:^|[\s\[{,:-])[&*!][\w!<]")
_COMMENT = re.compile(r"(?:^|\s)#", re.MULTILINE)
# Two lines below each other that are neither a key, nor an entry of a list: a list of some other kind.
_FOLDED = re.compile(
    r"^[\w \"'/.@-]{1,80}:[ \t]*\n(?:[ \t]+(?![-\s])(?!.{0,80}:(?:\s|$)).+\n?){2,}", re.MULTILINE
)
_LINE = re.compile(r"\s*(?:[-*]\s+)?\**([A-Za-z][\w /.-]{0,40}?)\**\s*[:=](?:\s+(.+)|\s*)")
_MIN_LINES = 2
# What is shorter has hardly been cut.
_LONG = 2_000


class Parsed(msgspec.Struct, frozen=True):
    """A result as JSON; `is_loose` where a line of text could have added to its structure.

    `is_document`: the whole text, and its sections.
    """

    value: Any
    is_loose: bool = False
    is_document: bool = False


def parse_result(result: Any) -> Parsed:
    """Return a result as JSON; a text without structure stays what it is."""
    if type(result) is not str:
        return Parsed(result)
    page = _page(result[:MAX_TEXT].strip())
    if page is not None:
        return page
    text = unwrapped(result[:MAX_TEXT]).strip()
    for read in (
        _json, _ruled, _prose, _yaml, _markdown, _headed, _pairs, _csv, _columns, _lines, _lead, _sectioned, _entries, _list
    ):  # fmt: skip
        found = read(text)
        if found is not None:
            return found
    return Parsed(result[:MAX_TEXT])


def _json(text: str) -> Parsed | None:
    if text[:1] not in ("{", "["):
        return None
    try:
        value = msgspec.json.decode(text.encode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError):
        value = literal_of(text)
        if value is None:
            value = cut_list(text)
    return Parsed(value) if type(value) in (dict, list) else None


def _yaml(text: str) -> Parsed | None:
    if "\n" not in text and ": " not in text:
        return None
    if _YAML_START.match(text) is None or _YAML_TRICKS.search(text):
        return None
    read = _loaded(text) or _loaded(_whole_entries(text))
    if read is None:
        return None
    value, faithful = read
    if not faithful and type(value) is list and not all(type(each) is dict for each in value):
        return None
    # As YAML a number sign takes away the rest of its line, and lines that hang together become one.
    if _FOLDED.search(text) or _has_entries(value) or (not faithful and _COMMENT.search(text)):
        listed = _entries(text)
        if listed is not None:
            return listed
    plain = _plain(value)
    if plain is None:
        return None
    if type(plain) is dict:
        plain = {key: _several(each) if type(each) is str else each for key, each in plain.items()}
    return Parsed(plain, is_loose=not faithful)


def _loaded(text: str) -> tuple[Any, bool] | None:
    """Return a list or a mapping, and whether a program wrote it so; None for what is no YAML."""
    try:
        value = yaml.load(text, _Loader)  # noqa: S506 - a safe loader, the C one where there is one
        return (value, _is_dump(value, text)) if type(value) in (dict, list) else None
    except (yaml.YAMLError, ValueError, RecursionError, TypeError):
        return None


def _whole_entries(text: str) -> str:
    """Return a list of mappings without its last entry: where a long result is cut, that one is no YAML."""
    kept, found, _ = text.rpartition("\n- ")
    return f"{kept}\n" if found and len(text) >= _LONG and text.startswith("- ") else ""


def _has_entries(value: Any) -> bool:
    """Tell whether what looks like YAML is a titled list, of which each line has several parts."""
    lists = [each for each in value.values() if type(each) is list] if type(value) is dict else [value]
    return any(type(item) is str and has_parts(item) for each in lists for item in each)


def _is_dump(value: Any, text: str) -> bool:
    """Tell whether a program wrote this YAML: a serialiser would have quoted what would break its structure."""
    wanted = "".join(text.split())
    for sort_keys in (True, False):
        dumped = yaml.dump(value, Dumper=_DUMPER, sort_keys=sort_keys, allow_unicode=True)
        if "".join(dumped.split()) == wanted:
            return True
    dumped = yaml.dump(value, Dumper=_DUMPER, sort_keys=False)
    return "".join(dumped.split()) == wanted


def _plain(value: Any) -> Any:
    """Return what YAML gave as JSON: dates as texts, keys as texts."""
    try:
        return msgspec.json.decode(msgspec.json.encode(value))
    except (TypeError, ValueError, RecursionError):
        return None


def _markdown(text: str) -> Parsed | None:
    found = tables_of(text)
    if found is None:
        return None
    return Parsed(found, is_loose=True, is_document=type(found) is dict)


def _pairs(text: str) -> Parsed | None:
    found = pairs_of(text)
    return None if found is None else Parsed(found, is_loose=True)


def _headed(text: str) -> Parsed | None:
    """Read what a short first line announces: "Found 3 orders:", and then a list or a table."""
    parts = headed(text)
    if parts is None:
        return None
    for read in (_json, _markdown, _csv, _columns, _pairs, _prose):
        found = read(parts[1])
        if found is not None:
            return found
    return None


def _csv(text: str) -> Parsed | None:
    first = text.partition("\n")[0]
    delimiter = next((each for each in ("\t", ";", ",") if each in first), None)
    if delimiter is None or "\n" not in text:
        return None
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=delimiter, strict=True))[:_MAX_ROWS]
    except csv.Error:
        return None
    head = [cell.strip() for cell in rows[0]]
    if any(_opens_a_row(cell) for cell in head):
        return None
    if len(head) < _MIN_LINES or len(set(head)) != len(head) or not all(0 < len(cell) <= 40 for cell in head):  # noqa: PLR2004 - a column's name is short
        return None
    if not all(len(row) == len(head) for row in rows):
        return None
    return Parsed([dict(zip(head, map(str.strip, row), strict=True)) for row in rows[1:]], is_loose=True)


def _opens_a_row(cell: str) -> bool:
    """Tell whether a cell of a first line is data, and no name of a column."""
    if cell[:1].isdigit() or cell[:1] in "*-#@" or cell.count("(") != cell.count(")"):
        return True
    # Names of columns have no numbers behind other words, and are no addresses.
    return shape_of(key_of(cell)) in ENDPOINTS or (" " in cell and cell[-1].isdigit())


def _columns(text: str) -> Parsed | None:
    found = columns_of(text)
    return None if found is None else Parsed(found, is_loose=True)


def _lines(text: str) -> Parsed | None:
    """Read blocks of `Key: value` lines, one record a block; any other line makes the whole a text."""
    blocks: list[dict[str, Any]] = [{}]
    for line in text.splitlines()[:_MAX_ROWS]:
        if not line.strip(" -=*#"):
            if blocks[-1]:
                blocks.append({})
            continue
        match = _LINE.fullmatch(line)
        if match is None or match[1] in blocks[-1]:
            return None
        blocks[-1][match[1]] = _several((match[2] or "").strip())
    found = [block for block in blocks if block]
    if not found or max(map(len, found)) < _MIN_LINES:
        return None
    return Parsed(found[0] if len(found) == 1 else found, is_loose=True)


def _several(text: str) -> Any:
    """Return the entries of a short enumeration, or the text itself."""
    parts = [part.strip() for part in text.split(",")]
    # The whole as well: an address is one thing, with commas in it.
    if len(parts) < _MIN_LINES or not all(map(_is_entry, parts)):
        return text
    return [*parts, text] if len(text) <= MAX_FIELD // 2 else parts


def _list(text: str) -> Parsed | None:
    """Read lines that are short and no sentences as a list; the first may have a heading before a colon."""
    lines = [line.strip(" \t-*\u2022") for line in text.splitlines()[:_MAX_ROWS] if line.strip()]
    heading, found, first = lines[0].partition(":") if lines else ("", "", "")
    if found and _is_entry(heading):
        lines = [*(part.strip() for part in first.split(",") if part.strip()), *lines[1:]]
    if len(lines) < _MIN_LINES or not all(map(_is_entry, lines)):
        return None
    return Parsed(lines, is_loose=True)


def _is_entry(text: str) -> bool:
    return 0 < len(text) <= 60 and len(text.split()) <= 6 and text[-1] not in ".!?:;"  # noqa: PLR2004 - longer is a sentence


def _sectioned(text: str) -> Parsed | None:
    found = sections_of(text)
    return None if found is None else Parsed(found, is_loose=True, is_document=True)


def _page(text: str) -> Parsed | None:
    found = page_tables_of(text)
    return None if found is None else Parsed(found, is_loose=True)


def _ruled(text: str) -> Parsed | None:
    found = ruled_table_of(text)
    return None if found is None else Parsed(found, is_loose=True)


def _prose(text: str) -> Parsed | None:
    found = sentences_of(text)
    return None if found is None else Parsed(found, is_loose=True)


def _lead(text: str) -> Parsed | None:
    found = lead_of(text)
    return None if found is None else Parsed(found, is_loose=True)


def _entries(text: str) -> Parsed | None:
    found = entries_of(text)
    if found is not None and text.startswith("# ") and "\n" in text:
        # A list under a heading is also a document, which the user may hand over to as a whole.
        return Parsed({"text": f"{text}\n.", "entries": found}, is_loose=True, is_document=True)
    return None if found is None else Parsed(found, is_loose=True)

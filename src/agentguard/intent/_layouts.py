"""Layouts that programs give to records in text: fences, tables among other lines, `key=value`, Python's notation.

Whatever stands around a structure is a text of its own: no line of it becomes a field.
"""

from __future__ import annotations

import ast
import json
import re
from itertools import groupby
from typing import Any

MAX_ROWS = 5_000
MAX_LINE = 1_000
_MAX_LITERAL = 65_536
_FENCE = "```"
_TAG = re.compile(r"<([A-Za-z][\w-]{0,40})>")
_NAME = re.compile(r"[A-Za-z_][\w.-]{0,40}")
# A line before the structure that announces it: "Found 3 orders:".
_MAX_TITLE = 80
_RULE = re.compile(r"[|+]?-{2,}(?:[-+|]*-)?[|+]?")
_ROW_COUNT = re.compile(r"\(\d+ rows?\)")


def unwrapped(text: str) -> str:
    """Return what stands in a fence, in one element or in doubled brackets, if that is all; else the text."""
    plain = text.strip()
    if plain.startswith(_FENCE) and plain.endswith(_FENCE):
        # Behind the opening fence the line names a language.
        inner = plain.partition("\n")[2].removesuffix(_FENCE)
        return inner.strip() if _FENCE not in inner else text
    if plain.startswith("<<") and plain.endswith(">>"):
        return plain[2:-2].strip()
    tag = _TAG.match(plain)
    if tag is None or not plain.endswith(f"</{tag[1]}>"):
        return text
    inner = plain[tag.end() : -len(tag[1]) - 3]
    return inner.strip() if f"</{tag[1]}>" not in inner else text


def headed(text: str) -> tuple[str, str] | None:
    """Return the short line that announces a structure, and the structure; None if there is no such line."""
    first, found, rest = text.partition("\n")
    if not found or not 0 < len(first.strip()) <= _MAX_TITLE or first.lstrip()[0] in "[{<|#-*":
        return None
    if first.rstrip().endswith(":") or rest.startswith("\n"):
        return first.strip(), rest.strip()
    return None


def literal_of(text: str) -> Any:
    """Return a list or a mapping in Python's notation, or None."""
    if text[:1] not in "[{" or len(text) > _MAX_LITERAL:
        return None
    try:
        value = ast.literal_eval(text)
        return json.loads(json.dumps(value)) if type(value) in (dict, list) else None
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None


def cut_list(text: str) -> list[Any] | None:
    """Return the whole entries of a JSON list whose end is missing, or None."""
    if not text.startswith("["):
        return None
    decoder, found, at = json.JSONDecoder(), list[Any](), 1
    try:
        while len(found) < MAX_ROWS:
            value, at = decoder.raw_decode(text, _past(text, at))
            found.append(value)
            if text[_past(text, at) : _past(text, at) + 1] == "]":
                # It has an end, so something else is wrong with it.
                return None
    except (ValueError, RecursionError):
        pass
    return found if found and all(type(each) in (dict, list) for each in found) else None


def _past(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n,":
        at += 1
    return at


def pairs_of(text: str) -> Any:
    """Return lines of `key=value` as records, one a line, or one of all lines with a pair each; else None."""
    rows = []
    for line in text.splitlines()[:MAX_ROWS]:
        if line.strip():
            row = _pairs(line.strip())
            if row is None:
                return None
            rows.append(row)
    if not rows:
        return None
    if len(rows) == 1 or any(len(row) > 1 for row in rows):
        return rows if len(rows[0]) > 1 else None
    names = [name for row in rows for name in row]
    return {name: row[name] for row in rows for name in row} if len(set(names)) == len(names) else None


def _pairs(line: str) -> dict[str, str] | None:
    if len(line) > MAX_LINE or "=" not in line:
        return None
    row: dict[str, str] = {}
    name, is_quoted = "", False
    lead = ""
    for token in line.split():
        head, found, value = token.partition("=")
        if found and not is_quoted and _NAME.fullmatch(head):
            if head in row:
                return None
            name, row[head] = head, value
        elif name:
            row[name] += f" {token}"
        elif not lead and any(map(str.isdigit, token)):
            lead = token
            continue
        else:
            return None
        is_quoted = _is_open(row[name])
    if lead:
        # A line of a log: what it is about, and then what is known of it.
        return (
            {"lead": lead} | {key: _unquoted(value) for key, value in row.items()} if len(row) > 1 else None
        )
    return {key: _unquoted(value) for key, value in row.items()}


def _is_open(value: str) -> bool:
    """Tell whether a quotation has begun and not ended."""
    value = value.rstrip(",")
    return value[:1] in ('"', "'") and (len(value) == 1 or value[-1] != value[0])


def _unquoted(value: str) -> str:
    value = value.rstrip(",")
    return value[1:-1] if value[:1] in ('"', "'") and value[-1:] == value[:1] and len(value) > 1 else value


def tables_of(text: str) -> Any:
    """Return the rows of a Markdown table; with other lines around, or several tables, each beside the text; or None."""
    others: list[str] = []
    tables: list[list[dict[str, str]]] = []
    for is_row, group in groupby(text.splitlines(), key=lambda line: line.lstrip().startswith("|")):
        lines = list(group)
        table = _table([line.strip() for line in lines]) if is_row else None
        if table is None:
            others += lines
        else:
            tables.append(table)
    if not tables:
        return None
    if not any(map(str.strip, others)):
        return tables[0] if len(tables) == 1 else tables
    return {"text": "\n".join((*others, ".")), "tables": tables}


def ruled_table_of(text: str) -> list[dict[str, str]] | None:
    """Return the rows of a table in plain text, with a rule under the names of its columns, as databases print it."""
    lines = [line for line in text.splitlines() if line.strip()][:MAX_ROWS]
    # The number of rows at the end, and the lines of a frame.
    if lines and _ROW_COUNT.fullmatch(lines[-1].strip()):
        lines.pop()
    lines = [line for at, line in enumerate(lines) if at == 1 or not _RULE.fullmatch(line.strip())]
    if len(lines) < 3 or not _RULE.fullmatch(lines[1].strip()) or "|" not in lines[0]:  # noqa: PLR2004 - names, a rule, a row
        return None
    head = _cells(lines[0].strip())
    rows = [_cells(line.strip(" ") if line.lstrip().startswith("|") else line) for line in lines[2:]]
    if len(set(head)) != len(head) or not all(head) or not all(len(row) == len(head) for row in rows):
        return None
    return [dict(zip(head, row, strict=True)) for row in rows]


def _table(lines: list[str]) -> list[dict[str, str]] | None:
    if len(lines) < 3 or not set(lines[1]) <= set("|-: "):  # noqa: PLR2004 - names, a line, a row
        return None
    head = _cells(lines[0])
    rows = [_cells(line) for line in lines[2:MAX_ROWS]]
    if len(set(head)) != len(head) or not all(len(row) == len(head) for row in rows):
        return None
    return [dict(zip(head, row, strict=True)) for row in rows]


def _cells(line: str) -> list[str]:
    inner = line.removeprefix("|").removesuffix("|")
    return [cell.strip() for cell in inner.split("|")]

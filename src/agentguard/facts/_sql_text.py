"""Facts about SQL that stand in its text and not in its tree: comments, which a parser throws away."""

from __future__ import annotations

import re
from typing import Any

# Each alternative matches to the end of the text where it is not closed, so reading is linear.
_PIECE = re.compile(
    r"'[^']*(?:'|\Z)|\"[^\"]*(?:\"|\Z)|`[^`]*(?:`|\Z)|(--[^\n]*)|(#[^\n]*)|(/\*.*?(?:\*/|\Z))", re.DOTALL
)
_SPLITS = re.compile(r"\w/\*[^*]{0,100}\*/\w")
_HIDES = re.compile(
    r"^\s*(?:['\"][\s)]*|['\")]+.*|(?:['\")]|\s)*(?:and|or)\b.{0,200}(?:=|<|>|\blike\b|\bin\b).*)$", re.IGNORECASE | re.DOTALL
)  # fmt: skip
_FILES = re.compile(r"\binto\s{1,20}(?:out|dump)file\b", re.IGNORECASE)
_WAITS = re.compile(r"\bwaitfor\s{1,20}(?:delay|time)\b", re.IGNORECASE)
# MySQL's other way to write OR, which the other dialects take for joining texts.
_OR_TRUE = re.compile(
    r"\|\|\s{0,8}\(?\s{0,8}(?:(\d{1,9})\s{0,8}=\s{0,8}\1\b|'([^']{0,40})'\s{0,8}=\s{0,8}'\2(?:'|$)|true\b)",
    re.IGNORECASE,
)
_EMPTY = frozenset(("--", "-- -", "--+", "#", "-- ", "--  ", "/*"))


def text_facts(text: str) -> dict[str, Any]:
    """Return what the comments say."""
    comments = []
    outside = []
    last = 0
    for match in _PIECE.finditer(text):
        outside.append(text[last : match.start()])
        last = match.end()
        comment = match[1] or match[2] or match[3]
        if comment:
            comments.append((comment, match.start()))
            if match[3]:
                outside.append(comment[:104])
        else:
            outside.append("''")
    outside.append(text[last:])
    code = "".join(outside)
    return {
        "sql.comment": bool(comments),
        "sql.comment_injection": any(_is_injection(text, *each) for each in comments)
        or _SPLITS.search(code) is not None,
        **({"sql.tautology": True} if _OR_TRUE.search(text) else {}),
        **({"sql.escapes": True} if _FILES.search(code) else {}),
        **({"sql.delays": True} if _WAITS.search(code) else {}),
    }


def _is_injection(text: str, comment: str, start: int) -> bool:
    if comment.startswith(("/*!", "/*M!")):
        return True
    if comment.startswith("/*"):
        # Quotes around what is left out: the comment begins and ends within texts.
        return (
            not comment.endswith("*/")
            or re.match(r"\s*['\"].*['\"]\s*$", comment[2:-2], re.DOTALL) is not None
        )
    line = text[text.rfind("\n", 0, start) + 1 : start].strip()
    last = start + len(comment) >= len(text.rstrip())
    if line and last and comment.rstrip() in {each.rstrip() for each in _EMPTY}:
        return True
    body = comment.lstrip("-#")
    return bool(line) and _HIDES.match(body) is not None

"""Undoing the encodings behind which a value can hide: base64, hex, percent signs, JSON escapes."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH = 3
MAX_PIECES = 16
MAX_PIECE = 65_536
# Characters that are decoded of one text, in all its layers.
MAX_DECODED = 131_072

_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_ESCAPE = re.compile(r"\\[\"\\/bfnrtu]")
_MIN_PIECE = 12
# Lines as mail wraps them belong together.
_PIECE = re.compile(
    r"(?<![A-Za-z0-9+/_-])(?:[A-Za-z0-9+/_-]{60,}+(?:\r?\n[A-Za-z0-9+/_-]+)+={0,2}|[A-Za-z0-9+/_-]{12,}+={0,2})"
)
_TO_RUNS = {code: " " for code in range(128) if not chr(code).isalnum() and chr(code) not in "+/_-"}
_HEX = re.compile(r"(?:0x)?((?:[0-9A-Fa-f]{2}){6,})")
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_PRINTABLE = 0.9


class Decoded(msgspec.Struct, frozen=True):
    """A text found behind an encoding, and where in the outer text (begin, end) it was."""

    text: str
    start: int
    end: int


def decoded(text: str) -> Iterator[Decoded]:
    """Yield what stands behind encodings in `text`, one layer deep; bounded in number and size."""
    if len(text) <= MAX_PIECE:
        if "%" in text and _PERCENT.search(text):
            yield Decoded(unquote(text, errors="replace"), 0, len(text))
        if "\\" in text and _ESCAPE.search(text):
            yield from _unescaped(text)
    # No run of the alphabet is long enough to be a piece in nearly all texts: that is seen faster than searched.
    if max(map(len, text.translate(_TO_RUNS).split()), default=0) >= _MIN_PIECE:
        yield from _pieces(text)


def _unescaped(text: str) -> Iterator[Decoded]:
    inner = text[1:-1] if text[:1] == text[-1:] == '"' and len(text) > 1 else text
    for candidate in (inner, re.sub(r'(?<!\\)"', r"\"", inner)):
        try:
            yield Decoded(msgspec.json.decode(f'"{candidate}"', type=str), 0, len(text))
        except (msgspec.DecodeError, UnicodeEncodeError):
            continue
        return


def _pieces(text: str) -> Iterator[Decoded]:
    left = MAX_PIECES
    for match in _PIECE.finditer(text):
        piece = match[0][:MAX_PIECE]
        digits = _HEX.fullmatch(piece)
        plain = _as_text(bytes.fromhex(digits[1])) if digits else None
        plain = plain or _as_text(_from_base64(piece))
        if plain is not None:
            yield Decoded(plain, match.start(), match.end())
            left -= 1
            if left == 0:
                return


def _from_base64(piece: str) -> bytes | None:
    packed = "".join(piece.split()).rstrip("=")
    # A lone last character carries no byte: what was cut off elsewhere is still worth reading.
    packed = packed[:-1] if len(packed) % 4 == 1 else packed
    try:
        return base64.b64decode(packed.encode().translate(_TO_STANDARD) + b"=" * (-len(packed) % 4))
    except (ValueError, binascii.Error):
        return None


def _as_text(raw: bytes | None) -> str | None:
    """Return bytes as a text if they look like one (nearly all of it printable)."""
    if not raw:
        return None
    plain = raw.decode("utf-8", errors="ignore")
    shown = sum(map(str.isprintable, plain)) + sum(map(plain.count, "\n\t\r"))
    # Bytes that are no UTF-8 fell out: what lost many of them was no text.
    kept = len(plain.encode("utf-8", errors="ignore"))
    return plain if kept >= _PRINTABLE * len(raw) and shown >= _PRINTABLE * len(plain) > 0 else None

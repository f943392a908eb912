"""Texts in one spelling: case, width, look-alikes and invisible characters no longer count."""

from __future__ import annotations

import unicodedata

# What looks like a Latin letter and is none (lower case, after NFKC and case folding), from UTS #39.
_LOOKS_LIKE = {
    "a": "\u0430\u03b1\u0251", "b": "\u044c\u042c", "c": "\u0441\u03f2", "d": "\u0501", "e": "\u0435\u212e\u04bd",
    "g": "\u0261\u0581", "h": "\u04bb\u0570", "i": "\u0456\u03b9\u0131\u04cf", "j": "\u0458\u03f3", "k": "\u043a\u03ba",
    "l": "\u01c0", "m": "\u043c", "n": "\u0578\u057c", "o": "\u043e\u03bf\u0585\u03c3", "p": "\u0440\u03c1",
    "q": "\u051b\u0566", "r": "\u0433", "s": "\u0455\u0282", "t": "\u0442\u03c4", "u": "\u057d\u03c5\u028b",
    "v": "\u03bd\u0475", "w": "\u051d\u0461", "x": "\u0445\u03c7", "y": "\u0443\u04af\u03b3", "z": "\u0290",
}  # fmt: skip
_FOLD: dict[int, str | None] = {ord(char): to for to, chars in _LOOKS_LIKE.items() for char in chars}
# Characters that show nothing: joiners, direction marks, soft hyphen, variation selectors, tags, accents apart.
_FOLD.update(
    dict.fromkeys(
        [
            0xAD, 0x34F, 0x61C, 0x180E, 0xFEFF, *range(0x200B, 0x2010), *range(0x202A, 0x202F),
            *range(0x2060, 0x2070), *range(0xFE00, 0xFE10), *range(0x300, 0x370), *range(0xE0000, 0xE01F0),
        ]
    )
)  # fmt: skip


def fold_spelling(text: str) -> str:
    """Return `text` case-folded; beyond ASCII also in NFKC, without what is invisible or only looks alike."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", text).casefold().translate(_FOLD)

"""Hostile text, made safe to look at: what cannot be seen is named, what is long is cut."""

from __future__ import annotations

import unicodedata

# Control and format characters (the bidirectional overrides among them), line separators, surrogates,
# private and unassigned ones: a reader would see nothing of them, or something else than is there.
_INVISIBLE = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


def visible(text: str, limit: int, *, keep: str = "") -> str:
    """Return `text` with each invisible character as `⟨U+202E⟩`, cut to about `limit` characters.

    Characters in `keep` stay. HTML is not escaped here: the template, or `textContent`, does that.
    """
    cut = text[:limit]
    if not (cut.isascii() and cut.isprintable()):
        cut = "".join(_show(char) if char not in keep else char for char in cut)
    return cut if len(text) <= limit else f"{cut}… ({len(text):,} characters)"


def _show(char: str) -> str:
    if unicodedata.category(char) in _INVISIBLE:
        return f"⟨U+{ord(char):04X}⟩"
    return char

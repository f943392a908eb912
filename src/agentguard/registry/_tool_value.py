"""What a value looks like, whatever its argument is called: an address, a URL, a path, an id, or prose."""

from __future__ import annotations

import re

MAX_LENGTH = 2048

_MAIL = re.compile(r"(?:mailto:)?[^\s@<>,;]+@[^\s@<>,;.]+(?:\.[^\s@<>,;.]+)+|.{0,80}<[^\s@<>]+@[^\s@<>]+>")
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]{1,20}://\S+|(?:www\.)\S+\.\S+")
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?")
_CARD = re.compile(r"[0-9](?:[ -]?[0-9]){12,18}")
_PHONE = re.compile(r"\+[0-9](?:[ ().-]{0,2}[0-9]){6,14}|\(?[0-9]{3}\)?[ .-][0-9]{3}[ .-][0-9]{4}")
_IP = re.compile(
    r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?::[0-9]{1,5})?|\[?[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7}\]?"
)
_HOST = re.compile(r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?\.)+[a-zA-Z]{2,24}(?::[0-9]{1,5})?\.?")
_SUFFIX = re.compile(
    r"[^/\\\0\n]{1,200}\.(?:txt|md|pdf|csv|tsv|json|ya?ml|xml|html?|docx?|xlsx?|pptx?|odt|png|jpe?g|gif|svg|zip|tar|gz"
    r"|py|js|ts|sh|sql|log|ini|cfg|conf|toml|env|pem|key|eml|ics|bak|db|sqlite|mp[34]|wav)",
    re.IGNORECASE,
)
_PATH = re.compile(r"(?:~|\.{1,2})?[/\\](?:[^\0\n]{0,400})|[A-Za-z]:[/\\][^\0\n]*|[\w.-]+(?:/[\w.@-]+)+/?")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_DATE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9:.]{4,15}(?:Z|[+-][0-9:]{2,6})?)?|[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?(?: ?[ap]m)?"
    r"|[0-9]{1,2}[./][0-9]{1,2}[./][0-9]{2,4}",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[-+]?[0-9]+(?:[.,][0-9]+)?%?")
# Letters and digits mixed, or several parts, and no spaces: what machines name things by.
_ID = re.compile(
    r"(?=\S*[0-9])(?=\S*[A-Za-z])[\w:.#/-]{3,128}|[A-Za-z]+(?:[-_:][A-Za-z0-9]+)+|#\w+|@\w[\w.-]*"
)
_HEX = re.compile(r"[0-9a-fA-F]{7,64}|0x[0-9a-fA-F]{8,64}|bc1[a-z0-9]{20,80}")

_SHAPES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("recipient", _MAIL),
    ("url", _URL),
    ("account", _IBAN),
    ("id", _UUID),
    ("", _DATE),
    ("host", _IP),
    ("account", _CARD),
    ("recipient", _PHONE),
    ("", _NUMBER),
    ("path", _SUFFIX),
    ("host", _HOST),
    ("path", _PATH),
    ("id", _HEX),
    ("id", _ID),
)


def target_kind(value: object) -> str | None:
    """Return the kind of target (one of `ARGUMENT_KINDS`) that `value` looks like, or None for what looks like none.

    For arguments of which no name says what they are. A date, a number, a truth value, a plain word and prose
    look like none: that is no proof that they are none. A text of several words is prose, except where it is
    one address. Only the shape counts, so the same value always gives the same answer; it takes at most some
    microseconds, for values of any length.
    """
    if type(value) is not str or not 1 < len(value) <= MAX_LENGTH:
        return None
    text = value.strip()
    for kind, shape in _SHAPES:
        if shape.fullmatch(text) is not None:
            if kind == "path" and shape is _SUFFIX and text.count(" ") > 8:  # noqa: PLR2004 - a sentence about a file
                continue
            return kind or None
    return None

"""One form for each value, so that two spellings of one thing are one, and a look-alike is not.

Case, width, invisible characters, white space, `mailto:`, the scheme of a web address, groups of digits and
the way in which a date or an amount is written do not count. Letters of another alphabet that only look alike do:
`skeleton` takes them away too, and what is equal only then is a look-alike.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from agentguard.core import fold_spelling

if TYPE_CHECKING:
    from collections.abc import Container

MAX_VALUE = 2_048
# What belongs to a sentence or a quotation and not to the value.
_EDGES = " \t\r\n\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb<>()[]{},;:!?"
_NAMED_MAIL = re.compile(r"[^<>@]*<\s*([^<>\s]+@[^<>\s]+)\s*>")
_MAIL = re.compile(r"[^\s@<>,;:()\[\]\"']+@[^\s@<>,;:()\[\]\"']+\.[^\s@<>,;:()\[\]\"'.]{2,}")
_URL = re.compile(r"(?:[a-z][a-z0-9+.-]*://|www\.)[^\s<>\"'`]+")
_HOST = re.compile(r"(?:[\w-]+\.)+[a-z]{2,12}(?::\d+)?(?:/[^\s<>\"'`]*)?")
_GROUPS = re.compile(
    r"\+?\(?[0-9]+(?:[ .\-()/]{1,2}[0-9]+)+|[a-z]{2}[0-9]{2}(?:[ -]?[0-9a-z]{4}){2,7}(?:[ -]?[0-9a-z]{1,4})?"
)
_ACCOUNT = re.compile(r"(?:[a-z]{2}[0-9]{2}[0-9a-z]{8,30}|\+?[0-9]{8,30}|0x[0-9a-f]{16,64})")
_PATH = re.compile(r"(?:~?/|[a-z]:\\|\.{1,2}/)\S.*|[^\s/]+(?:/[^\s/]+)+|[^\s/\\]+\.[a-z0-9]{1,5}")
_AMOUNT = re.compile(r"[-+]?[€$£¥]?\s?(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?\s?(?:[€$£¥]|[a-z]{3}|%)?")
# As most of Europe writes it: 1.234,50.
_COMMA = re.compile(r"[-+]?[€$£¥]?\s?(\d{1,3}(?:\.\d{3})+|\d+),(\d{1,2})\s?(?:[€$£¥]|[a-z]{3})?")
_WRITTEN_NUMBER = re.compile(r"(?<![\w.,])-?\d+(?:[.,]\d+)+(?![\w])")
_ISO_DATE = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?:[ t].*)?")
_EXTENSION = re.compile(
    r".*\.(?:com|org|net|io|info|biz|co|uk|de|eu|edu|gov|us|app|dev|ai|me|ru|cn|xyz|test|example)(?:[:/].*)?"
)

MAIL, URL, ACCOUNT, PATH, ID, NAME, NUMBER = "mail", "url", "account", "path", "id", "name", "number"
ENDPOINTS = frozenset((MAIL, URL, ACCOUNT))


def clean(text: str) -> str:
    """Return a text in NFKC and lower case, without what is invisible, one space where white space is."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
        text = "".join(
            char for char in text if unicodedata.category(char) not in ("Cf", "Cc") or char in "\n\t"
        )
    return " ".join(text.casefold().split())


def key_of(value: Any) -> str:
    """Return the one form of a value; empty for what identifies nothing (truth values, null, no text)."""
    kind = type(value)
    if kind is str:
        return _text_key(value if len(value) <= MAX_VALUE else value[:MAX_VALUE])
    if kind is int:
        return str(value)
    if kind is float:
        return str(int(value)) if value.is_integer() else repr(value)
    return ""


@lru_cache(maxsize=16_384)
def _text_key(value: str) -> str:
    text = clean(value).strip(_EDGES)
    text = text.removeprefix("mailto:")
    if "@" in text:
        named = _NAMED_MAIL.fullmatch(text if text.endswith(">") else f"{text}>")
        if named is not None:
            text = named[1]
        if _MAIL.fullmatch(text):
            return text.rstrip(".")
    if "://" in text or text.startswith("www."):
        return _url_key(text)
    if text[:1] in "@#" and len(text) > 1:
        text = text[1:]
    text = text.rstrip(".")
    digits = sum(map(str.isdigit, text))
    if digits:
        return _digits_key(text, digits)
    return text.rstrip("/") if _HOST.fullmatch(text) else text


def _url_key(text: str) -> str:
    scheme, found, rest = text.partition("://")
    if not found:
        scheme, rest = "https", text
    rest = rest.rstrip("/.")
    rest = rest.removeprefix("www.")
    return rest if scheme in ("http", "https") else f"{scheme}://{rest}"


def _digits_key(text: str, digits: int) -> str:
    day = _ISO_DATE.fullmatch(text)
    if day is not None and len(text) <= len("2026-01-01"):
        return f"{day[1]}-{int(day[2]):02}-{int(day[3]):02}"
    comma = _COMMA.fullmatch(text)
    if comma is not None:
        fraction = comma[2].rstrip("0")
        whole = comma[1].replace(".", "") + (f".{fraction}" if fraction else "")
        return f"-{whole}" if text[0] == "-" else whole
    amount = _AMOUNT.fullmatch(text)
    if amount is not None and not amount[1].startswith("0") | (amount[1] != "0" and amount[1][0] == "0"):
        whole = amount[1].replace(",", "")
        fraction = (amount[2] or "").rstrip("0").rstrip(".")
        return f"{'-' if text[0] == '-' else ''}{whole}{fraction}"
    if digits >= 6 and _GROUPS.fullmatch(text):  # noqa: PLR2004 - fewer are no account and no telephone
        return re.sub(r"[^0-9a-z+]", "", text)
    return text


@lru_cache(maxsize=16_384)
def shape_of(key: str) -> str:
    """Return what a value looks like: `mail`, `url`, `account`, `path`, `id`, `number` or `name`."""
    if not key:
        return NAME
    if "@" in key and _MAIL.fullmatch(key):
        return MAIL
    if ("://" in key and " " not in key) or (_HOST.fullmatch(key) and _EXTENSION.fullmatch(key)):
        return URL
    if _ACCOUNT.fullmatch(key):
        return ACCOUNT
    if key.replace(".", "", 1).lstrip("-").isdigit():
        return NUMBER
    if " " not in key and _PATH.fullmatch(key):
        return PATH
    if " " not in key and any(map(str.isdigit, key)):
        return ID
    return NAME


def form_of(key: str) -> str:
    """Return the shape of a value more closely, so that an account is not taken for a telephone."""
    shape = shape_of(key)
    if shape != ACCOUNT:
        return shape
    if key[:2].isalpha():
        return "iban"
    return f"{'hex' if key.startswith('0x') else 'digits'}{len(key)}"


def skeleton(key: str) -> str:
    """Return a value without the difference between what looks alike (UTS #39), digits and letters too."""
    return fold_spelling(key).translate(_ALIKE).replace("rn", "m").replace("vv", "w")


_ALIKE = str.maketrans({"0": "o", "1": "l", "i": "l", "5": "s", "|": "l"})

_TOKEN = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def tokens_of(key: str) -> list[str]:
    """Return the words of a value: runs of letters and digits."""
    return _TOKEN.findall(key)


@lru_cache(maxsize=4_096)
def words_of(name: str) -> tuple[str, ...]:
    """Return the words of a field's or a tool's name: `accountManagerId` as three, as `account_manager_id`."""
    return tuple(tokens_of(clean(_CAMEL.sub(" ", name))))


def is_made_of(text: str, words: Container[str]) -> bool:
    """Tell whether a text has no other words than these; it is read as far as the first other one only."""
    if text.isascii():
        # A loop: a generator costs more than the words that are read of most texts.
        for match in _TOKEN.finditer(text):  # noqa: SIM110 - see above
            if match[0].lower() not in words:
                return False
        return True
    return all(token in words for piece in text.split() for token in tokens_of(clean(piece)))


_ATOMS = re.compile(rf"{_URL.pattern}|{_MAIL.pattern}|[^\s<>\"'`,;()\[\]{{}}|]+")
# What ends a sentence or a bracket around an address.
_ENDS = ").,;:!?\"'>"
_SPACED = re.compile(r"\b[a-z]{2}\d{2}(?: ?[0-9a-z]{4}){2,8}(?: ?[0-9a-z]{1,4})?\b|\+?\d(?:[ .-]?\d){7,20}")


def atoms_of(text: str) -> list[str]:
    """Return the keys of what in a text could be an argument: addresses, paths, numbers, ids."""
    plain = clean(text)
    found = [match[0].rstrip(_ENDS) for match in _ATOMS.finditer(plain)]
    keys = [key_of(each) for each in found if not each.isalpha()]
    keys += [key_of(match[0]) for match in _WRITTEN_NUMBER.finditer(plain)]
    keys += [key_of(match[0]) for match in _SPACED.finditer(plain)]
    return [key for key in keys if key]


_MONTHS = {
    name: number
    for number, names in enumerate(
        ("january jan", "february feb", "march mar", "april apr", "may", "june jun", "july jul", "august aug",
         "september sep sept", "october oct", "november nov", "december dec"), start=1)
    for name in names.split()
}  # fmt: skip
MONTHS = frozenset(_MONTHS)
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_DAY = r"(\d{1,2})(?:st|nd|rd|th)?"
_DATES = (
    (re.compile(r"\b(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?=\b|t)"), (1, 2, 3)),
    (re.compile(rf"\b({_MONTH})\.? {_DAY}\b(?:,? (\d{{4}}))?"), (3, 1, 2)),
    (re.compile(rf"\b{_DAY}(?: of)? ({_MONTH})\b\.?(?:,? (\d{{4}}))?"), (3, 2, 1)),
    (re.compile(r"\b(\d{1,2})\.(\d{1,2})\.(\d{4})\b"), (3, 2, 1)),
)


def dates_of(text: str) -> set[str]:
    """Return the dates in a text as `date:MM-DD`, and with the year where it is written."""
    plain = clean(text)
    found: set[str] = set()
    for pattern, (_year, month, day) in _DATES:
        for match in pattern.finditer(plain):
            number = _MONTHS.get(match[month]) or int(match[month])
            found.add(f"date:{number:02}-{int(match[day]):02}")
    found.update(f"day:{int(match[1])}" for match in _ORDINAL.finditer(plain))
    return found


def moments_of(text: str) -> set[str]:
    """Return what a user could call the dates in a value by: the date, the day of the month, the day of the week."""
    found = dates_of(text)
    found |= {f"day:{int(each[-2:])}" for each in found if each.startswith("date:")}
    for match in _DATES[0][0].finditer(clean(text)):
        try:
            moment = date(int(match[1]), int(match[2]), int(match[3]))
        except ValueError:
            continue
        found.add(WEEK[moment.weekday()])
    return found


_ORDINAL = re.compile(r"\b(\d{1,2})(?:st|nd|rd|th)\b")
WEEK = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


_FIRST_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def measure_of(value: Any) -> float | None:
    """Return the number that a short value is about: an amount, the first number of a text, a date as a number."""
    if type(value) in (int, float):
        return float(value)
    if type(value) is not str or len(value) > 60:  # noqa: PLR2004 - longer is a text
        return None
    if _ISO_DATE.match(value) is not None:
        digits = re.sub(r"\D", "", value)[:14]
        return float(digits.ljust(14, "0"))
    clock = _CLOCK_IN.match(value.strip())
    if clock is not None:
        return float(int(clock[1]) * 60 + int(clock[2]))
    days = [each for each in dates_of(value) if each.startswith("date:")]
    if len(days) == 1:
        return float(days[0][5:].replace("-", ""))
    length = _LENGTH.fullmatch(clean(value))
    if length is not None:
        return float(length[1]) * (1000 if length[2] == "km" else 1)
    whole = key_of(value)
    number = _FIRST_NUMBER.fullmatch(whole) or _FIRST_NUMBER.search(value.replace(",", ""))
    return float(number[0]) if number is not None else None


# What is measured in two units is compared in one.
_LENGTH = re.compile(r"(\d+(?:\.\d+)?) ?(k?m)(?: away)?")
_CLOCK_IN = re.compile(r"(\d{1,2}):(\d{2})\b")


def is_moment(value: Any) -> bool:
    """Tell whether a value is a date or a time as programs write them."""
    return type(value) is str and (
        _ISO_DATE.fullmatch(clean(value)) is not None or _CLOCK.fullmatch(value) is not None
    )


_CLOCK = re.compile(r"\d{1,2}:\d{2}(?::\d{2})?")

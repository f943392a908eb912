"""Canonical JSON (RFC 8785): of one value there is one text, so its hash names the value.

Written here because `core` carries no libraries, and because what the RFC leaves to the reader is refused: an
integer beyond 2^53 - 1, which other readers would round, and in a text a key that stands twice.
"""

from __future__ import annotations

import json
import math
from hashlib import sha256
from json.encoder import encode_basestring
from typing import Any, NoReturn

from agentguard.core.errors import RequestError

# As deep as a request's parameters may be, with the object around them.
MAX_DEPTH = 33
_MAX_INT = 2**53 - 1
_WORDS = {None: "null", True: "true", False: "false"}
# Where ECMAScript's numbers change from plain digits to an exponent.
_PLAIN_EXPONENTS = range(-6, 21)


def canonical_json(value: object) -> bytes:
    """Return the canonical text of plain JSON data, as UTF-8; tuples count as lists.

    Raises:
        RequestError: it holds something that has no canonical form: a number that is not finite, an integer
            beyond 2^53 - 1, a text that is no valid Unicode, a key that is no text, another type, or more than
            33 levels (`params_invalid`).
    """
    try:
        return _write(value, MAX_DEPTH).encode()
    except UnicodeEncodeError:
        raise _invalid("a text that is no valid Unicode") from None


def canonical_hash(value: object) -> str:
    """Return `sha256:` and the hexadecimal SHA-256 of the canonical text.

    Raises:
        RequestError: as `canonical_json`.
    """
    return f"sha256:{sha256(canonical_json(value)).hexdigest()}"


def read_json_object(text: str | bytes) -> dict[str, Any]:
    """Return the object in a JSON text, which two readers cannot read in two ways.

    Raises:
        RequestError: it is no JSON object in UTF-8, or a key stands twice in one object (`params_invalid`).
    """
    try:
        decoded = text if isinstance(text, str) else text.decode()
        value = json.loads(decoded, object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError):
        value = None
    if type(value) is not dict:
        raise RequestError("params are no JSON object, or a key stands twice", code="params_invalid")
    return value


def _write(value: Any, depth: int) -> str:
    kind = type(value)
    if kind is str:
        return encode_basestring(value)
    if kind is bool or value is None:
        return _WORDS[value]
    if kind is int:
        if not -_MAX_INT <= value <= _MAX_INT:
            raise _invalid("an integer beyond 2^53")
        return str(value)
    if kind is float:
        return _number(value)
    if depth == 0:
        raise _invalid("more than 32 levels")
    if kind is dict:
        members = [f"{encode_basestring(key)}:{_write(value[key], depth - 1)}" for key in _sorted(value)]
        return f"{{{','.join(members)}}}"
    if kind is list or kind is tuple:
        return f"[{','.join([_write(item, depth - 1) for item in value])}]"
    raise _invalid(f"a value that JSON cannot carry: {kind.__name__}")


def _sorted(value: dict[Any, Any]) -> list[str]:
    """Return the keys by their UTF-16 code units (RFC 8785, section 3.2.3)."""
    if any(type(key) is not str for key in value):
        raise _invalid("a key that is no text")
    # Of ASCII both orders are the same.
    if all(map(str.isascii, value)):
        return sorted(value)
    return sorted(value, key=lambda key: key.encode("utf-16-be"))


def _number(value: float) -> str:
    """Return a number as ECMAScript writes it (RFC 8785, section 3.2.2.3).

    Python's digits are the same shortest ones; it only changes to an exponent elsewhere.
    """
    if not math.isfinite(value):
        raise _invalid("a number that is not finite")
    if value == 0:
        return "0"
    mantissa, _, exponent = repr(value).partition("e")
    if not exponent:
        return mantissa.removesuffix(".0")
    power = int(exponent)
    if power not in _PLAIN_EXPONENTS:
        return f"{mantissa}e{power:+d}"
    sign = "-" if value < 0 else ""
    digits = mantissa.lstrip("-").replace(".", "")
    return f"{sign}0.{'0' * (-power - 1)}{digits}" if power < 0 else f"{sign}{digits.ljust(power + 1, '0')}"


def _unique(items: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(items)
    if len(found) < len(items):
        raise ValueError("duplicate key")
    return found


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


def _invalid(what: str) -> RequestError:
    return RequestError(f"params have {what}", code="params_invalid")

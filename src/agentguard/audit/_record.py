"""One record as one line: how it is composed, how large it may be, and what can be read from its first bytes.

A line is a JSON object whose first keys are `prev` and `seq`, at fixed places, so that a verifier follows the
chain without parsing. The hash of a record is the SHA-256 of its line as written, without the newline: what
was written is what is hashed, and no canonical form has to be agreed on.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import orjson

from agentguard.core import AuditError

if TYPE_CHECKING:
    from collections.abc import Mapping

GENESIS = "0" * 64
# An entry of a C2SP tile bundle has a 16 bit length: what is written now can become a leaf of a Merkle tree.
MAX_RECORD_BYTES = 65_535
# What `compose` puts before the caller's fields, with the longest seq there will ever be.
_PREFIX_BYTES = 9 + 64 + 8 + 19 + 14 + 32 + 15 + 27 + 2
_BODY_LIMIT = MAX_RECORD_BYTES - _PREFIX_BYTES
_DIGEST_BYTES = 110
_HEAD = re.compile(rb'\{"prev":"([0-9a-f]{64})","seq":([1-9][0-9]{0,18}),')


class Link(NamedTuple):
    """A record's place in the chain: its `seq` and its hash (64 hex). Before the first: 0 and zeros."""

    seq: int
    hash: str


START = Link(0, GENESIS)


class Place(NamedTuple):
    """What the first bytes of a line claim: the hash of the line before, and its own seq."""

    prev: str
    seq: int


def place_of(line: bytes) -> Place | None:
    """Return what a line claims about its place, or None if it does not begin as a record does."""
    match = _HEAD.match(line)
    return Place(match[1].decode(), int(match[2])) if match else None


def hash_of(line: bytes) -> str:
    """Return the hash of a line (without its newline)."""
    return hashlib.sha256(line).hexdigest()


def is_record(line: bytes) -> bool:
    """Tell whether a line is one JSON object in UTF-8 that begins as a record does, and nothing beside."""
    if place_of(line) is None or not line.endswith(b"}"):
        return False
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def compose(link: Link, event_id: str, timestamp: str, body: bytes) -> bytes:
    """Return the line that follows `link`, with its newline; `body` comes from `encode`."""
    head = f'{{"prev":"{link.hash}","seq":{link.seq + 1},"event_id":"{event_id}","timestamp":"{timestamp}"'
    # An empty body is `{}`; else the body's brace becomes the comma after our fields.
    return head.encode() + (b"," + body[1:] if len(body) > 2 else b"}") + b"\n"  # noqa: PLR2004 - len of `{}`


def encode(record: Mapping[str, Any]) -> bytes:
    """Return the caller's fields as one JSON object that leaves room for the log's own.

    Where they are too large, `params` are replaced by their digest, `{"digest": "sha256:...", "bytes": n}`,
    then the other large fields, the largest first.

    Raises:
        AuditError: a value that JSON cannot carry, a field that the log sets itself, or a record that is too
            large with all digests in place (`record_invalid`).
    """
    fields = record if type(record) is dict else dict(record)
    # Four look-ups cost a third of going through the caller's keys.
    if "prev" in fields or "seq" in fields or "event_id" in fields or "timestamp" in fields:
        raise _invalid("sets a field that the log sets itself: `prev`, `seq`, `event_id` or `timestamp`")
    body = _dump(fields)
    return body if len(body) <= _BODY_LIMIT else _shrink(fields)


def _shrink(fields: dict[str, Any]) -> bytes:
    sizes = {key: len(_dump(value)) for key, value in fields.items()}
    # `params` go first, whatever else is large: the rest says why something was decided.
    order = sorted(sizes, key=lambda key: (key != "params", -sizes[key]))
    small = dict(fields)
    for key in order:
        if sizes[key] <= _DIGEST_BYTES:
            continue
        # Sorted keys: the same value has the same digest whatever order its caller built it in.
        data = orjson.dumps(fields[key], default=_builtin, option=orjson.OPT_SORT_KEYS)
        small[key] = {"digest": f"sha256:{hash_of(data)}", "bytes": len(data)}
        body = _dump(small)
        if len(body) <= _BODY_LIMIT:
            return body
    raise _invalid(f"has more than {MAX_RECORD_BYTES} bytes, with digests in place of its large fields")


def _dump(value: Any) -> bytes:
    try:
        return orjson.dumps(value, default=_builtin)
    except (orjson.JSONEncodeError, RecursionError) as error:
        raise _invalid(f"has a value that JSON cannot carry: {error}") from None


def _builtin(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return msgspec.to_builtins(value)
    raise TypeError(type(value).__name__)


def _invalid(why: str) -> AuditError:
    return AuditError(f"the record {why}", code="record_invalid")

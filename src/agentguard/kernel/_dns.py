"""DNS messages (RFC 1035), as far as they say which name was asked for and which address it has. Hostile input."""

from __future__ import annotations

import ipaddress
import struct

import msgspec

_HEADER = struct.Struct("!HHHHHH")
_QUESTION = struct.Struct("!HH")
_RECORD = struct.Struct("!HHIH")
_TYPES = {1: "A", 2: "NS", 5: "CNAME", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV", 65: "HTTPS"}
_MAX_RECORDS = 64
_MAX_NAME = 253
_MAX_POINTERS = 32
_POINTER = 0xC0


class DnsMessage(msgspec.Struct, frozen=True, gc=False):
    """A question, and where it is an answer the addresses; names in lower case without the last dot."""

    name: str
    type: str
    is_answer: bool
    addresses: tuple[str, ...] = ()


def parse_dns(data: bytes) -> DnsMessage | None:
    """Return what the message says, or None where it is none, or has no question."""
    try:
        return _parse(data)
    except (struct.error, IndexError, ValueError):
        return None


def _parse(data: bytes) -> DnsMessage | None:
    _, flags, questions, answers, _, _ = _HEADER.unpack_from(data)
    if questions < 1:
        return None
    name, place = _name(data, _HEADER.size)
    kind, _ = _QUESTION.unpack_from(data, place)
    place += _QUESTION.size
    addresses: list[str] = []
    # A message that was cut in the middle still says what it says up to there.
    try:
        for _ in range(min(answers, _MAX_RECORDS)):
            _, place = _name(data, place)
            found, _, _, length = _RECORD.unpack_from(data, place)
            place += _RECORD.size
            value = data[place : place + length]
            place += length
            if (found, len(value)) in {(1, 4), (28, 16)}:
                addresses.append(str(ipaddress.ip_address(value)))
    except (struct.error, IndexError, ValueError):
        pass
    return DnsMessage(name, _TYPES.get(kind, str(kind)), bool(flags & 0x8000), tuple(addresses))


def _name(data: bytes, place: int) -> tuple[str, int]:
    labels: list[str] = []
    end = -1
    for _ in range(_MAX_POINTERS + _MAX_NAME):
        length = data[place]
        if length >= _POINTER:
            end = place + 2 if end < 0 else end
            place = (length & 0x3F) << 8 | data[place + 1]
            continue
        place += 1
        if length == 0:
            break
        if length > 63 or place + length > len(data):  # noqa: PLR2004 - RFC 1035: a label's octets
            raise ValueError("a label is too long")
        labels.append(data[place : place + length].decode("ascii", "backslashreplace"))
        place += length
    else:
        raise ValueError("the name does not end")
    name = ".".join(labels).lower()
    if len(name) > 4 * _MAX_NAME:
        raise ValueError("the name is too long")
    return name, place if end < 0 else end

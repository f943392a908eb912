"""A history as bytes, and in a file: whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import tempfile
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import IntegrityError, Location
from agentguard.policy._sequence_cells import Mark, Seen, Tally
from agentguard.policy._sequence_scope import Key, ScopeState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_MAGIC = b"agentguard-history 1\n"
_DIGEST_BYTES = 32
_HINT = "restore it, or remove it to begin with an empty history"

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[tuple[Key, ScopeState]])


def encode(states: Mapping[Key, ScopeState]) -> bytes:
    """Return the states as bytes: a first line, the SHA-256 of the rest, MessagePack."""
    body = _encoder.encode(sorted(states.items(), key=lambda item: item[0]))
    return _MAGIC + hashlib.sha256(body).digest() + body


def decode(data: bytes) -> dict[Key, ScopeState]:
    """Return the states in `data`.

    Raises:
        IntegrityError: `data` is not what `encode` returned.
    """
    start = len(_MAGIC) + _DIGEST_BYTES
    body = data[start:]
    if not data.startswith(_MAGIC):
        raise _damaged("is no history, or one of another version")
    if hashlib.sha256(body).digest() != data[len(_MAGIC) : start]:
        raise _damaged("is damaged: its content does not match its hash")
    try:
        states = dict(_decoder.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _damaged(f"is damaged: {str(error)[:1].lower()}{str(error)[1:]}") from None
    if not all(map(math.isfinite, _times(states))):
        raise _damaged("is damaged: a time is not finite")
    return states


def save(path: Path, data: bytes) -> None:
    """Replace the file at `path` by one with `data`, readable by this user alone, as a whole.

    Raises:
        OSError: it could not be written; what was there is unchanged.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(name, path)  # noqa: PTH105 - a name from mkstemp
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)  # noqa: PTH108 - as above
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def unreadable(path: Path, error: OSError) -> IntegrityError:
    """Return the error for a file that cannot be read or written."""
    reason = (error.strerror or str(error)).lower()
    return IntegrityError(
        f"the history cannot be kept: {reason}", code="history_unavailable", location=Location(str(path))
    )


def _times(states: Mapping[Key, ScopeState]) -> Iterator[float]:
    for state in states.values():
        yield state.seen
        for cell in state.cells.values():
            if isinstance(cell, Mark):
                yield cell.at
            elif isinstance(cell, Tally):
                yield from (at for at, _ in cell.entries)
            elif isinstance(cell, Seen):
                yield from cell.values.values()


def _damaged(message: str) -> IntegrityError:
    return IntegrityError(f"the history {message}", code="history_damaged", hint=_HINT)

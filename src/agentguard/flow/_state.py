"""The label store as bytes and as a file, so that sessions survive a restart.

A file is `agentguard-flow` and a version, a BLAKE2b digest of the rest, then MessagePack. It holds the key of
the fingerprints, so it belongs where secrets live. Fingerprints depend on how the interpreter hashes; another
one keeps the labels of the sessions and counts their fingerprints as forgotten.
"""

from __future__ import annotations

import contextlib
import os
from array import array
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import Label
from agentguard.flow._packed import LabelTable
from agentguard.flow._prints import DIALECT
from agentguard.flow._regrade import Grant
from agentguard.flow._session import Origin, Session
from agentguard.flow._store import FlowStore

if TYPE_CHECKING:
    from pathlib import Path

MAGIC = b"agentguard-flow 1\n"
_DIGEST = 32


class _Index(msgspec.Struct, array_like=True):
    """Fingerprints (signed, 64 bits) and the numbers of their origins (32 bits), in the machine's order."""

    prints: bytes
    origins: bytes


class _Session(msgspec.Struct, array_like=True):
    principal: str
    name: str
    label: Label
    lossy: Label
    lost: bool
    seen: float
    events: int
    young: _Index
    old: _Index
    labels: tuple[Label, Label]
    vouched: _Index
    origins: tuple[tuple[Label, tuple[str, ...]], ...]
    grants: tuple[Grant, ...]


class _State(msgspec.Struct, array_like=True):
    dialect: str
    clean: bool
    key: bytes
    categories: tuple[str, ...]
    readers: tuple[str, ...]
    now: float
    lost_until: float
    sessions: tuple[_Session, ...]
    ended: tuple[tuple[str, str, Label, float], ...]
    floors: dict[str, Label]


def snapshot(store: FlowStore, *, closing: bool = False) -> bytes:
    """Return the store's state. `closing`: nothing will be observed after it."""
    unpack = store.table.unpack
    with store.lock:
        sessions = tuple(_pack_session(key, each, store.table) for key, each in store.sessions.items())
        ended = tuple((*key, unpack(packed), since) for key, (packed, since) in store.ended.items())
        floors = {name: unpack(packed) for name, packed in store.floors.items()}
        state = _State(
            DIALECT,
            closing,
            store.printer.key,
            store.table.categories,
            store.table.readers,
            store.now,
            store.lost_until,
            sessions,
            ended,
            floors,
        )
    content = msgspec.msgpack.encode(state)
    return MAGIC + blake2b(content, digest_size=_DIGEST).digest() + content


def restore(content: bytes, **bounds: Any) -> FlowStore:
    """Return a store with the state of `content`; `bounds` are the store's.

    What was observed after a snapshot that was not a closing one is unknown, so every session counts as having
    seen everything until `ttl_s` after the snapshot. The same holds where `content` cannot be read.
    """
    state = _read(content)
    if state is None:
        store = FlowStore(**bounds)
        # The moment is not known: it is counted from the first one that is.
        store.lost_until = float("inf")
        return store
    store = FlowStore(**bounds, key=state.key)
    table = store.table = LabelTable(state.categories, state.readers)
    store.now, store.lost_until = state.now, state.lost_until
    whole = state.dialect == DIALECT
    for each in state.sessions:
        store.add((each.principal, each.name), _unpack_session(each, store, whole=whole))
    store.ended.update({(who, name): (table.pack(label), since) for who, name, label, since in state.ended})
    store.floors = {name: table.pack(label) for name, label in state.floors.items()}
    if not state.clean:
        store.declare_lost(state.now)
    return store


def save(store: FlowStore, path: Path, *, closing: bool = False) -> None:
    """Write the state to `path` as a whole or not at all: after a crash there is the old file or the new one.

    Raises:
        OSError: it could not be written; the old file is as it was.
    """
    content = snapshot(store, closing=closing)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:  # noqa: PTH123 - a descriptor with a mode
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load(path: Path, now: float, **bounds: Any) -> FlowStore:
    """Return a store with the state of `path`, an empty one where there is no file.

    A file that cannot be read, or whose process ended without a closing `save`, fails closed: for `ttl_s` from
    `now` every session counts as having seen private data and untrusted content. Whoever opens a store saves it
    once at the start, so that a crash before the next save is noticed.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return FlowStore(**bounds)
    except OSError:
        content = b""
    store = restore(content, **bounds)
    if store.lost_until > store.now:
        store.declare_lost(now)
    return store


def _read(content: bytes) -> _State | None:
    start = len(MAGIC) + _DIGEST
    if not content.startswith(MAGIC):
        return None
    body = content[start:]
    if blake2b(body, digest_size=_DIGEST).digest() != content[len(MAGIC) : start]:
        return None
    try:
        return msgspec.msgpack.decode(body, type=_State)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _pack_session(key: tuple[str, str], session: Session, table: LabelTable) -> _Session:
    unpack = table.unpack
    young, old = session.generations
    return _Session(
        *key,
        unpack(session.label),
        unpack(session.lossy),
        session.lost,
        session.seen,
        session.events,
        _pack_index(young),
        _pack_index(old),
        (unpack(session.labels[0]), unpack(session.labels[1])),
        _pack_index(session.vouched),
        tuple((unpack(each.packed), each.sources) for each in session.origins),
        session.grants,
    )


def _pack_index(index: dict[int, int]) -> _Index:
    return _Index(array("q", index).tobytes(), array("i", index.values()).tobytes())


def _unpack_session(each: _Session, store: FlowStore, *, whole: bool) -> Session:
    pack = store.table.pack
    session = Session(max_prints=store.max_prints, label=pack(each.label), lost=each.lost)
    session.lossy, session.seen, session.events = pack(each.lossy), each.seen, each.events
    if not whole:
        session.lossy = session.label
        return session
    session.origins = [Origin(pack(label), sources) for label, sources in each.origins]
    session.numbers = {origin: number for number, origin in enumerate(session.origins)}
    session.generations = (_unpack_index(each.young), _unpack_index(each.old))
    session.labels = [pack(label) for label in each.labels]
    session.vouched = _unpack_index(each.vouched)
    session.grants = each.grants
    return session


def _unpack_index(index: _Index) -> dict[int, int]:
    prints, origins = array("q"), array("i")
    prints.frombytes(index.prints)
    origins.frombytes(index.origins)
    return dict(zip(prints, origins, strict=True))

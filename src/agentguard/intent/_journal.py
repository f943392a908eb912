"""Sessions as files, so that they outlive the process: what each was opened with, and what happened since.

A file is `agentguard-session 1` and frames: length (4 bytes), BLAKE2b of the frame before and of this one, JSON. An
event is in the file before it counts, so a process that is killed loses nothing that it had answered. A file that is
damaged, or that a machine lost power over, is refused: what a session has seen is known as a whole or not at all.
An empty file says that the session has ended. The files hold what the agent read, so they belong where secrets live.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from agentguard.core import RequestError, SessionOpening

if TYPE_CHECKING:
    from collections.abc import Iterator

Key = tuple[str, str]

MAGIC = b"agentguard-session 1\n"
# Beyond it a session ends with the process: to read it again would take too long.
MAX_BYTES = 4 << 20
MAX_FILES = 65_536
_DIGEST = 16
_HEAD = 4 + _DIGEST
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Begun(msgspec.Struct, frozen=True, tag="begun"):
    """A process began to write; `boot` is the run of the machine that it is in."""

    boot: str
    opening: SessionOpening | None = None


class Seen(msgspec.Struct, frozen=True, tag="seen"):
    """A call was reported."""

    tool: str
    params: dict[str, Any]
    result: Any = None
    error: str = ""


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """Values of a call were refused, or asked about."""

    keys: tuple[str, ...]
    is_denied: bool


class Closed(msgspec.Struct, frozen=True, tag="closed"):
    """The process ended in order, and what it wrote is on the disk."""


Event = Seen | Refused
_Frame = Begun | Seen | Refused | Closed
_DECODER = msgspec.json.Decoder(_Frame)


class Journal:
    """The file of one session. Safe to use from many threads."""

    def __init__(self, path: Path, chain: bytes, size: int) -> None:
        self._path = path
        self._chain = chain
        self._size = size
        self._lock = threading.Lock()
        self._has_ended = False

    def append(self, event: _Frame, *, sync: bool = False) -> None:
        """Write an event; one that cannot be written, or is too much, ends the file.

        Raises:
            OSError: it could not be written.
            ValueError: it is no JSON, or the file would be too large.
        """
        with self._lock:
            if self._has_ended:
                return
            try:
                frame = self._frame(event)
                _append(self._path, frame, sync=sync)
            except (OSError, ValueError, TypeError, RecursionError):
                self._end()
                raise
            self._size += len(frame)

    def close(self, used: float) -> None:
        """Put all on the disk, with the moment of the last use.

        Raises:
            OSError: it is not there for sure; the session has ended.
        """
        self.append(Closed(), sync=True)
        os.utime(self._path, (used, used))

    def end(self) -> None:
        """Empty the file; nothing is written to it after that."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        self._has_ended = True
        empty(self._path)

    def _frame(self, event: _Frame) -> bytes:
        content = msgspec.json.encode(event)
        if self._size + _HEAD + len(content) > MAX_BYTES:
            raise ValueError("too large to be kept")
        self._chain = _digest(self._chain, content)
        return len(content).to_bytes(4, "big") + self._chain + content


class Kept(NamedTuple):
    """What there is of a session: what it was opened with, what happened, when it was used last, and its file."""

    opening: SessionOpening
    events: list[Event]
    used: float
    journal: Journal


class Journals:
    """The files of all sessions, in `folder`. One process at a time may use it; safe to use from many threads.

    Raises:
        OSError: the folder cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.folder = folder
        self.boot = _boot_id()
        self._lock = threading.Lock()
        # Those of earlier processes that nobody has asked for yet; and those that have ended, the oldest first.
        self._waiting: dict[str, float] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        for used, name, size in sorted(_files(folder)):
            if size:
                self._waiting[name] = used
            else:
                self._ended[name] = None
        self._forget()

    def knows(self, key: Key) -> bool:
        """Tell whether an earlier process had a session of this name."""
        if not self._waiting and not self._ended:
            return False
        name = _name(key)
        return name in self._waiting or name in self._ended

    def has_ended(self, key: Key) -> bool:
        """Tell whether a session of this name is no more."""
        return bool(self._ended) and _name(key) in self._ended

    def create(self, key: Key, opening: SessionOpening) -> Journal:
        """Return the file of a new session, with what it was opened with.

        Raises:
            OSError: it could not be written.
            ValueError: what it was opened with is no JSON, or too large; the session ends with the process.
        """
        path = self.folder / _name(key)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            _append(path, MAGIC)
        except OSError:
            self.end(key)
            raise
        journal = Journal(path, MAGIC, len(MAGIC))
        # On the disk at once: a name must not come back as that of a session without an intent.
        journal.append(Begun(self.boot, opening), sync=True)
        self.sync()
        return journal

    def sync(self) -> None:
        """Put the names of the files on the disk."""
        fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def is_waiting(self, key: Key) -> bool:
        """Tell whether an earlier process had a session of this name that was not taken up since."""
        return bool(self._waiting) and _name(key) in self._waiting

    def take(self, key: Key) -> Kept | None:
        """Return a session that an earlier process had, to be `taken` up. None: there is none.

        Raises:
            RequestError: there is one, and not all of it (`session_unrestored`); it has ended.
        """
        name = _name(key)
        used = self._waiting.get(name)
        if used is None:
            return None
        try:
            journal, frames = _read(self.folder / name)
            opening, events = _whole(frames, self.boot)
            # On the disk before anything else is: what is lost after it must not look whole.
            journal.append(Begun(self.boot), sync=True)
        except (OSError, ValueError, TypeError, RecursionError):
            self.end(key)
            raise RequestError(
                "what the session had seen is lost",
                code="session_unrestored",
                hint="open another one; this one was cut off by a crash or its file is damaged",
            ) from None
        return Kept(opening, events, used, journal)

    def taken(self, key: Key) -> None:
        """Wait no more for a session: it was taken up."""
        with self._lock:
            self._waiting.pop(_name(key), None)

    def end(self, key: Key) -> None:
        """Remember that a session has ended."""
        name = _name(key)
        empty(self.folder / name)
        with self._lock:
            self._waiting.pop(name, None)
            self._ended[name] = None
            self._forget()

    def end_older(self, than: float, *, most: int) -> None:
        """End those of earlier processes that were used last before a moment, and the oldest if there are too many."""
        with self._lock:
            names = sorted(self._waiting, key=lambda name: self._waiting[name])
            spare = max(0, len(names) - most)
            old = [name for at, name in enumerate(names) if at < spare or self._waiting[name] < than]
            for name in old:
                del self._waiting[name]
                self._ended[name] = None
                empty(self.folder / name)

    def _forget(self) -> None:
        while len(self._ended) > MAX_FILES:
            name, _ = self._ended.popitem(last=False)
            with suppress(OSError):
                (self.folder / name).unlink()


def empty(path: Path) -> None:
    """Empty a file, which works on a full disk too; one that is not there is made."""
    with suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))


def _append(path: Path, data: bytes, *, sync: bool = False) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        if os.write(fd, data) != len(data):
            raise OSError("short write")
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def _read(path: Path) -> tuple[Journal, list[_Frame]]:
    """Return a file and its frames.

    Raises:
        ValueError: it is not what was written.
    """
    data = path.read_bytes()
    if not data.startswith(MAGIC):
        raise ValueError("no session")
    chain, at, frames = MAGIC, len(MAGIC), []
    while at < len(data):
        start = at + _HEAD
        end = start + int.from_bytes(data[at : at + 4], "big")
        content = data[start:end]
        chain = _digest(chain, content)
        if end > len(data) or data[at + 4 : start] != chain:
            raise ValueError("damaged")
        frames.append(_DECODER.decode(content))
        at = end
    return Journal(path, chain, at), frames


def _whole(frames: list[_Frame], boot: str) -> tuple[SessionOpening, list[Event]]:
    """Return what a session was opened with and what happened.

    Raises:
        ValueError: something may be missing at the end.
    """
    first = frames[0] if frames else None
    if not isinstance(first, Begun) or first.opening is None:
        raise ValueError("not opened")
    begun = next(each for each in reversed(frames) if isinstance(each, Begun))
    if begun.boot != boot and not isinstance(frames[-1], Closed):
        # What the machine had not put on the disk when it went down is gone, and nothing tells what it was.
        raise ValueError("cut off")
    return first.opening, [each for each in frames if isinstance(each, Seen | Refused)]


def _files(folder: Path) -> Iterator[tuple[float, str, int]]:
    for entry in os.scandir(folder):
        found = entry.stat(follow_symlinks=False)
        yield found.st_mtime, entry.name, found.st_size


def _name(key: Key) -> str:
    # The length keeps two pairs of names apart that are the same in a row.
    principal, session = (each.encode("utf-8", "surrogatepass") for each in key)
    text = len(principal).to_bytes(8, "big") + principal + session
    return blake2b(text, digest_size=16).hexdigest()


def _digest(chain: bytes, content: bytes) -> bytes:
    return blake2b(chain + content, digest_size=_DIGEST).digest()


def _boot_id() -> str:
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        # Then only what was closed in order counts as whole.
        return os.urandom(16).hex()

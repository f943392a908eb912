"""Decoding: rows of a ring become `Seen`s, but only those that say something new."""

from __future__ import annotations

import operator
import posixpath
import secrets
import struct
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np

from agentguard.kernel._dns import parse_dns
from agentguard.kernel._layout import CUT, DATA, SEC_SLOT, SHORT, SHORT_SLOT, Flag, Kind
from agentguard.kernel._ring import whole
from agentguard.kernel._seen import O_ACCMODE, Seen, read_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

MAX_FILES = 262_144
MAX_KNOWN = 1 << 20
MAX_FEW = 1 << 16
# Eight times as many as the kernel takes for told: what it pushes out it tells again.
MAX_FOLDERS = 1 << 17
_MAX_CHAINS = 4096
_ADDRESSES = frozenset(
    (Kind.SOCKET, Kind.CONNECT, Kind.BIND, Kind.LISTEN, Kind.ACCEPT, Kind.SENDTO, Kind.URING_OP)
)
_TWO_PATHS = frozenset((Kind.RENAME, Kind.LINK, Kind.SYMLINK))
_URING_CONNECT = 16
_WORDS = DATA // 8
_OPEN_KIND, _PATH = int(Kind.OPEN), int(Kind.PATH)
_OPEN = np.uint16(Kind.OPEN)
_MODE_BITS = O_ACCMODE | 0o1100
_MODES = np.uint64(_MODE_BITS)
_SMALL = 48  # rows, up to which plain Python is quicker than numpy
_FD, _BASED, _CLAIMED, _NAMED = int(Flag.FD), int(Flag.BASED), int(Flag.CLAIMED), int(Flag.NAMED)
_IN_FOLDER, _TRUNCATED = int(Flag.IN_FOLDER), int(Flag.TRUNCATED)
_HALF = np.uint64(29)
_KIND_BITS = np.uint64(32)
_NAMES = np.uint16(_NAMED | _IN_FOLDER)
_NAMED_FLAG, _KEPT_FLAGS = np.uint16(_NAMED), np.uint16(0xFFFF & ~(_NAMED | _IN_FOLDER))
_U64 = (1 << 64) - 1
# Each column's place in eight bytes; the text is behind them.
_WORD_OF = {name: offset // 8 for name, (_, offset, *_) in (SEC_SLOT.fields or {}).items()}
_OF_SEEN = (
    "time_ns", "cgroup", "pid", "start_ns", "ret", "a0", "a1", "nr", "tid", "ppid", "uid", "dev", "ino", "mode",
)  # fmt: skip
_FIRST_WORDS = _WORD_OF["comm"]
# As SEC_SLOT, which a test compares.
_ROW = struct.Struct(f"<IIQQQIIHHHBBqQQQQIIIIHHI16s{DATA}s")

# The columns of a row as `tolist` gives them.
(_SIZE, _PAGE, _TIME, _CGROUP, _START, _PID, _TID, _KIND, _FLAGS, _NR, _PART, _PARTS, _RET, _A0, _A1, _INO, _BASE_INO,
 _DEV, _BASE_DEV, _PPID, _UID, _MODE, _LEN, _FAMILY, _COMM, _DATA) = range(26)  # fmt: skip

Row = tuple[Any, ...]


class Decoder:
    """Keeps what later rows refer to: paths of files, and records in several parts. For one thread.

    An open of a file that this cgroup has opened like this and by this name before says nothing new and is only
    counted (`repeated`); so is the same failed open.
    """

    def __init__(self) -> None:
        self.repeated = 0
        self.broken = 0
        # The latest path of each file, by a number for its device and inode, and of folders by the kernel's number.
        self._paths: dict[int, str] = {}
        self._folders: dict[int, bytes] = {}
        # What the two ways of looking know is kept apart: at worst an open is told twice.
        self._known: set[int] = set()
        self._known_few: set[tuple[int | bytes, ...]] = set()
        self._chains: dict[tuple[int, int], list[Row]] = {}
        # Odd and secret, so that nobody can choose files whose keys collide.
        self._odd = np.array([secrets.randbits(64) | 1 for _ in range(8)], "<u8")
        self._odd_dev, self._odd_ino = int(self._odd[0]), int(self._odd[1])
        self._text = np.array([secrets.randbits(64) | 1 for _ in range(_WORDS)], "<u8")

    def path(self, dev: int, ino: int) -> str:
        """Return the file's path; of several (hard links) the latest."""
        return self._paths.get(self._number(dev, ino), "")

    def _number(self, dev: int, ino: int) -> int:
        return (dev * self._odd_dev & _U64) ^ (ino * self._odd_ino & _U64)

    def feed(self, rows: NDArray[Any]) -> list[Seen]:
        """Return what is new in `rows`, records of the large ring in the order of their time."""
        if len(rows) < _SMALL:
            return self.feed_few(rows_in(rows.tobytes()))
        named = (rows["flags"] & _NAMES) != 0
        fresh = rows if named.all() else self._news(rows, named)
        is_short = (fresh["base_ino"] != 0) & ((fresh["flags"] & _NAMES) != 0)
        found: list[Seen] = []
        start = 0
        # What is no open that brings its own name goes the long way, and the order holds.
        for place in np.flatnonzero(~is_short).tolist():
            if place > start:
                found += self._named_opens(fresh[start:place])
            found += self._read(rows_in(fresh[place : place + 1].tobytes()))
            start = place + 1
        if start < len(fresh):
            found += self._named_opens(fresh[start:])
        return found

    def feed_few(self, rows: Iterable[Row]) -> list[Seen]:
        """Return the same for a few, for which numpy takes longer than it saves."""
        return self._read(row for row in rows if row[_KIND] != _OPEN_KIND or self._is_new(row))

    def _named_opens(self, rows: NDArray[Any]) -> list[Seen]:
        """Return opens that bring their names: by far the most frequent news, so it is made column by column."""
        short = _short(rows)
        names = short["name"].tolist()
        flags, sizes = short["flags"], short["len"]
        longer = np.flatnonzero((sizes > SHORT) | (flags & _NAMED_FLAG != 0))
        for place, data, size, number, flag in zip(
            longer.tolist(),
            *(rows[name][longer].tolist() for name in ("data", "len", "base_ino", "flags")),
            strict=True,
        ):
            text = data[:size]
            names[place] = self._learn_folder(number, text) if flag & _NAMED else text
        try:
            folders = list(map(self._folders.__getitem__, short["base_ino"].tolist()))
        except KeyError:
            return self._read(rows_in(rows.tobytes()))
        texts = b"\0".join(map(operator.add, folders, names))
        # A name may hold a line break, and any byte that is no UTF-8, but never a null.
        paths = texts.decode("utf-8", "backslashreplace").split("\0")
        numbers = short["dev"] * self._odd[0] ^ short["ino"] * self._odd[1]
        self._paths.update(zip(numbers.tolist(), paths, strict=True))
        _make_room(self._paths, MAX_FILES)
        columns = _columns(short, _OF_SEEN)
        return list(
            map(
                Seen, repeat(Kind.OPEN), *columns[:5], (flags & _KEPT_FLAGS).tolist(), *columns[5:11], repeat(""), paths,
                repeat(""), repeat(()), repeat(None), repeat(None), *columns[11:],
            )
        )  # fmt: skip

    def _read(self, rows: Iterable[Row]) -> list[Seen]:
        """Return what rows say, in their order: a file goes by the name that it had at the time."""
        found: list[Seen] = []
        for row in rows:
            in_parts = row[_KIND] == _PATH or row[_PARTS] > 1
            seen = self._chain(row) if in_parts else self._single(row)
            if seen is not None:
                found.append(seen)
        return found

    def _is_new(self, row: Row) -> bool:
        """Tell whether an open says something new: `_news` for one row, which is quicker for a few."""
        is_named = row[_FLAGS] & (_NAMED | _IN_FOLDER)
        mode = row[_A0] & _MODE_BITS
        text = b"" if is_named else row[_DATA][: row[_LEN]]
        key = (row[_CGROUP], row[_INO], text, row[_DEV], row[_BASE_INO], min(0, row[_RET]), mode)
        if key in self._known_few:
            # A name that the kernel has not told before is news in any case.
            self.repeated += not is_named
            return bool(is_named)
        if len(self._known_few) >= MAX_FEW:
            self._known_few.clear()
        self._known_few.add(key)
        return True

    def _news(self, rows: NDArray[Any], named: NDArray[np.bool_]) -> NDArray[Any]:
        is_open = rows["kind"] == _OPEN
        keys = self._keys(rows, is_open & (rows["len"] > 0) & ~named)
        _, first = np.unique(keys, return_index=True)
        known = self._known
        # What is no open always says something new, and so does one with a name that was not told before.
        fresh = ~is_open | named
        for index, key in zip(first.tolist(), keys[first].tolist(), strict=True):
            if key not in known and is_open[index]:
                known.add(key)
                fresh[index] = True
        if len(known) > MAX_KNOWN:
            known.clear()
        count = int(np.count_nonzero(fresh))
        self.repeated += len(rows) - count
        return rows if count == len(rows) else whole(rows)[fresh].view(rows.dtype)

    def _keys(self, rows: NDArray[Any], has_text: NDArray[np.bool_]) -> NDArray[np.uint64]:
        """Return one number for each open: the file, how it was opened, and what was asked for where that is told."""
        odd = self._odd
        keys: NDArray[np.uint64] = rows["ino"] * odd[2]
        keys += rows["dev"] * odd[3]
        keys ^= rows["cgroup"] * odd[0]
        keys ^= (rows["a0"] & _MODES | rows["kind"].astype("<u8") << _KIND_BITS) * odd[1]
        texts = np.flatnonzero(has_text)
        if len(texts):
            keys[texts] ^= self._text_keys(rows[texts])
        # The low bits of a product are weak; the set looks at those.
        keys ^= keys >> _HALF
        return keys

    def _text_keys(self, failed: NDArray[Any]) -> NDArray[np.uint64]:
        odd = self._odd
        words = np.ascontiguousarray(failed["data"]).view("<u8").reshape(len(failed), _WORDS)
        whole = failed["len"][:, None] >= np.arange(8, DATA + 8, 8, dtype=np.uint16)
        # Beyond its length a record holds what was in the ring before: whole words, and of the last one its part.
        last = np.minimum(failed["len"] // 8, _WORDS - 1)
        rest = (failed["len"] % 8).astype("<u8") * np.uint64(8)
        tail = words[np.arange(len(failed)), last] & ((np.uint64(1) << rest) - np.uint64(1))
        text: NDArray[np.uint64] = (np.where(whole, words, np.uint64(0)) * self._text).sum(
            axis=1, dtype=np.uint64
        )
        text ^= tail * odd[4] + failed["len"] * odd[5]
        text ^= failed["base_ino"] * odd[6] + failed["ret"].astype("<u8") * odd[7]
        return text

    def _chain(self, row: Row) -> Seen | None:
        """Collect the parts of a record; they follow one another within their thread."""
        key = (row[_TID], row[_KIND])
        if row[_PART] == 0:
            if len(self._chains) >= _MAX_CHAINS:
                self._chains.clear()
                self.broken += 1
            self._chains[key] = [row]
        else:
            parts = self._chains.get(key)
            if parts is None or parts[-1][_PART] != row[_PART] - 1:
                # A part was dropped: what there is counts as cut.
                self.broken += 1
                return None
            parts.append(row)
        if row[_PART] < row[_PARTS] - 1:
            return None
        return self._whole(self._chains.pop(key))

    def _whole(self, parts: list[Row]) -> Seen | None:
        first = parts[0]
        kind = first[_KIND]
        if kind == Kind.PATH:
            data = b"".join(part[_DATA][: part[_LEN]] for part in parts)
            self._learn(first, data.decode("utf-8", "backslashreplace") or "/")
            return None
        seen = self._single(first)
        if kind == Kind.EXEC:
            data = b"".join(part[_DATA][: part[_LEN]] for part in parts[1:])
            seen.argv = tuple(each.decode("utf-8", "backslashreplace") for each in data.split(b"\0"))
            if data.endswith(b"\0"):
                seen.argv = seen.argv[:-1]
            for part in parts[1:]:
                seen.flags |= part[_FLAGS] & CUT
        elif kind == Kind.DNS:
            seen.dns = parse_dns(b"".join(part[_DATA][: part[_LEN]] for part in parts))
        elif kind in _TWO_PATHS:
            seen.other = self._named(parts[1])
            seen.flags |= parts[1][_FLAGS] & CUT
        return seen

    def _learn(self, row: Row, path: str) -> None:
        self._paths[self._number(row[_DEV], row[_INO])] = path
        _make_room(self._paths, MAX_FILES)

    def _learn_folder(self, number: int, path: bytes) -> bytes:
        """Keep the folder of a path, and return the name in it."""
        cut = path.rindex(b"/") + 1
        # What is told again is the latest again.
        self._folders.pop(number, None)
        self._folders[number] = path[:cut]
        _make_room(self._folders, MAX_FOLDERS)
        return path[cut:]

    def _single(self, row: Row) -> Seen:
        kind = Kind(row[_KIND])
        seen = Seen(
            kind, row[_TIME], row[_CGROUP], row[_PID], row[_START], row[_RET], row[_FLAGS], row[_A0], row[_A1],
            row[_NR], row[_TID], row[_PPID], row[_UID], row[_COMM].partition(b"\0")[0].decode("utf-8", "backslashreplace"),
            dev=row[_DEV], ino=row[_INO], mode=row[_MODE],
        )  # fmt: skip
        if kind in _ADDRESSES and not (kind == Kind.URING_OP and row[_A0] != _URING_CONNECT):
            seen.address = read_address(row[_DATA][: row[_LEN]], row[_FAMILY])
        elif kind == Kind.DNS:
            seen.dns = parse_dns(row[_DATA][: row[_LEN]])
        elif kind == Kind.EXEC:
            seen.path = self.path(row[_DEV], row[_INO])
            seen.other = row[_DATA][: row[_LEN]].decode("utf-8", "backslashreplace")
            seen.cwd = self.path(row[_BASE_DEV], row[_BASE_INO])
        elif row[_FLAGS] & _IN_FOLDER:
            seen.path = self._in_folder(row, seen)
            self._learn(row, seen.path)
        elif row[_FLAGS] & _NAMED:
            seen.path = row[_DATA][: row[_LEN]].decode("utf-8", "backslashreplace")
            seen.flags &= ~_NAMED
            self._learn(row, seen.path)
            if row[_BASE_INO]:
                self._learn_folder(row[_BASE_INO], row[_DATA][: row[_LEN]])
        else:
            seen.path = self._named(row)
            if row[_FLAGS] & _FD and seen.path:
                seen.flags &= ~(_CLAIMED | CUT)
        return seen

    def _in_folder(self, row: Row, seen: Seen) -> str:
        folder = self._folders.get(row[_BASE_INO])
        seen.flags &= ~_IN_FOLDER
        if folder is None:
            # The record that named it was lost: no permission rests on the rest.
            self.broken += 1
            seen.flags |= _TRUNCATED
            folder = b"/?/"
        name: bytes = row[_DATA][: row[_LEN]]
        return (folder + name).decode("utf-8", "backslashreplace")

    def _named(self, row: Row) -> str:
        """Return the path of a row: the kernel's own where it has one, else the process's, made absolute."""
        claimed: str = row[_DATA][: row[_LEN]].decode("utf-8", "backslashreplace")
        if row[_FLAGS] & _FD:
            resolved = self.path(row[_DEV], row[_INO])
            if resolved:
                return resolved
        if row[_KIND] == Kind.MEMFD:
            return claimed  # a name, and no path
        if row[_FLAGS] & _BASED and not claimed.startswith("/"):
            base = self.path(row[_BASE_DEV], row[_BASE_INO])
            return posixpath.normpath(posixpath.join(base, claimed)) if base else claimed
        return posixpath.normpath(claimed) if claimed.startswith("/") else claimed


def _short(rows: NDArray[Any]) -> NDArray[Any]:
    """Return records without the most of their texts: to copy them is quicker than to look at them where they lie."""
    words = rows.view("<u8").reshape(len(rows), -1)[:, : SHORT_SLOT.itemsize // 8]
    return np.ascontiguousarray(words).view(SHORT_SLOT)[:, 0]


def _columns(rows: NDArray[Any], names: Iterable[str]) -> list[Iterable[Any]]:
    """Return columns, of which most say one thing in all rows: one program opens many files."""
    words = rows.view("<u8").reshape(len(rows), -1)[:, :_FIRST_WORDS]
    differs = (words != words[0]).any(axis=0).tolist()
    return [
        rows[name].tolist() if differs[_WORD_OF[name]] else repeat(rows[name][0].item()) for name in names
    ]


def _make_room(table: dict[int, Any], most: int) -> None:
    if len(table) > most:
        # The oldest quarter goes; a dictionary keeps the order of insertion.
        for old in list(table)[: most // 4]:
            del table[old]


def rows_in(block: bytes) -> Iterator[Row]:
    """Return the records of a block of the large ring, as `tolist` would give them."""
    return _ROW.iter_unpack(block)


def pack_row(row: Row) -> bytes:
    """Return a record as it came."""
    return _ROW.pack(*row)

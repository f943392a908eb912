"""Decoding: rows of a ring become `Seen`s, but only those that say something new."""

from __future__ import annotations

import posixpath
import secrets
import struct
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np

from agentguard.kernel._dns import parse_dns
from agentguard.kernel._layout import CUT, DATA, Flag, Kind
from agentguard.kernel._ring import whole
from agentguard.kernel._seen import O_ACCMODE, Seen, read_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

MAX_FILES = 262_144
MAX_KNOWN = 1 << 20
MAX_FEW = 1 << 16
_MAX_PATHS_OF_A_FILE = 8
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
_HALF = np.uint64(29)
_KIND_BITS = np.uint64(32)
_NAMED_FLAG, _KEPT_FLAGS = np.uint16(_NAMED), np.uint16(0xFFFF & ~(_CLAIMED | CUT | _NAMED))
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
        # Most files have one path; of others the latest ones, in order.
        self._paths: dict[tuple[int, int], str | list[str]] = {}
        # What the two ways of looking know is kept apart: at worst an open is told twice.
        self._known: set[int] = set()
        self._known_few: set[tuple[int | bytes, ...]] = set()
        self._chains: dict[tuple[int, int], list[Row]] = {}
        # Odd and secret, so that nobody can choose files whose keys collide.
        self._odd = np.array([secrets.randbits(64) | 1 for _ in range(8)], "<u8")
        self._text = np.array([secrets.randbits(64) | 1 for _ in range(_WORDS)], "<u8")

    def path(self, dev: int, ino: int, claimed: str = "") -> str:
        """Return the file's path; of several (hard links) the one that ends as `claimed` does, else the latest."""
        paths = self._paths.get((dev, ino), "")
        if isinstance(paths, str):
            return paths
        if claimed:
            name = posixpath.basename(claimed)
            return next((each for each in reversed(paths) if posixpath.basename(each) == name), paths[-1])
        return paths[-1]

    def feed(self, rows: NDArray[Any]) -> list[Seen]:
        """Return what is new in `rows`, records of the large ring in the order of their time."""
        if len(rows) < _SMALL:
            return self.feed_few(rows_in(rows.tobytes()))
        named = (rows["flags"] & _NAMED_FLAG) != 0
        fresh = rows if named.all() else self._news(rows, named)
        found: list[Seen] = []
        start = 0
        # What is no open that brings its own name goes the long way, and the order holds.
        for place in np.flatnonzero((fresh["flags"] & _NAMED_FLAG) == 0).tolist():
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
        texts = list(map(bytes.__getitem__, rows["data"].tolist(), map(slice, rows["len"].tolist())))
        # A name may hold a line break, and any byte that is no UTF-8, but never a null.
        paths = b"\0".join(texts).decode("utf-8", "backslashreplace").split("\0")
        dev, ino = rows["dev"].tolist(), rows["ino"].tolist()
        for key, path in zip(zip(dev, ino, strict=True), paths, strict=True):
            self._learn(key, path or "/")
        flags = (rows["flags"] & _KEPT_FLAGS).tolist()
        some = (rows[name].tolist() for name in ("time_ns", "cgroup", "pid", "start_ns", "ret"))
        more = (rows[name].tolist() for name in ("a0", "a1", "nr", "tid", "ppid", "uid"))
        return list(
            map(
                Seen, repeat(Kind.OPEN), *some, flags, *more, repeat(""), [each or "/" for each in paths], repeat(""),
                repeat(()), repeat(None), repeat(None), dev, ino, rows["mode"].tolist(),
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
        is_named = row[_FLAGS] & _NAMED
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
            self._learn((first[_DEV], first[_INO]), data.decode("utf-8", "backslashreplace") or "/")
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

    def _learn(self, key: tuple[int, int], path: str) -> None:
        paths = self._paths.setdefault(key, path)
        if paths is path:
            if len(self._paths) > MAX_FILES:
                # The oldest quarter goes; a dictionary keeps the order of insertion.
                for old in list(self._paths)[: MAX_FILES // 4]:
                    del self._paths[old]
        elif paths != path:
            several = [paths] if isinstance(paths, str) else [each for each in paths if each != path]
            self._paths[key] = [*several, path][-_MAX_PATHS_OF_A_FILE:]

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
        elif row[_FLAGS] & _NAMED:
            seen.path = row[_DATA][: row[_LEN]].decode("utf-8", "backslashreplace") or "/"
            seen.flags &= ~(_NAMED | _CLAIMED | CUT)
            self._learn((row[_DEV], row[_INO]), seen.path)
        else:
            seen.path = self._named(row)
            if row[_FLAGS] & _FD and seen.path:
                seen.flags &= ~(_CLAIMED | CUT)
        return seen

    def _named(self, row: Row) -> str:
        """Return the path of a row: the kernel's own where it has one, else the process's, made absolute."""
        claimed: str = row[_DATA][: row[_LEN]].decode("utf-8", "backslashreplace")
        if row[_FLAGS] & _FD:
            resolved = self.path(row[_DEV], row[_INO], claimed)
            if resolved:
                return resolved
        if row[_KIND] == Kind.MEMFD:
            return claimed  # a name, and no path
        if row[_FLAGS] & _BASED and not claimed.startswith("/"):
            base = self.path(row[_BASE_DEV], row[_BASE_INO])
            return posixpath.normpath(posixpath.join(base, claimed)) if base else claimed
        return posixpath.normpath(claimed) if claimed.startswith("/") else claimed


def rows_in(block: bytes) -> Iterator[Row]:
    """Return the records of a block of the large ring, as `tolist` would give them."""
    return _ROW.iter_unpack(block)


def pack_row(row: Row) -> bytes:
    """Return a record as it came."""
    return _ROW.pack(*row)

"""Decoding: rows of a ring become `Seen`s, but only those that say something new."""

from __future__ import annotations

import posixpath
import secrets
from typing import TYPE_CHECKING, Any

import numpy as np

from agentguard.kernel._dns import parse_dns
from agentguard.kernel._layout import CUT, DATA, Flag, Kind
from agentguard.kernel._ring import whole
from agentguard.kernel._seen import O_ACCMODE, Seen, read_address

if TYPE_CHECKING:
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
_FD, _BASED, _CLAIMED = int(Flag.FD), int(Flag.BASED), int(Flag.CLAIMED)
_HALF = np.uint64(29)
_KIND_BITS = np.uint64(32)

# The columns of a row as `tolist` gives them.
(_SIZE, _PAGE, _TIME, _CGROUP, _START, _PID, _TID, _KIND, _FLAGS, _NR, _PART, _PARTS, _RET, _A0, _A1, _INO, _BASE_INO,
 _DEV, _BASE_DEV, _PPID, _UID, _MODE, _LEN, _FAMILY, _COMM, _DATA) = range(26)  # fmt: skip

Row = tuple[Any, ...]


class Decoder:
    """Keeps what later rows refer to: paths of files, and records in several parts. For one thread.

    An open of a file that this cgroup has opened like this before says nothing new and is only counted
    (`repeated`); so is the same failed open.
    """

    def __init__(self) -> None:
        self.repeated = 0
        self.broken = 0
        self._paths: dict[tuple[int, int], list[str]] = {}
        # What the two ways of looking know is kept apart: at worst an open is told twice.
        self._known: set[int] = set()
        self._known_few: set[tuple[int | bytes, ...]] = set()
        self._chains: dict[tuple[int, int], list[Row]] = {}
        # Odd and secret, so that nobody can choose files whose keys collide.
        self._odd = np.array([secrets.randbits(64) | 1 for _ in range(8)], "<u8")
        self._text = np.array([secrets.randbits(64) | 1 for _ in range(_WORDS)], "<u8")

    def path(self, dev: int, ino: int, claimed: str = "") -> str:
        """Return the file's path; of several (hard links) the one that ends as `claimed` does, else the latest."""
        paths = self._paths.get((dev, ino))
        if not paths:
            return ""
        if claimed and len(paths) > 1:
            name = posixpath.basename(claimed)
            return next((each for each in reversed(paths) if posixpath.basename(each) == name), paths[-1])
        return paths[-1]

    def feed(self, rows: NDArray[Any]) -> list[Seen]:
        """Return what is new in `rows`, records of the large ring in the order of their time."""
        names = rows["kind"] == _PATH
        if not names.any():
            return self._read(rows)
        short = names & (rows["parts"] == 1)
        if not self._gives_new_names(rows[short]):
            return self._read(self._learn_all(rows, short))
        # A file got another name meanwhile: what came before that goes by the one that it had.
        found: list[Seen] = []
        start = 0
        for place in np.flatnonzero(short).tolist():
            found += self._read(rows[start:place])
            self._learn_all(rows[place : place + 1], short[place : place + 1])
            start = place + 1
        return found + self._read(rows[start:])

    def _read(self, rows: NDArray[Any]) -> list[Seen]:
        """Return what is new in rows whose paths are known."""
        found: list[Seen] = []
        is_small = len(rows) < _SMALL
        for row in (rows if is_small else self._news(rows)).tolist():
            kind = row[_KIND]
            if is_small and kind == _OPEN_KIND and not self._is_new(row):
                continue
            in_parts = kind == Kind.PATH or row[_PARTS] > 1
            seen = self._chain(row) if in_parts else self._single(row)
            if seen is not None:
                found.append(seen)
        return found

    def _is_new(self, row: Row) -> bool:
        """Tell whether an open says something new: `_news` for one row, which is quicker for a few."""
        mode = row[_A0] & _MODE_BITS
        what = row[_INO] or row[_DATA][: row[_LEN]]
        key = (row[_CGROUP], what, row[_DEV], row[_BASE_INO], min(0, row[_RET]), mode)
        if key in self._known_few:
            self.repeated += 1
            return False
        if len(self._known_few) >= MAX_FEW:
            self._known_few.clear()
        self._known_few.add(key)
        return True

    def _news(self, rows: NDArray[Any]) -> NDArray[Any]:
        is_open = rows["kind"] == _OPEN
        keys = self._keys(rows, is_open)
        _, first = np.unique(keys, return_index=True)
        known = self._known
        # What is no open always says something new.
        fresh = ~is_open
        for index, key in zip(first.tolist(), keys[first].tolist(), strict=True):
            if key not in known and is_open[index]:
                known.add(key)
                fresh[index] = True
        if len(known) > MAX_KNOWN:
            known.clear()
        count = int(np.count_nonzero(fresh))
        self.repeated += len(rows) - count
        return rows if count == len(rows) else whole(rows)[fresh].view(rows.dtype)

    def _keys(self, rows: NDArray[Any], is_open: NDArray[np.bool_]) -> NDArray[np.uint64]:
        """Return one number for each open: the file and how it was opened, or what was asked for in vain."""
        odd = self._odd
        keys: NDArray[np.uint64] = rows["ino"] * odd[2]
        keys += rows["dev"] * odd[3]
        keys ^= rows["cgroup"] * odd[0]
        keys ^= (rows["a0"] & _MODES | rows["kind"].astype("<u8") << _KIND_BITS) * odd[1]
        in_vain = np.flatnonzero(is_open & (rows["ino"] == 0))
        if len(in_vain):
            keys[in_vain] ^= self._text_keys(rows[in_vain])
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
            self._learn(first[_DEV], first[_INO], data)
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

    def _gives_new_names(self, names: NDArray[Any]) -> bool:
        """Tell whether a file that has a path gets another one."""
        latest: dict[tuple[int, int], bytes] = {}
        for dev, ino, length, data in zip(
            names["dev"].tolist(),
            names["ino"].tolist(),
            names["len"].tolist(),
            names["data"].tolist(),
            strict=True,
        ):
            key = (dev, ino)
            name = data[:length]
            before = latest.setdefault(key, name)
            known = self._paths.get(key)
            if before != name or (known is not None and known[-1] != _path_of(name)):
                return True
        return False

    def _learn_all(self, rows: NDArray[Any], short: NDArray[np.bool_]) -> NDArray[Any]:
        """Learn the paths that came in one part, and return the other rows; a path stands before what it is for."""
        found = whole(rows)[short].view(rows.dtype)
        for dev, ino, length, data in zip(
            found["dev"].tolist(),
            found["ino"].tolist(),
            found["len"].tolist(),
            found["data"].tolist(),
            strict=True,
        ):
            self._learn(dev, ino, data[:length])
        others: NDArray[Any] = whole(rows)[~short].view(rows.dtype)
        return others

    def _learn(self, dev: int, ino: int, data: bytes) -> None:
        path = _path_of(data)
        paths = self._paths.get((dev, ino))
        if paths is None:
            if len(self._paths) >= MAX_FILES:
                # The oldest quarter goes; a dictionary keeps the order of insertion.
                for old in list(self._paths)[: MAX_FILES // 4]:
                    del self._paths[old]
            self._paths[(dev, ino)] = [path]
            return
        if path in paths:
            paths.remove(path)
        paths.append(path)
        del paths[:-_MAX_PATHS_OF_A_FILE]

    def _single(self, row: Row) -> Seen:
        kind = Kind(row[_KIND])
        seen = Seen(
            kind, row[_TIME], row[_CGROUP], row[_PID], row[_START], row[_RET], row[_FLAGS], row[_A0], row[_A1],
            row[_NR], row[_TID], row[_PPID], row[_UID], row[_COMM].decode("utf-8", "backslashreplace") if row[_COMM] else "",
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


def _path_of(data: bytes) -> str:
    """Return the path that the kernel tells from the file up to the root, each name with its null."""
    return "/".join(reversed(data.decode("utf-8", "backslashreplace").split("\0"))) or "/"

"""Landlock: which files a process and its children can reach, taken away by itself and for good.

Rules are bound to inodes, and say what is allowed beneath them; there are none that forbid. So a denied file within an
allowed tree is carved out: its neighbours are allowed in place of the tree.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from typing import TYPE_CHECKING

import msgspec

from agentguard.kernel.jail._calls import call

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

Inode = tuple[int, int]

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 1 << 1, 1 << 2, 1 << 3
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
# Remove and make: folders, files, sockets, pipes, symbolic links; no devices.
_CHANGE = (1 << 4) | (1 << 5) | (1 << 7) | (1 << 8) | (1 << 9) | (1 << 10) | (1 << 12) | _REFER
_ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | _TRUNCATE | _IOCTL_DEV
RIGHTS = {"read": READ_FILE | READ_DIR, "write": WRITE_FILE | _TRUNCATE | _CHANGE, "execute": EXECUTE}
_ALL_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_ALL_FILES = (1 << 16) - 1
_TCP = 0b11  # bind and connect
_SCOPES = 0b11  # abstract unix sockets, signals
_CREATE_VERSION, _PATH_BENEATH = 1, 1
_MAX_CARVED = 20_000
TRUNCATE_ABI, TCP_ABI, DEVICES_ABI, SCOPES_ABI = 3, 4, 5, 6


class Grant(msgspec.Struct, frozen=True):
    """A file, or a folder and all beneath it, and the rights on it (`RIGHTS`)."""

    path: str
    rights: int


class _Ruleset(ctypes.Structure):
    """struct landlock_ruleset_attr, up to ABI 6."""

    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    """struct landlock_path_beneath_attr."""

    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("fd", ctypes.c_int32))


def keeps_abstract_sockets() -> bool:
    """Tell whether an agent in the jail reaches no abstract unix socket but its own."""
    return abi() >= SCOPES_ABI


def abi() -> int:
    """Return the version of Landlock that this kernel has; 0 if it has none, or does not use it."""
    try:
        return call("landlock_create_ruleset", None, 0, _CREATE_VERSION)
    except OSError:
        return 0


def make_ruleset(version: int, *, deny_tcp: bool) -> int:
    """Return the descriptor of a new ruleset, which allows nothing yet.

    With `deny_tcp` no TCP port can be bound or connected to, where the kernel can hold that. Scopes are on where there
    are: no abstract unix socket of processes outside, no signal to them.

    Raises:
        OSError: what the kernel answers.
    """
    ruleset = _Ruleset(
        _ALL_BY_ABI.get(version, _ALL_FILES),
        _TCP if deny_tcp and version >= TCP_ABI else 0,
        _SCOPES if version >= SCOPES_ABI else 0,
    )
    sizes = (8, 8, 8, 16, 16)
    size = ctypes.sizeof(ruleset) if version >= SCOPES_ABI else sizes[version - 1]
    return call("landlock_create_ruleset", ctypes.byref(ruleset), size, 0)


def add_grants(ruleset: int, grants: Iterable[Grant], version: int) -> None:
    """Add grants to a ruleset. What is not there is left out.

    Raises:
        OSError: what the kernel answers.
    """
    handled = _ALL_BY_ABI.get(version, _ALL_FILES)
    for grant in grants:
        _add(ruleset, grant, handled)


def restrict_self(ruleset: int) -> None:
    """Confine this thread, and what it starts, to a ruleset; `no_new_privs` must be set.

    Raises:
        OSError: what the kernel answers.
    """
    call("landlock_restrict_self", ruleset, 0)


def _add(ruleset: int, grant: Grant, handled: int) -> None:
    try:
        fd = os.open(grant.path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        rights = grant.rights & handled
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            rights &= _ON_FILES
        if rights:
            rule = _PathBeneath(rights, fd)
            call("landlock_add_rule", ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(fd)


def device_rights() -> int:
    """Return the right to control a device, for terminals and the like."""
    return _IOCTL_DEV


def carve(tree: str, rights: int, shut: Collection[str], inodes: Collection[Inode]) -> Iterator[Grant]:
    """Yield grants for `tree` without what is in `shut` (paths beneath it) or has one of `inodes`.

    Folders on the way to a shut path are given entry by entry: what is made in them later is not granted, so nothing
    can be made in them either. A neighbour that is another name of a shut file is left out as well.

    Raises:
        OSError: a folder has too many entries (`EOVERFLOW`).
    """
    inside = {each for each in shut if each.startswith(tree.rstrip("/") + "/")}
    if tree in shut:
        return
    if not inside:
        yield Grant(tree, rights)
        return
    # To list names is not to read files.
    if rights & READ_DIR:
        yield Grant(tree, READ_DIR)
    with os.scandir(tree) as entries:
        for count, entry in enumerate(entries):
            if count > _MAX_CARVED:
                raise OSError(errno.EOVERFLOW, os.strerror(errno.EOVERFLOW), tree)
            if entry.is_symlink():
                continue
            beneath = {each for each in inside if each == entry.path or each.startswith(entry.path + "/")}
            if beneath:
                yield from carve(entry.path, rights, beneath, inodes)
            elif inode_of(entry.path) not in inodes:
                yield Grant(entry.path, rights)


def inode_of(path: str) -> Inode | None:
    """Return what a file is whatever it is called; None where there is none."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino

"""Namespaces: the agent's own view of processes, mounts and the network, made before it is confined.

As root, or as an ordinary user in a user namespace of its own, where the system lets users make one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agentguard.kernel.jail._calls import call, prctl

if TYPE_CHECKING:
    from collections.abc import Iterable

_NEWNS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x20000, 0x08000000, 0x10000000, 0x20000000, 0x40000000
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND = 1, 2, 4, 8, 32, 4096
_REC, _SLAVE = 16384, 1 << 19
# What is there already must be kept, or an ordinary user may not remount it.
_KEPT = {
    os.ST_RDONLY: _RDONLY, os.ST_NOSUID: _NOSUID, os.ST_NODEV: _NODEV, os.ST_NOEXEC: _NOEXEC,
    os.ST_NOATIME: 1024, os.ST_NODIRATIME: 2048, os.ST_RELATIME: 1 << 21,
}  # fmt: skip
_PR_SET_DUMPABLE = 4
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1
_MEMFD_NOEXEC = Path("/proc/sys/vm/memfd_noexec")


class Mask(msgspec.Struct, frozen=True):
    """A path that is hidden, or with `readable` only cannot be changed, within a tree that can."""

    path: str
    readable: bool


def separate(*, network: bool) -> None:
    """Leave this process's own namespaces; the next child is the first process of the new ones.

    Raises:
        OSError: the system refuses.
    """
    flags = _NEWNS | _NEWPID | _NEWIPC | (_NEWNET if network else 0)
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        call("unshare", flags)
    else:
        call("unshare", flags | _NEWUSER)
        # After a change of user within one program, its own entries in /proc are root's.
        prctl(_PR_SET_DUMPABLE, 1)
        # The same ids inside; the groups that a user has besides are kept, and cannot be changed.
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    # What is mounted outside later is seen; what is mounted here is not seen outside.
    _mount("none", "/", None, _REC | _SLAVE)
    if network:
        _loopback_up()


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    texts = [None if each is None else os.fsencode(each) for each in (source, target, kind, data)]
    call("mount", texts[0], texts[1], texts[2], flags, texts[3])


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP))


def mount_proc() -> None:
    """Show the processes of this namespace, and no others, in /proc; called by its first process.

    Raises:
        OSError: the system refuses, as where parts of /proc are hidden from a container.
    """
    _mount("proc", "/proc", "proc", _NOSUID | _NODEV | _NOEXEC)


def seal_memory_files() -> bool:
    """Have memory files made without the right to be run, in this process namespace; tell whether the kernel can."""
    with contextlib.suppress(OSError):
        _MEMFD_NOEXEC.write_text("2")
    return has_sealed_memory_files()


def has_sealed_memory_files() -> bool:
    """Tell whether memory files are made without the right to be run where none is asked for."""
    try:
        return _MEMFD_NOEXEC.read_text().strip() == "2"
    except OSError:
        return False


def mask(masks: Iterable[Mask]) -> None:
    """Put each mask in place, those of folders before those beneath them.

    Raises:
        OSError: one cannot be put in place.
    """
    for each in sorted(masks, key=lambda mask: mask.path):
        with contextlib.suppress(FileNotFoundError):
            _mask(each)


def _mask(each: Mask) -> None:
    kind = stat.S_IFMT(os.lstat(each.path).st_mode)
    if kind == stat.S_IFLNK:
        # It leads to what has an inode, and a mask, of its own.
        return
    if each.readable:
        _mount(each.path, each.path, None, _BIND)
        _remount(each.path, _RDONLY)
    elif kind == stat.S_IFDIR:
        _mount("none", each.path, "tmpfs", _RDONLY | _NOSUID | _NODEV | _NOEXEC, "size=4k,mode=000")
    else:
        # A device where devices do not count: nobody can open it, whatever rights he has.
        _mount(os.devnull, each.path, None, _BIND)
        _remount(each.path, _RDONLY | _NODEV)


def _remount(path: str, flags: int) -> None:
    there = os.statvfs(path).f_flag
    kept = sum(mount for found, mount in _KEPT.items() if there & found)
    _mount("none", path, None, _BIND | _REMOUNT | kept | flags)


def why_not(error: OSError) -> str:
    """Return why namespaces cannot be made, and what to do."""
    reason = (error.strerror or str(error)).lower()
    if error.errno in {errno.EPERM, errno.EACCES}:
        if os.geteuid() == 0:
            return f"{reason}: this container keeps CAP_SYS_ADMIN from root"
        return f"{reason}: this system lets users make no user namespaces (`kernel.unprivileged_userns_clone`, AppArmor)"
    if error.errno == errno.ENOSPC:
        return "no user namespaces are left (`user.max_user_namespaces`)"
    return reason

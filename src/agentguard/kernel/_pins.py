"""Where the kernel keeps programs, links and maps for whoever comes after us: a folder in bpffs for each agent."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING

from agentguard.core import KernelError
from agentguard.kernel._cgroups import find_mount
from agentguard.kernel._libbpf import libbpf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentguard.kernel._cgroups import Cgroup

_SYSTEM = Path("/sys/fs/bpf")
_OURS = Path("/run/agentguard/bpf")
_FOLDER = "agentguard"
_BPF_MAGIC = 0xCAFE4A11
_MS_NOSUID_NODEV_NOEXEC = 2 | 4 | 8
_MODE = 0o700
FIRST_LINK = "link0"
# What is pinned before the last of it is there counts for nothing; this is the last.
COMPLETE = "complete"
# A file system for pins takes no dots in names.
_LSM = "-lsm"
_FILEID_KERNFS = 0xFE
_BEGINNING_S = 60


def pin_root() -> Path:
    """Return the folder for our pins: in the system's bpffs, or in one that is mounted for it.

    Raises:
        KernelError: there is none, and none can be mounted (`bpffs_missing`).
    """
    for place in (_SYSTEM, _OURS):
        if _is_bpffs(place):
            return _make(place / _FOLDER)
    _mount(_OURS)
    return _make(_OURS / _FOLDER)


def _is_bpffs(place: Path) -> bool:
    # struct statfs begins with the type, and is shorter than this everywhere.
    buffer = ctypes.create_string_buffer(256)
    if ctypes.CDLL(None).statfs(bytes(place), buffer) != 0:
        return False
    return ctypes.c_long.from_buffer(buffer).value == _BPF_MAGIC


def _make(folder: Path) -> Path:
    try:
        folder.mkdir(mode=_MODE, exist_ok=True)
    except OSError as error:
        raise _failure(error) from None
    return folder


def _mount(place: Path) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    try:
        place.mkdir(mode=_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise _failure(error) from None
    if library.mount(b"bpf", bytes(place), b"bpf", _MS_NOSUID_NODEV_NOEXEC, b"mode=0700") != 0:
        number = ctypes.get_errno()
        raise _failure(OSError(number, os.strerror(number)))


def _failure(error: OSError) -> KernelError:
    return KernelError(
        f"there is no bpffs for rules that outlive us: {(error.strerror or str(error)).lower()}",
        code="bpffs_missing",
        hint="as root: mount -t bpf bpf /sys/fs/bpf",
    )


def pin_folder(cgroup: Cgroup) -> Path:
    """Return where the pins of a cgroup's network programs are or would be; its id keeps two of one name apart.

    Raises:
        KernelError: there is no bpffs.
    """
    return pin_root() / f"{cgroup.path.name}@{cgroup.id}"


def lsm_folder(cgroup: Cgroup) -> Path:
    """Return where the pins of the LSM programs that hold a cgroup are or would be.

    Raises:
        KernelError: there is no bpffs.
    """
    return pin_root() / f"{cgroup.path.name}@{cgroup.id}{_LSM}"


def remove_pins(folder: Path) -> None:
    """Remove them, and with them what they keep in the kernel. Idempotent."""
    with contextlib.suppress(OSError):
        for each in folder.iterdir():
            each.unlink()
        folder.rmdir()


def clean_pins() -> list[str]:
    """Remove the pins of cgroups that are gone, as the kernel says, and return the names of those."""
    removed = []
    for folder in _folders():
        if not _is_attached(folder):
            remove_pins(folder)
            removed.append(folder.name.rpartition("@")[0])
    return removed


def _folders() -> Iterator[Path]:
    for place in (_SYSTEM, _OURS):
        with contextlib.suppress(OSError):
            if _is_bpffs(place):
                yield from list((place / _FOLDER).iterdir())


def _is_attached(folder: Path) -> bool:
    if folder.name.endswith(_LSM):
        # Their links are to the whole kernel: only the name says whom they are for.
        return _is_there(int(folder.name.removesuffix(_LSM).rpartition("@")[2]))
    try:
        link = libbpf().call("bpf_obj_get", bytes(folder / FIRST_LINK))
    except OSError:
        # Somebody may be about to pin the first one.
        with contextlib.suppress(OSError):
            return time.time() - folder.stat().st_mtime < _BEGINNING_S
        return True
    try:
        # struct bpf_link_info: of a link to a cgroup its id is at 16, and 0 once the cgroup is gone.
        info, size = ctypes.create_string_buffer(64), ctypes.c_uint32(64)
        libbpf().call("bpf_obj_get_info_by_fd", link, info, ctypes.byref(size))
        return int.from_bytes(info.raw[16:24], "little") != 0
    except OSError:
        return True
    finally:
        os.close(link)


def _is_there(cgroup_id: int) -> bool:
    """Tell whether there is a cgroup with this id; also where that cannot be said."""
    library = ctypes.CDLL(None, use_errno=True)
    try:
        mount = os.open(find_mount(), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (OSError, KernelError):
        return True
    try:
        # struct file_handle: the size of what names the file, its kind, and the id.
        handle = struct.pack("IiQ", 8, _FILEID_KERNFS, cgroup_id)
        found = library.open_by_handle_at(mount, handle, os.O_PATH | os.O_CLOEXEC)
        if found >= 0:
            os.close(found)
            return True
        return ctypes.get_errno() not in {errno.ESTALE, errno.ENOENT}
    finally:
        os.close(mount)

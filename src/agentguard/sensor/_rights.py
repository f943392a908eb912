"""Giving up rights: what loading needed and watching does not."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from agentguard.core import KernelError

if TYPE_CHECKING:
    from collections.abc import Iterable

# From linux/capability.h and linux/prctl.h.
DAC_OVERRIDE, KILL, NET_ADMIN, BPF = 1, 5, 12, 39
_NAMES = {DAC_OVERRIDE: "CAP_DAC_OVERRIDE", KILL: "CAP_KILL", NET_ADMIN: "CAP_NET_ADMIN", BPF: "CAP_BPF"}
# To end what a launcher that is gone has left, to attach to one more cgroup what reads DNS, to change BPF maps.
KEPT = (KILL, NET_ADMIN, BPF)
_VERSION_3 = 0x20080522
_PR_CAPBSET_READ, _PR_CAPBSET_DROP = 23, 24
_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
_LAST = Path("/proc/sys/kernel/cap_last_cap")


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def give_up_rights(keep: Iterable[int] = KEPT) -> list[str]:
    """Keep these capabilities and no others, for ever, and return their names; nothing that is run gains any either.

    It is for this thread and those that it starts from now on: call it before there are others.

    Raises:
        KernelError: the kernel refuses (`sensor_rights`).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    held = _held(libc)
    wanted = [each for each in keep if held >> each & 1]
    _check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    for each in range(_last() + 1):
        if each not in wanted and libc.prctl(_PR_CAPBSET_READ, each, 0, 0, 0) == 1:
            _check(libc.prctl(_PR_CAPBSET_DROP, each, 0, 0, 0))
    _check(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
    mask = sum(1 << each for each in wanted)
    sets = (_Sets * 2)(
        *(_Sets(mask >> shift & 0xFFFFFFFF, mask >> shift & 0xFFFFFFFF, 0) for shift in (0, 32))
    )
    _check(libc.capset(ctypes.byref(_Header(_VERSION_3, 0)), sets))
    return [_NAMES.get(each, f"capability {each}") for each in wanted]


def _held(libc: ctypes.CDLL) -> int:
    sets = (_Sets * 2)()
    _check(libc.capget(ctypes.byref(_Header(_VERSION_3, 0)), sets))
    return int(sets[0].permitted) | int(sets[1].permitted) << 32


def _last() -> int:
    try:
        return int(_LAST.read_text())
    except (OSError, ValueError):
        return 63


def _check(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno() or errno.EPERM
        raise KernelError(
            f"the sensor's rights cannot be given up: {os.strerror(number).lower()}",
            code="sensor_rights",
            hint="it needs CAP_SETPCAP to do so; see deploy/systemd",
        )

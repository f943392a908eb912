"""Capabilities: what root is, taken apart, and all but the harmless part dropped for good."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path

from agentguard.kernel.jail._calls import call, prctl

_PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP, _PR_CAP_AMBIENT, _CLEAR_ALL = 38, 24, 47, 4
_VERSION_3 = 0x20080522
# What root has over files that Landlock leaves it, and changes of user: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETGID,
# SETUID, and NET_BIND_SERVICE. None of them reaches beyond the other layers.
KEPT_BY_ROOT = (1 << 0) | (1 << 1) | (1 << 3) | (1 << 4) | (1 << 6) | (1 << 7) | (1 << 10)
_LAST = Path("/proc/sys/kernel/cap_last_cap")


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def last_capability() -> int:
    """Return the number of the newest capability that the kernel knows."""
    try:
        return int(_LAST.read_text())
    except (OSError, ValueError):
        return 40


def drop_capabilities(keep: int, last: int) -> None:
    """Drop all capabilities up to `last` but `keep` (a bit each) from every set, the bounding set included.

    Raises:
        OSError: what the kernel answers.
    """
    for number in range(last + 1):
        # Without CAP_SETPCAP the bounding set stays; no_new_privs keeps it from being used.
        with contextlib.suppress(OSError):
            if not keep >> number & 1:
                prctl(_PR_CAPBSET_DROP, number)
    with contextlib.suppress(OSError):
        prctl(_PR_CAP_AMBIENT, _CLEAR_ALL)
    header = _Header(_VERSION_3, 0)
    data = (_Data * 2)()
    keep &= effective()
    data[0].effective = data[0].permitted = keep & 0xFFFFFFFF
    data[1].effective = data[1].permitted = keep >> 32
    call("capset", ctypes.byref(header), ctypes.byref(data))


def effective() -> int:
    """Return this process's effective capabilities, a bit each."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def no_new_privileges() -> None:
    """Make set-uid programs and file capabilities give nothing from now on, for this process and its children."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)

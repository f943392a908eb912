"""What the BPF programs put into the rings and maps, as numpy reads it; `bpf/lib/record.h` says the same in C."""

from __future__ import annotations

import enum

import numpy as np

VERSION = 3
MAX_LEVEL = 8
DATA = 256
SHORT = 48
PAGE = 4096


class Kind(enum.IntEnum):
    """What a record is about (`enum ag_kind`)."""

    OPEN = 1
    READ = 2
    WRITE = 3
    UNLINK = 4
    RENAME = 5
    LINK = 6
    SYMLINK = 7
    TRUNCATE = 8
    CHMOD = 9
    CHOWN = 10
    MKDIR = 11
    MKNOD = 12
    PATH = 13
    SENDFILE = 14
    SOCKET = 20
    CONNECT = 21
    BIND = 22
    LISTEN = 23
    ACCEPT = 24
    SENDTO = 25
    SENDMSG = 26
    SENDMMSG = 27
    DNS = 28
    EXEC = 30
    EXEC_FAILED = 31
    FORK = 32
    EXIT = 33
    CGROUP_MOVE = 34
    SIGNAL = 35
    PTRACE = 40
    MEMFD = 41
    BPF = 42
    URING_SETUP = 43
    URING_OP = 44
    MOUNT = 45
    NAMESPACE = 46
    MODULE = 47
    VM_ACCESS = 48
    FOREIGN_ABI = 49
    IDENTITY = 50
    SPECIAL = 51


class Flag(enum.IntFlag):
    """What to know of a record (`enum ag_flag`)."""

    TRUNCATED = 1
    CLAIMED = 2
    BASED = 4
    UNLINKED = 8
    ESCAPE = 16
    OUTGOING = 32
    FD = 64
    BLIND = 128
    NAMED = 256
    IN_FOLDER = 512


# A part is missing, so that no permission may rest on the rest.
CUT = int(Flag.TRUNCATED | Flag.BLIND)


class Drop(enum.IntEnum):
    """Which records found no room (`enum ag_drop`)."""

    VITAL = 0
    FILE = 1
    IO = 2


ABSENT, REPEATED = 3, 4  # counted beside the drops: opens of which no record is made
DROPS = 5
EACH_IO = 1
EACH_OPEN = 2
FAST = 2

_HEAD = [
    ("time_ns", "<u8"), ("cgroup", "<u8"), ("start_ns", "<u8"), ("pid", "<u4"), ("tid", "<u4"), ("kind", "<u2"),
    ("flags", "<u2"), ("nr", "<u2"), ("part", "u1"), ("parts", "u1"), ("ret", "<i8"), ("a0", "<u8"), ("a1", "<u8"),
]  # fmt: skip
_REST = [
    ("ino", "<u8"), ("base_ino", "<u8"), ("dev", "<u4"), ("base_dev", "<u4"), ("ppid", "<u4"), ("uid", "<u4"),
    ("mode", "<u2"), ("len", "<u2"), ("family", "<u4"), ("comm", "S16"), ("data", f"V{DATA}"),
]  # fmt: skip
# What a ring puts before each record: its length, with two bits for its state.
_SLOT = [("size", "<u4"), ("page", "<u4")]

HEAD = np.dtype(_HEAD)
RECORD = np.dtype([*_HEAD, *_REST])
IO_SLOT = np.dtype([*_SLOT, *_HEAD])
SEC_SLOT = np.dtype([*_SLOT, *_HEAD, *_REST])
# The same without the most of its text.
SHORT_SLOT = np.dtype([*_SLOT, *_HEAD, *_REST[:-1], ("name", f"S{SHORT}")])
CONFIG = np.dtype(
    [
        ("levels", "<u4"), ("file_limit", "<u4"), ("fast", "<u4"), ("flags", "<u4", 2), ("level", "<u4"),
        ("slot", "<u4"), ("spare", "<u4"), ("ids", "<u8", 2),
    ]
)  # fmt: skip
CONFIGS = np.dtype([("which", "<u4"), ("spare", "<u4"), ("each", CONFIG, 2)])
GUARD = np.dtype([("flags", "<u4"), ("slot", "<u4")])
# One place in the kernel's table of sums; the file's type stands above the pid.
PLACE = np.dtype(
    [
        ("start_ns", "<u8"), ("ino", "<u8"), ("cgroup", "<u8"), ("who", "<u4"), ("dev", "<u4"),
        ("reads", "<u8"), ("read_bytes", "<u8"), ("writes", "<u8"), ("written_bytes", "<u8"),
    ]
)  # fmt: skip
PID_BITS = 28
# The same, as Python passes it on.
SUM_KEY = np.dtype([("start_ns", "<u8"), ("ino", "<u8"), ("cgroup", "<u8"), ("pid", "<u4"), ("dev", "<u4")])
SUM = np.dtype(
    [
        ("reads", "<u8"), ("read_bytes", "<u8"), ("writes", "<u8"), ("written_bytes", "<u8"),
        ("mode", "<u4"), ("spare", "<u4"),
    ]
)  # fmt: skip

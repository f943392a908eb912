"""What the network programs' maps and ring hold, as Python reads and writes it; `bpf/lib/egress.h` says it in C."""

from __future__ import annotations

import enum
from struct import Struct
from typing import Any

import numpy as np

VERSION = 1
UNIX_PATH = 108
EFFECT_SHIFT = 30
RULE_MASK = 0x3FFFFFFF


class NetEffect(enum.IntEnum):
    """What the address rules say (`enum ag_net_effect`)."""

    NONE = 0
    ALLOW = 1
    DENY = 2
    ASK = 3


class NetFlag(enum.IntFlag):
    """How an agent's programs behave (`enum ag_net_flag`)."""

    ENFORCE = 1
    PROXY = 2
    RESOLVER = 4
    ABSTRACT_SCOPED = 8


class NetKind(enum.IntEnum):
    """What was attempted (`enum ag_net_kind`)."""

    CONNECT = 1
    SENDMSG = 2
    SOCKET = 3
    UNIX = 4


class NetCount(enum.IntEnum):
    """What is counted (`enum ag_net_count`)."""

    DENIED = 0
    REDIRECTED = 1
    LOST = 2


COUNTS = 4
NET_CONFIG = Struct("<IIHHHHII")
SEEN = 1 << 12
GENERATIONS = 1 << 16
# Addresses stand as the network has them; one of IPv4 in 16 bytes as ::ffff:a.b.c.d.
LPM4 = Struct("<I4s")
LPM6 = Struct("<I16s")
PREFIX = Struct("<II")
PORT = Struct("<II")
END = Struct("<16sI")
FLOW = Struct("<16sIIII")
UNIX = Struct(f"<I{UNIX_PATH}s")
# What a ring puts before each record: its length, with two bits for its state.
MOVE: np.dtype[Any] = np.dtype(
    [
        ("size", "<u4"), ("offset", "<u4"),
        ("time_ns", "<u8"), ("pid", "<u4"), ("tid", "<u4"), ("address", "V16"), ("port", "<u4"), ("protocol", "<u4"),
    ]
)  # fmt: skip
RECORD: np.dtype[Any] = np.dtype(
    [
        ("size", "<u4"), ("offset", "<u4"),
        ("time_ns", "<u8"), ("cgroup", "<u8"), ("pid", "<u4"), ("tid", "<u4"), ("uid", "<u4"), ("verdict", "<u4"),
        ("kind", "<u2"), ("family", "<u2"), ("type", "<u2"), ("protocol", "<u2"), ("port", "<u2"), ("length", "<u2"),
        ("enforced", "<u4"), ("address", "V16"), ("comm", "S16"), ("path", f"V{UNIX_PATH}"), ("spare", "<u4"),
    ]
)  # fmt: skip

"""What a launcher asks the sidecar for: the kernel policy of one run, compiled from the rules that are in force there."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from agentguard.kernel._rules import KernelMode, NetRule
from agentguard.kernel.jail._compile import Wanted
from agentguard.kernel.jail._signed import SignedPolicy

_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where paths mean what they mean: one boot of one machine, one view of its file systems, one user."""

    boot: str
    mounts: int
    uid: int


class PolicyOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the launcher knows of a run. `networks` are added to what the rules say of addresses."""

    principal: str
    mode: KernelMode
    wanted: Wanted
    place: Place
    networks: tuple[NetRule, ...] = ()


class IssuedPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The sidecar's answer: the policy, signed, and what of the rules it holds more strictly than written, or not at all."""

    signed: SignedPolicy
    notes: tuple[str, ...] = ()


def this_place() -> Place:
    """Return where this process is.

    Raises:
        OSError: the kernel does not say.
    """
    return Place(
        _BOOT.read_text(encoding="ascii").strip(), Path("/proc/self/ns/mnt").stat().st_ino, os.geteuid()
    )

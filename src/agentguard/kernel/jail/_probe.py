"""What this machine lets us enforce: each thing is tried, in a process of its own, never inferred."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import msgspec

from agentguard.kernel._probe import Probe
from agentguard.kernel.jail._capabilities import no_new_privileges
from agentguard.kernel.jail._fanotify import Marks
from agentguard.kernel.jail._landlock import DEVICES_ABI, SCOPES_ABI, TCP_ABI, TRUNCATE_ABI, abi
from agentguard.kernel.jail._namespaces import mount_proc, separate, why_not
from agentguard.kernel.jail._seccomp import install, program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_LANDLOCK, _SECCOMP, _NAMESPACES, _FANOTIFY = "Landlock", "seccomp", "namespaces", "fanotify"
_CONNECT_HOOKS, _UNIX_HOOKS, _LSM = "connect hooks", "unix hooks", "BPF LSM"


class Tier(msgspec.Struct, frozen=True):
    """What can be enforced: `T0` to `T3`, or `none`; and why it is not the next one."""

    name: str
    about: str
    next: str


_ABOUT = {
    "none": "nothing can be enforced",
    "T0": "Landlock, seccomp and no network, for any user",
    "T1": "T0, and denied files by inode",
    "T2": "T1, and each connection decided in the kernel",
    "T3": "T2, and files and programs decided by BPF LSM",
}


def probe_jail() -> list[Probe]:
    """Return what was tried and how it went."""
    if sys.platform != "linux":
        return [Probe(_LANDLOCK, ok=False, detail=sys.platform, hint="only Linux has it")]
    return [_landlock(), _tried(_SECCOMP, _filter, "with a supervisor"), _namespaces(), _fanotify()]


def tier_of_jail(probes: Iterable[Probe], others: Iterable[Probe]) -> Tier:
    """Return the tier: of `probes` of a jail, and of the `others` what BPF programs can do."""
    found = {each.name: each for each in (*probes, *others)}
    steps = (
        ("T0", (_LANDLOCK, _SECCOMP)),
        ("T1", (_NAMESPACES, _FANOTIFY)),
        ("T2", (_CONNECT_HOOKS, _UNIX_HOOKS)),
        ("T3", (_LSM,)),
    )
    name = "none"
    for step, names in steps:
        missing = [each for each in names if each not in found or not found[each].ok]
        if missing:
            why = [f"{each} ({found[each].detail if each in found else 'not tried'})" for each in missing]
            return Tier(name, _ABOUT[name], f"for {step}: {', '.join(why)}")
        name = step
    return Tier(name, _ABOUT[name], "")


def _landlock() -> Probe:
    version = abi()
    parts = {TRUNCATE_ABI: "truncation", TCP_ABI: "TCP ports", DEVICES_ABI: "devices", SCOPES_ABI: "scopes"}
    lacking = [what for since, what in parts.items() if version < since]
    detail = f"version {version}" + (f", without {', '.join(lacking)}" if lacking else "")
    if not version:
        detail = "switched off, or not in this kernel"
    hint = "" if version >= SCOPES_ABI else "boot Linux 6.12 or newer with `landlock` in `lsm=`"
    return Probe(_LANDLOCK, version >= TRUNCATE_ABI, detail, hint)


def _filter() -> None:
    no_new_privileges()
    os.close(install(program("none", notify=True, sealed=False), listen=True))


def _namespaces() -> Probe:
    return _tried(_NAMESPACES, _separate, "of processes, mounts, IPC and the network")


def _separate() -> None:
    separate(network=True)
    pid = os.fork()
    if pid == 0:
        try:
            mount_proc()
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 1)
    number = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if number:
        raise OSError(number, os.strerror(number))


def _fanotify() -> Probe:
    if os.geteuid() != 0:
        return Probe(_FANOTIFY, ok=False, detail="takes root", needed=False)
    return _tried(_FANOTIFY, lambda: os.close(Marks().fd), "permission events")


def _tried(name: str, attempt: Callable[[], None], detail: str) -> Probe:
    """Try something in a process of its own, since it would change this one for good."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            attempt()
        except OSError as error:
            os.write(
                writer, (why_not(error) if name == _NAMESPACES else os.strerror(error.errno or 0)).encode()
            )
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as stream:  # noqa: PTH123 - a descriptor, not a path
        why = stream.read().decode().lower()
    os.waitpid(pid, 0)
    return Probe(name, not why, why or detail, "" if not why else "run as root, or on a newer kernel")

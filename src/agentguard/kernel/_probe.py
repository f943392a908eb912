"""What this machine lets us see: each thing is tried, never inferred from a version or a configuration."""

from __future__ import annotations

import ctypes
import errno
import importlib.util
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import AgentGuardError
from agentguard.kernel._cgroups import PARENT, find_mount
from agentguard.kernel._libbpf import libbpf
from agentguard.kernel._objects import read_object

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TIER_OBSERVE, TIER_NONE = "observe", "none"
_BTF = Path("/sys/kernel/btf/vmlinux")
_STATUS = Path("/proc/self/status")
_CAPABILITIES = {12: "CAP_NET_ADMIN", 21: "CAP_SYS_ADMIN", 38: "CAP_PERFMON", 39: "CAP_BPF"}
_RINGBUF = 27
_TRACING, _CGROUP_SKB, _SOCK_ADDR, _LSM = 26, 8, 18, 29
_RAW_TP, _LSM_MAC, _CONNECT4, _UNIX_CONNECT, _SKB_INGRESS = 23, 27, 10, 49, 0


class Probe(msgspec.Struct, frozen=True):
    """One thing that was tried. `needed` is false for what only adds to what is seen, or is for later."""

    name: str
    ok: bool
    detail: str
    hint: str = ""
    needed: bool = True


class _Options(ctypes.Structure):
    """struct bpf_prog_load_opts, as far as it is used."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("attempts", ctypes.c_int),
        ("expected_attach_type", ctypes.c_int),
        ("prog_btf_fd", ctypes.c_uint32),
        ("prog_flags", ctypes.c_uint32),
        ("prog_ifindex", ctypes.c_uint32),
        ("kern_version", ctypes.c_uint32),
        ("attach_btf_id", ctypes.c_uint32),
        ("attach_prog_fd", ctypes.c_uint32),
        ("attach_btf_obj_fd", ctypes.c_uint32),
    )


# name -> (type of program, type of attachment, what it is attached to, what it returns, needed, what it is for)
_PROGRAMS = {
    "system calls": (_TRACING, _RAW_TP, "sys_exit", 0, True, "tp_btf/sys_exit"),
    "programs": (_TRACING, _RAW_TP, "sched_process_exec", 0, True, "tp_btf/sched_process_exec"),
    "cgroup moves": (_TRACING, _RAW_TP, "cgroup_attach_task", 0, True, "tp_btf/cgroup_attach_task"),
    "io_uring": (_TRACING, _RAW_TP, "io_uring_submit_req", 0, False, "tp_btf/io_uring_submit_req"),
    "DNS": (_CGROUP_SKB, _SKB_INGRESS, "", 1, False, "cgroup_skb"),
    "connect hooks": (_SOCK_ADDR, _CONNECT4, "", 1, False, "cgroup/connect4, for enforcement"),
    "unix hooks": (_SOCK_ADDR, _UNIX_CONNECT, "", 1, False, "cgroup/connect_unix, for enforcement"),
    "BPF LSM": (_LSM, _LSM_MAC, "file_open", 0, False, "lsm/file_open, for enforcement"),
}


def probe() -> list[Probe]:
    """Return what was tried and how it went; loads tiny programs and takes them out at once."""
    return list(_probes())


def probe_network() -> list[Probe]:
    """Return how it went with what decides about connections: programs for those of the internet and of unix sockets."""
    there = _try("libbpf", lambda: libbpf().libbpf_version_string().decode())
    return [there, *(_program(name) for name in ("connect hooks", "unix hooks"))] if there.ok else [there]


def unix_hooks() -> Probe:
    """Return how it went with what decides about unix sockets; kernels before 6.7 have no such hook."""
    return _program("unix hooks")


def lsm_hooks() -> Probe:
    """Return how it went with what decides about files and programs."""
    return _program("BPF LSM")


def tier_of(probes: list[Probe]) -> str:
    """Return `observe` if all that is needed is there, else `none`."""
    return TIER_OBSERVE if all(each.ok for each in probes if each.needed) else TIER_NONE


def _probes() -> Iterator[Probe]:
    if sys.platform != "linux":
        yield Probe("kernel", ok=False, detail=sys.platform, hint="only Linux tells what a process does")
        return
    yield Probe("kernel", ok=True, detail=f"Linux {platform.release()} on {platform.machine()}")
    yield _rights()
    yield _try("BPF objects", lambda: f"{len(read_object('syscalls'))} bytes for {platform.machine()}")
    yield _try("libbpf", lambda: libbpf().libbpf_version_string().decode())
    yield _exists("BTF", _BTF, "boot a kernel with CONFIG_DEBUG_INFO_BTF=y: it says where its structures are")
    yield _cgroup()
    found = importlib.util.find_spec("numpy") is not None
    yield Probe(
        "numpy",
        found,
        "installed" if found else "missing",
        "" if found else "pip install 'agentguard[kernel]'",
    )
    yield from _settings()
    try:
        library_is_there = bool(libbpf())
    except AgentGuardError:
        library_is_there = False
    if library_is_there:
        yield _ring()
        yield from (_program(name) for name in _PROGRAMS)


def _rights() -> Probe:
    effective = 0
    for line in _STATUS.read_text(encoding="utf-8").splitlines():
        if line.startswith("CapEff:"):
            effective = int(line.split()[1], 16)
    missing = [name for bit, name in _CAPABILITIES.items() if not effective >> bit & 1]
    who = "root" if os.geteuid() == 0 else f"user {os.geteuid()}"
    if not missing:
        return Probe("rights", ok=True, detail=f"{who} with the capabilities for BPF")
    # Either CAP_SYS_ADMIN, which stands for the others, or these two, which are all that is needed of it.
    is_enough = "CAP_SYS_ADMIN" not in missing or not {"CAP_BPF", "CAP_PERFMON"} & set(missing)
    return Probe(
        "rights",
        is_enough,
        f"{who} without {', '.join(missing)}",
        "" if is_enough else "run as root, or start the sensor",
    )


def _exists(name: str, path: Path, hint: str) -> Probe:
    found = path.exists()
    return Probe(name, found, str(path) if found else f"{path} is missing", "" if found else hint)


def _try(name: str, attempt: Callable[[], str]) -> Probe:
    try:
        return Probe(name, ok=True, detail=attempt())
    except AgentGuardError as error:
        return Probe(name, ok=False, detail=error.message, hint=error.hint or "")


def _cgroup() -> Probe:
    try:
        mount = find_mount()
    except AgentGuardError as error:
        return Probe("cgroup v2", ok=False, detail=error.message, hint=error.hint or "")
    place = mount / PARENT if (mount / PARENT).is_dir() else mount
    writable = os.access(place, os.W_OK)
    return Probe(
        "cgroup v2",
        writable,
        f"{mount}" + ("" if writable else " cannot be written to"),
        "" if writable else "run as root",
    )


def _settings() -> Iterator[Probe]:
    """Yield what the machine says of itself; none of it decides, but it explains what fails."""
    lockdown = _read("/sys/kernel/security/lockdown")
    if lockdown:
        locked = "[confidentiality]" in lockdown
        yield Probe(
            "lockdown",
            not locked,
            lockdown,
            "in this mode the kernel lets nobody read its memory" if locked else "",
            needed=False,
        )
    mounts = _read("/proc/self/mounts")
    for name in ("bpf", "tracefs"):
        there = f" {name} " in mounts
        yield Probe(name + (" file system" if name == "bpf" else ""), ok=True, detail="mounted" if there else "not mounted, and not needed", needed=False)  # fmt: skip


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _ring() -> Probe:
    return _attempt(
        "ring buffer",
        "BPF_MAP_TYPE_RINGBUF",
        lambda: libbpf().call("bpf_map_create", _RINGBUF, b"probe", 0, 0, 4096, None),
    )


def _program(name: str) -> Probe:
    kind, attach, target, answer, needed, detail = _PROGRAMS[name]

    def load() -> int:
        options = _Options(size=ctypes.sizeof(_Options), expected_attach_type=attach)
        if target:
            options.attach_btf_id = libbpf().call("libbpf_find_vmlinux_btf_id", target.encode(), attach)
        # Two instructions: put the answer into register 0, and leave.
        code = bytes([0xB7, 0, 0, 0, answer, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0])
        return libbpf().call("bpf_prog_load", kind, b"probe", b"GPL", code, 2, ctypes.byref(options))

    return _attempt(name, detail, load, needed=needed)


def _attempt(name: str, detail: str, make: Callable[[], int], *, needed: bool = True) -> Probe:
    try:
        os.close(make())
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        return Probe(
            name, ok=False, detail=f"{detail}: {why}", hint=_hint(error.errno, needed=needed), needed=needed
        )
    return Probe(name, ok=True, detail=detail, needed=needed)


def _hint(number: int | None, *, needed: bool) -> str:
    if not needed:
        return ""
    if number == errno.EPERM:
        return "run as root; if you are, lockdown or a security module denies it"
    return "this kernel lacks it; 5.8 or newer with BTF has it"

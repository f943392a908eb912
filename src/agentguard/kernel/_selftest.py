"""The self-test: a process of our own does one thing of each kind, and it must be seen."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import KernelError
from agentguard.kernel._cgroups import Cgroup
from agentguard.kernel._check import Check
from agentguard.kernel._layout import Kind
from agentguard.kernel._seen import Seen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentguard.kernel._handover import Handover
    from agentguard.kernel._loader import Loaded
    from agentguard.kernel._reader import Reader

_DEADLINE_S = 3.0
_EXIT_CODE = 7
# Nobody listens there: the question goes nowhere, and no resolver is asked.
_QUESTION = (
    "0107010000010000000000000973656c662d74657374"  # self-test
    "0a6167656e746775617264"  # agentguard
    "07696e76616c696400"  # invalid
    "00010001"
)
_CANARY = f"""
import ctypes, os, socket, sys
path = sys.argv[1]
os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
os.unlink(path)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
    udp.connect(("127.255.255.254", 53))
    udp.send(bytes.fromhex("{_QUESTION}"))
os.close(os.memfd_create("agentguard"))
child = os.fork()
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
os._exit({_EXIT_CODE})
"""


class _Sight(msgspec.Struct, frozen=True):
    name: str
    detail: str
    needed: bool
    was: Callable[[Seen, str], bool]


_SIGHTS = (
    _Sight("programs", "a program is started", True, lambda seen, _: seen.kind == Kind.EXEC and len(seen.argv) > 1),
    _Sight(
        "files", "a file is opened for writing", True,
        lambda seen, path: seen.kind == Kind.OPEN and seen.path == path and seen.writes,
    ),
    _Sight("changes", "a file is deleted", True, lambda seen, path: seen.kind == Kind.UNLINK and seen.path == path),
    _Sight("processes", "a process is started", True, lambda seen, _: seen.kind == Kind.FORK),
    _Sight("exits", "a process ends with its code", True, lambda seen, _: _is_exit(seen)),
    _Sight(
        "network", "a socket is connected", True,
        lambda seen, _: seen.kind == Kind.CONNECT and seen.address is not None and seen.address.port == 53,  # noqa: PLR2004 - DNS
    ),
    _Sight("attempts", "a file without a name is made", True, lambda seen, _: seen.kind == Kind.MEMFD),
    _Sight("names", "a name is asked for", False, lambda seen, _: seen.kind == Kind.DNS and seen.dns is not None),
)  # fmt: skip


def self_test(loaded: Loaded, reader: Reader, handover: Handover) -> list[Check]:
    """Return one verdict for each kind, and have the programs look on the right level of cgroups from now on.

    Raises:
        KernelError: no cgroup can be made, the process cannot be started, or what is needed is not seen
            (`kernel_selftest`).
    """
    cgroup = Cgroup.make(f"self-test-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        loaded.guard(cgroup.id, cgroup.fd)
        path = str(Path(tempfile.gettempdir()).resolve() / f"agentguard-{secrets.token_hex(8)}")
        _run_canary(cgroup, path)
        seen = _collect(reader, handover, cgroup.id, path)
    finally:
        loaded.release(cgroup.id)
        cgroup.remove()
    checks = [
        Check(
            each.name,
            each.name in seen,
            each.detail + ("" if each.name in seen else ": not seen"),
            each.needed,
        )
        for each in _SIGHTS
    ]
    blind = [each.name for each in checks if each.needed and not each.ok]
    if blind:
        raise KernelError(
            f"the self-test did not see everything: {', '.join(blind)} missing",
            code="kernel_selftest",
            hint="`agentguard doctor` shows what this kernel lacks",
        )
    loaded.set_levels(1 << seen["exits"].a0)
    return checks


def _run_canary(cgroup: Cgroup, path: str) -> None:
    # It waits until it is in its cgroup, so that even its program is seen.
    command = [
        "/bin/sh",
        "-c",
        'read -r _ && exec "$@"',
        "sh",
        sys.executable,
        "-I",
        "-S",
        "-c",
        _CANARY,
        path,
    ]
    try:
        process = subprocess.Popen(  # noqa: S603 - our own command
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        with process:
            cgroup.add(process.pid)
            process.communicate(b"\n", timeout=_DEADLINE_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KernelError(f"the self-test cannot run: {error}", code="kernel_selftest") from None


def _collect(reader: Reader, handover: Handover, cgroup_id: int, path: str) -> Mapping[str, Seen]:
    found: dict[str, Seen] = {}
    deadline = time.monotonic() + _DEADLINE_S
    while time.monotonic() < deadline:
        reader.drain(everything=True)
        while batch := handover.take():
            for seen in batch:
                if seen.cgroup == cgroup_id:
                    found.update((each.name, seen) for each in _SIGHTS if each.was(seen, path))
        if "exits" in found:
            break
        time.sleep(0.01)
    return found


def _is_exit(seen: Seen) -> bool:
    return seen.kind == Kind.EXIT and seen.ret >> 8 == _EXIT_CODE

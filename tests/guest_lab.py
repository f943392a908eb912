"""A guest in QEMU with a kernel of the distribution's, whose first process is Python with this project's code."""

from __future__ import annotations

import functools
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
KERNELS = ROOT / ".guest"
INIT = ROOT / "tests" / "kernel" / "guest" / "attempts.py"
# What the attempts import, early or late: the files of all these go into the guest, and no others.
_IMPORTS = """
import ctypes, fcntl, json, mmap, os, socket, struct, sys, time, encodings.idna, encodings.ascii, encodings.utf_8, encodings.unicode_escape, encodings.latin_1
from agentguard.kernel import _cgroups, _lsm, _pids, _rules
from agentguard.kernel._libbpf import libbpf
libbpf()
from agentguard.kernel._objects import read_object
read_object("lsm")
found = {str(m.__file__) for m in sys.modules.values() if getattr(m, "__file__", None)}
found |= {line.split()[-1] for line in open("/proc/self/maps") if line.split()[-1].startswith("/")}
print("\\n".join(sorted(found)))
"""


def guest_kernel() -> Path | None:
    """Return the newest kernel that `.ci/apt.sh` has unpacked for the guest."""
    found = sorted(KERNELS.glob("vmlinuz-*"))
    return found[-1] if found else None


def why_no_guest() -> str:
    """Return what is missing for a guest, or nothing."""
    if os.uname().machine != "x86_64":
        return "the guest is for x86-64"
    if shutil.which("qemu-system-x86_64") is None:
        return "qemu-system-x86_64 is not installed"
    if guest_kernel() is None:
        return "there is no kernel for the guest in .guest (`sh .ci/apt.sh` fetches one)"
    return ""


@functools.cache
def _files() -> tuple[str, ...]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    said = subprocess.run(
        [sys.executable, "-c", _IMPORTS], check=True, capture_output=True, text=True, env=environ
    ).stdout
    objects = ROOT / "src" / "agentguard" / "kernel" / "objects"
    base = Path(sys.base_prefix) / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    return (
        *said.split(), str(objects / "manifest.json"), str(objects / "x86_64" / "lsm.bpf.o"),
        str(base / "os.py"), str(Path(sys.executable).resolve()), "/bin/true",
    )  # fmt: skip


def archive(extra: dict[str, tuple[int, bytes]]) -> bytes:
    """Return an initramfs (cpio, `newc`) with the files, where they are here, and `extra` files with their modes."""
    entries: dict[str, tuple[int, bytes]] = {}
    for name in _files():
        path = Path(name)
        if path.is_file():
            _put(entries, name, (stat.S_IFREG | 0o755, path.read_bytes()))
    loader = Path("/lib64/ld-linux-x86-64.so.2")
    _put(entries, str(loader), (stat.S_IFREG | 0o755, loader.read_bytes()))
    # By its other names too: the loader looks for those.
    for link in Path("/usr/lib/x86_64-linux-gnu").glob("*.so*"):
        if link.is_symlink() and (entry := entries.get(str(link.resolve()))) is not None:
            _put(entries, f"/lib/x86_64-linux-gnu/{link.name}", entry)
    for name, entry in extra.items():
        _put(entries, name, entry)
    for folder in ("/proc", "/sys", "/data", "/tmp", "/dev"):
        entries.setdefault(folder, (stat.S_IFDIR | 0o755, b""))
    made = b"".join(_entry(name.lstrip("/"), mode, data) for name, (mode, data) in sorted(entries.items()))
    return made + _entry("TRAILER!!!", 0, b"")


def _put(entries: dict[str, tuple[int, bytes]], name: str, entry: tuple[int, bytes]) -> None:
    for folder in Path(name).parents:
        if str(folder) != "/":
            entries.setdefault(str(folder), (stat.S_IFDIR | 0o755, b""))
    entries[name] = entry


def _entry(name: str, mode: int, data: bytes) -> bytes:
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(f"{each:08X}".encode() for each in fields) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def run_guest(folder: Path, *, timeout: float = 110) -> dict[str, object]:
    """Boot, have the attempts made, and return their account."""
    kernel = guest_kernel()
    assert kernel is not None
    import msgspec

    paths = [str(ROOT / "src"), str(Path(str(msgspec.__file__)).parents[1])]
    text = INIT.read_text().replace('["PATHS"]', repr(paths))
    python = Path(sys.executable).resolve()
    image = folder / "initramfs"
    image.write_bytes(
        archive({
            "/init": (stat.S_IFREG | 0o755, f"#!{python} -SsE\n".encode() + text.encode()),
        })
    )  # fmt: skip
    command = [
        "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "768", "-smp", "1", "-nographic", "-no-reboot",
        "-nic", "none", "-kernel", str(kernel), "-initrd", str(image),
        "-append", "console=ttyS0 quiet panic=-1 lsm=landlock,lockdown,bpf",
    ]  # fmt: skip
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        check=False,
        errors="replace",
    )
    for line in done.stdout.splitlines():
        _, found, account = line.partition("ACCOUNT ")
        if found:
            return dict(json.loads(account))
    raise AssertionError(f"the guest said nothing: {done.stdout[-2000:]}{done.stderr[-500:]}")

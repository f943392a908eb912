"""The strongest fence: BPF programs that the kernel asks at each open, exec, link and socket, where it lets them load.

Keyed by device and inode, so that links, renames, bind mounts, rings and descriptors change nothing. Where the kernel
refuses them the other layers hold, and `LsmEnforcer` says so.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import KernelError
from agentguard.kernel._libbpf import libbpf
from agentguard.kernel._objects import read_object

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType
    from typing import Self

    from agentguard.kernel._cgroups import Cgroup
    from agentguard.kernel._rules import KernelPolicy

READ, WRITE, EXECUTE = 1, 2, 4
ENFORCE, NO_NETWORK = 1, 2
OBJECT = "lsm"
GUARD, INODE, SHUT = Struct("<II"), Struct("<QII"), Struct("<II")
RECORD = Struct("<QQQIIIIHHI16s")
_ACCESS = {"read": READ, "write": WRITE, "execute": EXECUTE}
_ENFORCED = frozenset(("enforce", "freeze", "kill"))
# Each file beneath a folder is shut by its own inode too, as it may have another name elsewhere.
_MAX_BENEATH = 20_000


class Shut(msgspec.Struct, frozen=True):
    """What is denied of one inode, and the number of the rule (its place in the policy's `paths`, from 1)."""

    access: int
    rule: int


def kernel_device(number: int) -> int:
    """Return a device's number as the kernel has it inside."""
    return os.major(number) << 20 | os.minor(number)


def shut_inodes(policy: KernelPolicy) -> dict[tuple[int, int], Shut]:
    """Return what a policy shuts, by the kernel's device and inode: the paths that there are now, and all beneath them."""
    found: dict[tuple[int, int], Shut] = {}
    for number, rule in enumerate(policy.paths, 1):
        if rule.effect == "allow":
            continue
        access = sum(_ACCESS[each] for each in rule.access)
        for device, inode in _inodes(Path(rule.path)):
            key = kernel_device(device), inode
            known = found.get(key)
            found[key] = Shut(access | (known.access if known else 0), known.rule if known else number)
    return found


def _inodes(path: Path) -> Iterator[tuple[int, int]]:
    try:
        status = path.stat()
    except OSError:
        return
    yield status.st_dev, status.st_ino
    if not stat.S_ISDIR(status.st_mode):
        return
    count = 0
    for folder, _, names in os.walk(path):
        for name in names:
            count += 1
            if count > _MAX_BENEATH:
                return
            with contextlib.suppress(OSError):
                each = os.lstat(f"{folder}/{name}")
                if each.st_nlink > 1:
                    yield each.st_dev, each.st_ino


class LsmEnforcer:
    """Shuts what policies shut for the cgroups that it holds. Closing it, or its end, opens them again."""

    def __init__(self) -> None:
        """Load and attach.

        Raises:
            KernelError: this kernel refuses LSM programs (`kernel_denied`, `kernel_unsupported`).
            IntegrityError: the programs are not those that were shipped.
        """
        self._bpf = libbpf()
        self._links: list[int] = []
        self._slots: dict[int, int] = {}
        self._keys: dict[int, list[bytes]] = {}
        self.maps: dict[str, int] = {}
        self._opened: int | None = None
        content = read_object(OBJECT)
        del self._bpf.messages[:]
        try:
            self._opened = self._bpf.pointer("bpf_object__open_mem", content, len(content), None)
            self._bpf.call("bpf_object__load", self._opened)
            for each in self._walk("bpf_object__next_map"):
                self.maps[self._bpf.bpf_map__name(each).decode()] = self._bpf.bpf_map__fd(each)
            self._links += [
                self._bpf.pointer("bpf_program__attach", each)
                for each in self._walk("bpf_object__next_program")
            ]
        except OSError as error:
            self.close()
            raise KernelError(
                f"this kernel lets no BPF LSM programs load: {(error.strerror or str(error)).lower()}",
                code="kernel_denied" if isinstance(error, PermissionError) else "kernel_unsupported",
                hint="it takes CONFIG_BPF_LSM, `bpf` in the boot option `lsm=`, and root; the other layers hold without it",
            ) from None

    def _walk(self, function: str) -> Iterator[int]:
        each = None
        while (each := getattr(self._bpf, function)(self._opened, each)) is not None:
            yield each

    def hold(self, cgroup: Cgroup, policy: KernelPolicy, *, no_network: bool = False) -> None:
        """Hold a cgroup and all below it to what the policy shuts; again to change it.

        Raises:
            OSError: there is no room for it.
        """
        slot = self._slots.setdefault(cgroup.id, len(self._slots) + 1)
        old = self._keys.get(cgroup.id, [])
        made = self._shut(slot, shut_inodes(policy))
        for key in set(old) - set(made):
            self._bpf.bpf_map_delete_elem(self.maps["shut_inodes"], key)
        self._keys[cgroup.id] = made
        flags = (ENFORCE if policy.mode in _ENFORCED else 0) | (NO_NETWORK if no_network else 0)
        self._put("lsm_guarded", cgroup.id.to_bytes(8, "little"), GUARD.pack(slot, flags))

    def _shut(self, slot: int, wanted: Mapping[tuple[int, int], Shut]) -> list[bytes]:
        keys = []
        for (device, inode), shut in wanted.items():
            key = INODE.pack(inode, device, slot)
            self._put("shut_inodes", key, SHUT.pack(shut.access, shut.rule))
            keys.append(key)
        return keys

    def release(self, cgroup: Cgroup) -> None:
        """Hold it no more. Idempotent."""
        self._bpf.bpf_map_delete_elem(self.maps["lsm_guarded"], cgroup.id.to_bytes(8, "little"))
        for key in self._keys.pop(cgroup.id, ()):
            self._bpf.bpf_map_delete_elem(self.maps["shut_inodes"], key)

    def _put(self, name: str, key: bytes, value: bytes) -> None:
        self._bpf.call("bpf_map_update_elem", self.maps[name], key, value, 0)

    def close(self) -> None:
        """Detach and unload. Idempotent."""
        while self._links:
            self._bpf.bpf_link__destroy(self._links.pop())
        if self._opened is not None:
            self._bpf.bpf_object__close(self._opened)
            self._opened = None
        self.maps.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def hold_by_lsm(cgroup: Cgroup, policy: KernelPolicy) -> LsmEnforcer | None:
    """Return what holds the cgroup to what the policy shuts; None where this kernel refuses, and the other layers hold.

    Raises:
        IntegrityError: the programs are not those that were shipped.
    """
    from agentguard.kernel._probe import lsm_hooks

    if os.geteuid() != 0 or not lsm_hooks().ok:
        return None
    try:
        made = LsmEnforcer()
    except KernelError:
        return None
    try:
        made.hold(cgroup, policy)
    except OSError:
        made.close()
        return None
    return made

"""The strongest fence: BPF programs that the kernel asks at each open, exec, link and socket, where it lets them load.

Keyed by device and inode, so that links, renames, bind mounts, rings and descriptors change nothing. Where the kernel
refuses them the other layers hold, and `LsmEnforcer` says so.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import KernelError
from agentguard.kernel._libbpf import libbpf
from agentguard.kernel._objects import read_object
from agentguard.kernel._pins import COMPLETE, lsm_folder, remove_pins

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
_MAPS = ("lsm_guarded", "shut_inodes", "lsm_ring")
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
    """Shuts what policies shut for the cgroups that it holds.

    With `folder`, in bpffs, the links are pinned there: they outlive this process, and end with `remove`. Another enforcer for
    the same folder takes over what is pinned. Without, closing it or its end opens what it shut.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Load and attach, or take over.

        Raises:
            KernelError: this kernel refuses LSM programs (`kernel_denied`, `kernel_unsupported`).
            IntegrityError: the programs are not those that were shipped.
        """
        self._bpf = libbpf()
        self._links: list[int] = []
        self._slots: dict[int, int] = {}
        self._keys: dict[int, list[bytes]] = {}
        self.maps: dict[str, int] = {}
        self.folder = folder
        self.taken_over = False
        self._opened: int | None = None
        del self._bpf.messages[:]
        try:
            if folder is not None and (folder / COMPLETE).exists():
                self._take_over(folder)
            else:
                if folder is not None:
                    remove_pins(folder)
                self._load()
                if folder is not None:
                    self._pin(folder)
        except OSError as error:
            self.remove()
            raise KernelError(
                f"this kernel lets no BPF LSM programs load: {(error.strerror or str(error)).lower()}",
                code="kernel_denied" if isinstance(error, PermissionError) else "kernel_unsupported",
                hint="it takes CONFIG_BPF_LSM, `bpf` in the boot option `lsm=`, and root; the other layers hold without it",
            ) from None

    def _load(self) -> None:
        content = read_object(OBJECT)
        self._opened = self._bpf.pointer("bpf_object__open_mem", content, len(content), None)
        self._bpf.call("bpf_object__load", self._opened)
        for each in self._walk("bpf_object__next_map"):
            self.maps[self._bpf.bpf_map__name(each).decode()] = self._bpf.bpf_map__fd(each)
        self._links += [
            self._bpf.pointer("bpf_program__attach", each) for each in self._walk("bpf_object__next_program")
        ]

    def _pin(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        for index, link in enumerate(self._links):
            self._bpf.call("bpf_link__pin", link, bytes(folder / f"link{index}"))
        for name in _MAPS:
            self._bpf.call("bpf_obj_pin", self.maps[name], bytes(folder / name))
        self._bpf.call("bpf_obj_pin", self.maps[_MAPS[0]], bytes(folder / COMPLETE))

    def _take_over(self, folder: Path) -> None:
        for name in _MAPS:
            self.maps[name] = self._bpf.call("bpf_obj_get", bytes(folder / name))
        self.taken_over = True
        of_slot = {}
        for key, value in self._entries("lsm_guarded", 8, GUARD.size):
            cgroup_id, slot = int.from_bytes(key, "little"), GUARD.unpack(value)[0]
            self._slots[cgroup_id] = slot
            of_slot[slot] = self._keys.setdefault(cgroup_id, [])
        for key, _ in self._entries("shut_inodes", INODE.size, SHUT.size):
            of_slot.get(INODE.unpack(key)[2], []).append(key)

    def _entries(self, name: str, key_size: int, value_size: int) -> Iterator[tuple[bytes, bytes]]:
        key, value = ctypes.create_string_buffer(key_size), ctypes.create_string_buffer(value_size)
        before = None
        while self._bpf.bpf_map_get_next_key(self.maps[name], before, key) == 0:
            before = key.raw
            if self._bpf.bpf_map_lookup_elem(self.maps[name], before, value) == 0:
                yield before, value.raw

    def _walk(self, function: str) -> Iterator[int]:
        each = None
        while (each := getattr(self._bpf, function)(self._opened, each)) is not None:
            yield each

    def hold(self, cgroup: Cgroup, policy: KernelPolicy, *, no_network: bool = False) -> None:
        """Hold a cgroup and all below it to what the policy shuts; again to change it.

        Raises:
            OSError: there is no room for it.
        """
        slot = self._slots.setdefault(cgroup.id, max(self._slots.values(), default=0) + 1)
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
        """Let go of it: what is pinned stays and holds on. Idempotent."""
        while self._links:
            # A pinned link is kept by its pin.
            self._bpf.bpf_link__destroy(self._links.pop())
        if self.taken_over:
            for descriptor in self.maps.values():
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        if self._opened is not None:
            self._bpf.bpf_object__close(self._opened)
            self._opened = None
        self.maps.clear()

    def remove(self) -> None:
        """Detach and unload. Idempotent."""
        if self.folder is not None:
            remove_pins(self.folder)
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


def hold_by_lsm(cgroup: Cgroup, policy: KernelPolicy) -> LsmEnforcer | None:
    """Return what holds the cgroup to what the policy shuts, pinned so that it outlives this process; None where this kernel refuses, and the other layers hold.

    Raises:
        IntegrityError: the programs are not those that were shipped.
    """
    from agentguard.kernel._probe import lsm_hooks

    if os.geteuid() != 0 or not lsm_hooks().ok:
        return None
    try:
        made = LsmEnforcer(lsm_folder(cgroup))
    except KernelError:
        return None
    try:
        made.hold(cgroup, policy)
    except OSError:
        made.remove()
        return None
    return made

"""Loading: objects become programs and maps in the kernel, and links that end with this process."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import resource
import secrets
import threading
import time
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from agentguard.core import KernelError
from agentguard.kernel._layout import CONFIG, CONFIGS, DROPS, FAST, GUARD, MAX_LEVEL, SUM, SUM_KEY, Drop
from agentguard.kernel._libbpf import libbpf
from agentguard.kernel._objects import NAMES, read_object
from agentguard.kernel._places import Places

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Any, Self

    from numpy.typing import NDArray

# These the observer cannot do without; of the others the lack is said.
NEEDED = ("syscalls", "process")
CGROUP_OBJECT = "dns"
ALL_LEVELS = sum(1 << level for level in range(1, MAX_LEVEL + 1))
_STATS_RUN_TIME = 0
_SYS_MEMBARRIER = {"x86_64": 324, "aarch64": 283}
_MEMBARRIER_GLOBAL, _A_WHILE_S = 1, 0.05


class Settings(msgspec.Struct, frozen=True):
    """How much memory the rings and the sums take, in bytes and entries; all three are powers of two."""

    sec_bytes: int = 64 << 20
    io_bytes: int = 16 << 20
    sums: int = 65536


class Cost(msgspec.Struct, frozen=True):
    """What a program has cost, as the kernel counts it while `enable_stats` is held; `missed` runs it counts always."""

    name: str
    runs: int
    run_time_ns: int
    missed: int = 0


class Loaded:
    """The programs in the kernel. Closing, or the end of the process however it comes, takes them out."""

    def __init__(self, settings: Settings | None = None, *, avoid_cast: bool = False) -> None:
        """Load and attach what does not belong to one cgroup; `avoid_cast` loads as on kernels before 6.2.

        Raises:
            KernelError: a needed object cannot be loaded or attached; says why and what to do.
            IntegrityError: an object is not the one that was shipped.
        """
        self.settings = settings or Settings()
        self.maps: dict[str, int] = {}
        self.missing: dict[str, str] = {}
        self._objects: dict[str, int] = {}
        self._links: list[int] = []
        self._of_cgroup: dict[int, list[int]] = {}
        # Guarded cgroups: a descriptor and flags of each.
        self._guarded: dict[int, tuple[int, int]] = {}
        self._levels = ALL_LEVELS
        self._configs = np.zeros(1, CONFIGS)
        self._places: Places | None = None
        self._odd = np.array([secrets.randbits(64) | 1 for _ in range(8)], "<u8")
        # Guards come and go from many threads of a sensor.
        self._changing = threading.RLock()
        self._bpf = libbpf()
        _raise_memlock()
        try:
            self._has_cast = self._find_cast(avoid_cast=avoid_cast)
            for name in NAMES:
                self._load(name)
            self.set_levels(ALL_LEVELS)
            self._places = Places(self.maps["sums"], self.settings.sums)
        except BaseException:
            self.close()
            raise

    def _find_cast(self, *, avoid_cast: bool) -> bool:
        try:
            return not avoid_cast and self._bpf.knows_function("bpf_rdonly_cast")
        except OSError as error:
            raise KernelError(
                f"this kernel does not say where its structures are: {(error.strerror or str(error)).lower()}",
                code="kernel_unsupported",
                hint="boot a kernel with CONFIG_DEBUG_INFO_BTF=y; see `agentguard doctor`",
            ) from None

    def _load(self, name: str) -> None:
        content = read_object(name)
        del self._bpf.messages[:]
        try:
            opened = self._open(name, content)
            self._objects[name] = opened
            self._share_maps(opened)
            self._bpf.call("bpf_object__load", opened)
            for found in self._maps(opened):
                self.maps.setdefault(self._bpf.bpf_map__name(found).decode(), self._bpf.bpf_map__fd(found))
            if name != CGROUP_OBJECT:
                self._links += [
                    self._bpf.pointer("bpf_program__attach", each) for each in self._programs(name)
                ]
        except OSError as error:
            why = _explain(error, self._bpf.messages)
            if name in NEEDED:
                raise _failure(name, error, why) from None
            self.missing[name] = why

    def _open(self, name: str, content: bytes) -> int:
        options = (ctypes.c_char_p * 2)()
        ctypes.cast(options, ctypes.POINTER(ctypes.c_size_t))[0] = ctypes.sizeof(options)
        options[1] = f"ag_{name}".encode()
        return self._bpf.pointer("bpf_object__open_mem", content, len(content), ctypes.byref(options))

    def _share_maps(self, opened: int) -> None:
        sizes = {
            "ring_sec": self.settings.sec_bytes,
            "ring_io": self.settings.io_bytes,
            "sums": self.settings.sums,
        }
        for each in self._maps(opened):
            name = self._bpf.bpf_map__name(each).decode()
            if name in self.maps and not name.startswith("."):
                self._bpf.call("bpf_map__reuse_fd", each, self.maps[name])
            elif name in sizes:
                self._bpf.call("bpf_map__set_max_entries", each, sizes[name])
            elif name == ".rodata.cast":
                value = ctypes.c_uint32(self._has_cast)
                self._bpf.call("bpf_map__set_initial_value", each, ctypes.byref(value), 4)
            elif name == ".rodata.sums":
                value = ctypes.c_uint32(self.settings.sums - 1)
                self._bpf.call("bpf_map__set_initial_value", each, ctypes.byref(value), 4)
            elif name == ".rodata.odd":
                self._bpf.call("bpf_map__set_initial_value", each, self._odd.ctypes.data, self._odd.nbytes)

    def _maps(self, opened: int) -> Iterable[int]:
        return self._walk("bpf_object__next_map", opened)

    def _programs(self, name: str) -> Iterable[int]:
        return self._walk("bpf_object__next_program", self._objects[name])

    def _walk(self, function: str, opened: int) -> Iterable[int]:
        each = None
        while (each := getattr(self._bpf, function)(opened, each)) is not None:
            yield each

    def guard(self, cgroup_id: int, cgroup_fd: int, *, flags: int = 0) -> None:
        """Watch what happens in the cgroup and below it; `cgroup_id` is the inode of its folder.

        Raises:
            KernelError: there is no room for another one, or it is gone (`cgroup_gone`).
        """
        if CGROUP_OBJECT in self._objects and CGROUP_OBJECT not in self.missing:
            try:
                self._of_cgroup[cgroup_id] = [
                    self._bpf.pointer("bpf_program__attach_cgroup", each, cgroup_fd)
                    for each in self._programs(CGROUP_OBJECT)
                ]
            except OSError as error:
                if error.errno in {errno.ENOENT, errno.ENODEV}:
                    # That says nothing of the others.
                    raise KernelError("the cgroup is gone", code="cgroup_gone") from None
                self.missing[CGROUP_OBJECT] = _explain(error, ())
        value = np.zeros(1, GUARD)
        value["flags"] = flags
        try:
            with self._changing:
                self._put("guarded", np.array([cgroup_id], "<u8"), value)
                self._guarded[cgroup_id] = (os.dup(cgroup_fd), flags)
                self._configure()
        except OSError as error:
            raise KernelError(
                f"the cgroup cannot be watched: {error.strerror}", code="kernel_unavailable"
            ) from None

    def release(self, cgroup_id: int) -> None:
        """Watch the cgroup no longer."""
        key = np.array([cgroup_id], "<u8")
        with self._changing:
            self._bpf.bpf_map_delete_elem(self.maps["guarded"], key.ctypes.data)
            if cgroup_id in self._guarded:
                os.close(self._guarded.pop(cgroup_id)[0])
                self._configure()
        for link in self._of_cgroup.pop(cgroup_id, ()):
            self._bpf.bpf_link__destroy(link)

    def set_levels(self, levels: int) -> None:
        """Look for guarded cgroups on these levels below the root only: bit n is n levels below."""
        with self._changing:
            self._levels = levels
            self._configure()

    @property
    def levels(self) -> int:
        """The levels on which guarded cgroups are looked for, one bit each."""
        return self._levels

    def add_level(self, level: int) -> None:
        """Look for guarded cgroups on this level as well.

        Raises:
            KernelError: it is deeper than the programs look (`cgroup_deep`).
        """
        if not 1 <= level <= MAX_LEVEL:
            raise KernelError(
                f"the cgroup is {level} levels deep, and the programs look at {MAX_LEVEL} only",
                code="cgroup_deep",
                hint="watch one that is above it",
            )
        with self._changing:
            if not self._levels >> level & 1:
                self.set_levels(self._levels | 1 << level)

    def _configure(self) -> None:
        value = np.zeros(1, CONFIG)
        value["file_limit"] = self.settings.sec_bytes // 8 * 7
        if self._guarded:
            value["levels"] = self._levels
            is_one = self._levels.bit_count() == 1
            value["level"] = self._levels.bit_length() - 1 if is_one else 0
        # INVARIANT: nobody looks at what is written here, or what one does would count as another's, or for nobody.
        _wait_for_programs()
        both, key = self._configs, np.zeros(1, "<u4")
        which = 1 - int(both["which"][0])
        value["slot"] = which * FAST
        # A cgroup that was removed fits into no slot; the way over the ancestors does without them.
        with contextlib.suppress(OSError):
            if len(self._guarded) <= FAST:
                for index, (cgroup_id, (descriptor, flags)) in enumerate(self._guarded.items()):
                    slot = np.array([which * FAST + index], "<u4")
                    self._put("cgroups", slot, np.array([descriptor], "<u4"))
                    value["ids"][0, index], value["flags"][0, index] = cgroup_id, flags
                value["fast"] = len(self._guarded)
        both["each"][0, which] = value[0]
        self._put("config", key, both)
        both["which"] = which
        self._put("config", key, both)

    def drops(self) -> NDArray[np.uint64]:
        """Return how many records of each class (`Drop`) found no room since the start."""
        counts = np.zeros((DROPS, self._bpf.libbpf_num_possible_cpus()), "<u8")
        for index in range(DROPS):
            key = np.array([index], "<u4")
            self._bpf.call(
                "bpf_map_lookup_elem", self.maps["drops"], key.ctypes.data, counts[index].ctypes.data
            )
        total: NDArray[np.uint64] = counts.sum(axis=1, dtype=np.uint64)
        # A program that was not run, since it was running already, has made no record of what it would have seen.
        total[Drop.VITAL] += np.uint64(sum(each.missed for each in self.costs()))
        return total

    def sums(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return keys and values of the sums of reads and writes, as they are."""
        return self._places.all() if self._places is not None else (np.zeros(0, SUM_KEY), np.zeros(0, SUM))

    def forget_sums(self, keys: NDArray[Any]) -> None:
        """Make room: these processes have ended, and their sums were read."""
        if self._places is not None:
            self._places.forget(keys)

    def costs(self) -> list[Cost]:
        """Return what each program has cost."""
        found = []
        for name in self._objects:
            if name in self.missing:
                continue
            for program in self._programs(name):
                # struct bpf_prog_info: run_time_ns, run_cnt and, since 5.12, recursion_misses, from 192 on.
                info, size = np.zeros(29, "<u8"), ctypes.c_uint32(232)
                self._bpf.call(
                    "bpf_obj_get_info_by_fd",
                    self._bpf.bpf_program__fd(program),
                    info.ctypes.data,
                    ctypes.byref(size),
                )
                title = self._bpf.bpf_program__name(program).decode()
                found.append(Cost(title, int(info[25]), int(info[24]), int(info[26])))
        return found

    def enable_stats(self) -> int:
        """Have the kernel count runs and time of programs until the returned descriptor is closed."""
        return self._bpf.call("bpf_enable_stats", _STATS_RUN_TIME)

    def _put(self, name: str, key: NDArray[Any], value: NDArray[Any]) -> None:
        self._bpf.call("bpf_map_update_elem", self.maps[name], key.ctypes.data, value.ctypes.data, 0)

    def close(self) -> None:
        """Detach and unload. Idempotent."""
        for cgroup_id in list(self._of_cgroup):
            for link in self._of_cgroup.pop(cgroup_id):
                self._bpf.bpf_link__destroy(link)
        while self._guarded:
            os.close(self._guarded.popitem()[1][0])
        while self._links:
            self._bpf.bpf_link__destroy(self._links.pop())
        if self._places is not None:
            self._places.close()
            self._places = None
        while self._objects:
            self._bpf.bpf_object__close(self._objects.popitem()[1])
        self.maps.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _wait_for_programs() -> None:
    """Wait until each program that runs now has ended: the kernel runs them under RCU, of which this is the end."""
    if ctypes.CDLL(None).syscall(_SYS_MEMBARRIER[platform.machine()], _MEMBARRIER_GLOBAL, 0, 0) != 0:
        # A kernel without it, or one that refuses it: what runs now has ended by then, unless it was held up.
        time.sleep(_A_WHILE_S)


def _raise_memlock() -> None:
    """Kernels before 5.11 count BPF memory against RLIMIT_MEMLOCK; later ones do not look at it."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _explain(error: OSError, messages: Iterable[str]) -> str:
    said = [line for line in messages if line.startswith("libbpf:") and "failed to load object" not in line]
    last = f" ({said[-1].removeprefix('libbpf: ').strip()})" if said else ""
    return f"{(error.strerror or str(error)).lower()}{last}"


def _failure(name: str, error: OSError, why: str) -> KernelError:
    message = f"the BPF programs `{name}` cannot be loaded: {why}"
    if error.errno == errno.EPERM:
        return KernelError(
            message,
            code="kernel_denied",
            hint="it needs root, or CAP_BPF and CAP_PERFMON; see `agentguard doctor`",
        )
    if error.errno == errno.ENOMEM:
        return KernelError(
            message,
            code="kernel_unavailable",
            hint="free memory, or raise RLIMIT_MEMLOCK on a kernel before 5.11",
        )
    return KernelError(
        message, code="kernel_unsupported", hint="`agentguard doctor` shows what this kernel lacks"
    )

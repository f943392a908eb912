"""The network programs of one agent: loaded onto its cgroup, pinned there, and told the rules."""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import os
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import ConfigError, KernelError
from agentguard.kernel._libbpf import libbpf
from agentguard.kernel._objects import read_object
from agentguard.kernel._pins import COMPLETE, pin_folder, remove_pins
from agentguard.kernel._probe import unix_hooks
from agentguard.kernel.egress import _layout as layout
from agentguard.kernel.egress._addresses import AddressTable, Holding, verdict_of
from agentguard.kernel.egress._layout import NetCount, NetEffect, NetFlag
from agentguard.kernel.egress._proxy import Wanted

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from agentguard.kernel._cgroups import Cgroup
    from agentguard.kernel._rules import KernelPolicy, UnixRule
    from agentguard.kernel.egress._addresses import Network

OBJECT, UNIX = "net", "unix"
# What libbpf 1.1 does not know: a section's name there -> the type of attachment in linux/bpf.h.
_BY_HAND = {"on_connect_unix": 49, "on_sendmsg_unix": 50}
_SOCK_ADDR = 18
_MOST_PREFIXES = 65536
_MARK = 0xA0000000
_MOST_SOCKETS = 1024
_MAPS = (
    "net_config",
    "net_ring",
    "net_counts",
    "net_moves",
    "allow4",
    "allow6",
    "ports",
    "wanted",
    "flows",
    "unix_allow",
    "seen4",
    "seen6",
)
_NO_FLAGS = NetFlag(0)
_EFFECTS = {"enforce": True, "freeze": True, "kill": True, "observe": False, "warn": False}


class Listening(msgspec.Struct, frozen=True):
    """On which ports of 127.0.0.1 and ::1 the proxy and the resolver are; 0 is nowhere."""

    proxy4: int = 0
    proxy6: int = 0
    dns4: int = 0
    dns6: int = 0


class NetEnforcer:
    """Holds an agent's cgroup to rules about addresses and unix sockets.

    The links are pinned: they outlive this process, and end with the cgroup, or with `remove`. Another enforcer for
    the same cgroup takes over what is pinned. `missing` says what this kernel lacks, and why.
    """

    def __init__(self, cgroup: Cgroup, *, pinned: bool = True) -> None:
        """Load and attach, or take over. Until `update` everything is denied.

        Raises:
            KernelError: the kernel refuses, or there is no bpffs.
            IntegrityError: the programs are not those that were shipped.
        """
        self.cgroup = cgroup
        self.maps: dict[str, int] = {}
        self.missing: dict[str, str] = {}
        self.taken_over = False
        self._bpf = libbpf()
        self._objects: list[int] = []
        self._links: list[int] = []
        self._held: dict[str, dict[bytes, bytes]] = {
            "allow4": {},
            "allow6": {},
            "ports": {},
            "unix_allow": {},
        }
        self._table_number = 0
        self._generation = 1
        self.folder = pin_folder(cgroup) if pinned else None
        try:
            if self.folder is not None and (self.folder / COMPLETE).exists():
                self._take_over(self.folder)
            else:
                if self.folder is not None:
                    remove_pins(self.folder)
                if not (unix := unix_hooks()).ok:
                    self.missing[UNIX] = unix.detail
                self._load()
                if self.folder is not None:
                    self._pin(self.folder)
        except OSError as error:
            self._undo()
            raise _failure(error, self._bpf.messages) from None
        except BaseException:
            self._undo()
            raise

    def _load(self) -> None:
        content = read_object(OBJECT)
        del self._bpf.messages[:]
        opened = self._bpf.pointer("bpf_object__open_mem", content, len(content), None)
        self._objects.append(opened)
        programs = self._walk("bpf_object__next_program", opened)
        for each in list(programs):
            if (kind := _BY_HAND.get(self._bpf.bpf_program__name(each).decode())) is None:
                continue
            if UNIX in self.missing:
                self._bpf.call("bpf_program__set_autoload", each, False)
                programs.remove(each)
                continue
            self._bpf.call("bpf_program__set_type", each, _SOCK_ADDR)
            self._bpf.call("bpf_program__set_expected_attach_type", each, kind)
        self._bpf.call("bpf_object__load", opened)
        for each in self._walk("bpf_object__next_map", opened):
            self.maps[self._bpf.bpf_map__name(each).decode()] = self._bpf.bpf_map__fd(each)
        # INVARIANT: before anything is attached, what has no rule is denied.
        self.configure(Listening(), enforced=True)
        self._links += [
            self._bpf.pointer("bpf_program__attach_cgroup", each, self.cgroup.fd) for each in programs
        ]

    def _walk(self, function: str, opened: int) -> list[int]:
        found, each = [], None
        while (each := getattr(self._bpf, function)(opened, each)) is not None:
            found.append(each)
        return found

    def _pin(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        for index, link in enumerate(self._links):
            self._bpf.call("bpf_link__pin", link, bytes(folder / f"link{index}"))
        for name in _MAPS:
            if name in self.maps:
                self._bpf.call("bpf_obj_pin", self.maps[name], bytes(folder / name))
        # Last: whoever finds less than all of it begins anew.
        self._bpf.call("bpf_obj_pin", self.maps["net_config"], bytes(folder / COMPLETE))

    def _take_over(self, folder: Path) -> None:
        for name in _MAPS:
            if (folder / name).exists():
                self.maps[name] = self._bpf.call("bpf_obj_get", bytes(folder / name))
        if not (unix := unix_hooks()).ok:
            self.missing[UNIX] = unix.detail
        known = self._lookup("net_config", bytes(4), layout.NET_CONFIG.size) or bytes(layout.NET_CONFIG.size)
        version, *_, self._generation = layout.NET_CONFIG.unpack(known)
        if version != layout.VERSION:
            raise KernelError(
                f"what is pinned at {folder} is of another version ({version})",
                code="kernel_unavailable",
                hint="end the agent, and the next run loads anew",
            )
        self._read_held()
        self.taken_over = True

    def _read_held(self) -> None:
        sizes = {"allow4": (8, 8), "allow6": (20, 8), "ports": (8, 4), "unix_allow": (112, 4)}
        for name, (key_size, value_size) in sizes.items():
            for key in self._keys(name, key_size):
                self._held[name][key] = self._lookup(name, key, value_size) or bytes(value_size)
        self._table_number = max((_number(key) for key in self._held["ports"]), default=0)

    def _keys(self, name: str, size: int) -> list[bytes]:
        found: list[bytes] = []
        buffer = ctypes.create_string_buffer(size)
        while self._bpf.bpf_map_get_next_key(self.maps[name], found[-1] if found else None, buffer) == 0:
            found.append(buffer.raw)
        return found

    def configure(self, listening: Listening, *, enforced: bool, flags: NetFlag = _NO_FLAGS) -> None:
        """Say where the proxy and the resolver are, and whether denials are carried out."""
        if listening.proxy4 or listening.proxy6:
            flags |= NetFlag.PROXY
        if listening.dns4 or listening.dns6:
            flags |= NetFlag.RESOLVER
        if enforced:
            flags |= NetFlag.ENFORCE
        value = layout.NET_CONFIG.pack(
            layout.VERSION, flags, listening.proxy4, listening.proxy6, listening.dns4, listening.dns6, self._mark(),
            self._generation,
        )  # fmt: skip
        self._put("net_config", bytes(4), value)

    def _mark(self) -> int:
        # Beyond what a process may choose for itself, and another one for each cgroup; queues look at the last four
        # bits, in which 0 is the ordinary.
        return _MARK | (self.cgroup.id & 0xFFFFFF) << 4

    def update(
        self, policy: KernelPolicy, listening: Listening | None = None, *, flags: NetFlag = _NO_FLAGS
    ) -> None:
        """Let the policy hold from now on. At each moment of the change an address is decided by the old or the new one.

        Raises:
            ConfigError: a rule is none, or there are more than there is room for. What held until now still holds.
        """
        table = AddressTable(policy.networks)
        sockets = _socket_entries(policy.sockets)
        if len(table.holdings) > _MOST_PREFIXES or len(sockets) > _MOST_SOCKETS:
            raise ConfigError(
                f"there are more rules about the network than the kernel's tables hold ({_MOST_PREFIXES} prefixes, {_MOST_SOCKETS} sockets)",
                hint="join neighbouring prefixes into one",
            )
        four, six, ports = self._entries(table.holdings)
        # Tables of ports are numbered anew each time: the new ones are there before a prefix names them, the old ones
        # until none does.
        self._replace("ports", {**self._held["ports"], **ports})
        self._replace("allow4", four)
        self._replace("allow6", six)
        self._replace("ports", ports)
        self._replace("unix_allow", sockets)
        enforced = _EFFECTS[policy.mode]
        self._next_generation()
        # Where nothing is carried out nothing is led elsewhere either.
        self.configure((listening if enforced else None) or Listening(), enforced=enforced, flags=flags)

    def _next_generation(self) -> None:
        """Have the kernel forget what it has seen allowed, once the rules are in place."""
        self._generation = (self._generation + 1) & 0xFFFFFFFF
        if self._generation % layout.GENERATIONS:
            return
        # Of IPv4 the lower half is kept, and begins again: what is left from the first time must not hold.
        self._generation += 1
        for slot in range(layout.SEEN):
            self._put("seen4", slot.to_bytes(4, "little"), bytes(8))

    def _entries(
        self, holdings: Mapping[Network, Holding]
    ) -> tuple[dict[bytes, bytes], dict[bytes, bytes], dict[bytes, bytes]]:
        four: dict[bytes, bytes] = {}
        six: dict[bytes, bytes] = {}
        ports: dict[bytes, bytes] = {}
        # Tables of ports that hold for many prefixes are kept once, and never changed while one refers to them.
        tables: dict[tuple[tuple[int, int], ...], int] = {}
        for network, holding in holdings.items():
            number = 0
            if holding.ports:
                content = tuple(sorted(holding.ports.items()))
                number = tables.get(content, 0)
                if not number:
                    self._table_number = self._table_number % 0xFFFFFFFF + 1
                    number = tables[content] = self._table_number
                    for port, verdict in content:
                        ports[layout.PORT.pack(number, port)] = verdict.to_bytes(4, "little")
            shape, entries = (layout.LPM4, four) if network.version == 4 else (layout.LPM6, six)  # noqa: PLR2004 - of IP
            entries[shape.pack(network.prefixlen, network.network_address.packed)] = layout.PREFIX.pack(
                holding.verdict, number
            )
        return four, six, ports

    def _replace(self, name: str, wanted: Mapping[bytes, bytes]) -> None:
        held = self._held[name]
        for key, value in steps(held, wanted):
            if value is None:
                self._bpf.bpf_map_delete_elem(self.maps[name], key)
                del held[key]
            else:
                self._put(name, key, value)
                held[key] = value

    def find_wanted(self, writer: asyncio.StreamWriter) -> Wanted | None:
        """Return where a connection to the proxy wanted to go; None for what the programs did not lead here."""
        host, port = writer.get_extra_info("peername")[:2]
        return self.take_flow(host, port)

    def take_flow(self, host: str, port: int) -> Wanted | None:
        """Return where the connection from this end wanted to go, once."""
        key = layout.END.pack(_sixteen(host), port)
        value = self._lookup("flows", key, layout.FLOW.size)
        if value is None:
            return None
        self._bpf.bpf_map_delete_elem(self.maps["flows"], key)
        raw, wanted_port, pid, _, _ = layout.FLOW.unpack(value)
        address = ipaddress.IPv6Address(raw)
        return Wanted(address.ipv4_mapped or address, wanted_port, pid)

    def counts(self) -> dict[NetCount, int]:
        """Return what was denied, redirected, and not told for want of room, since the programs were loaded."""
        size = self._bpf.libbpf_num_possible_cpus() * 8
        found = {}
        for each in NetCount:
            value = self._lookup("net_counts", int(each).to_bytes(4, "little"), size) or b""
            found[each] = sum(int.from_bytes(value[at : at + 8], "little") for at in range(0, size, 8))
        return found

    def _put(self, name: str, key: bytes, value: bytes) -> None:
        self._bpf.call("bpf_map_update_elem", self.maps[name], key, value, 0)

    def _lookup(self, name: str, key: bytes, size: int) -> bytes | None:
        buffer = ctypes.create_string_buffer(size)
        return buffer.raw if self._bpf.bpf_map_lookup_elem(self.maps[name], key, buffer) == 0 else None

    def programs(self) -> list[tuple[str, int]]:
        """Return name and descriptor of each program that this one has loaded, for statistics."""
        return [
            (self._bpf.bpf_program__name(each).decode(), self._bpf.bpf_program__fd(each))
            for opened in self._objects
            for each in self._walk("bpf_object__next_program", opened)
        ]

    def close(self) -> None:
        """Let go of it: what is pinned stays and holds on. Idempotent."""
        self._free()

    def remove(self) -> None:
        """Take the programs off the cgroup. Idempotent."""
        self._undo()

    def _undo(self) -> None:
        if self.folder is not None:
            remove_pins(self.folder)
        self._free()

    def _free(self) -> None:
        while self._links:
            # A pinned link is kept by its pin.
            self._bpf.bpf_link__destroy(self._links.pop())
        if self.taken_over:
            for descriptor in self.maps.values():
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        self.maps.clear()
        while self._objects:
            self._bpf.bpf_object__close(self._objects.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


def steps(held: Mapping[bytes, bytes], wanted: Mapping[bytes, bytes]) -> list[tuple[bytes, bytes | None]]:
    """Return what to write (a key and its value, None to delete it) so that `held` becomes `wanted`.

    INVARIANT: after each step an address is decided as by `held` or as by `wanted`. What is written is written from the
    longest prefix on, so that no shorter one that is new decides first; what goes, goes from the shortest on, so that
    none that goes uncovers another one that goes.
    """
    new = [key for key in sorted(wanted, key=_number, reverse=True) if held.get(key) != wanted[key]]
    gone = sorted(held.keys() - wanted.keys(), key=_number)
    return [*((key, wanted[key]) for key in new), *((key, None) for key in gone)]


def _number(key: bytes) -> int:
    return int.from_bytes(key[:4], "little")


def _sixteen(host: str) -> bytes:
    address = ipaddress.ip_address(host)
    if address.version == 6:  # noqa: PLR2004 - of IP
        return address.packed
    return bytes(10) + b"\xff\xff" + address.packed


def _socket_entries(rules: Sequence[UnixRule]) -> dict[bytes, bytes]:
    found = {}
    for index, rule in enumerate(rules):
        abstract = rule.path.startswith("@")
        name = (b"\0" + os.fsencode(rule.path[1:])) if abstract else os.fsencode(os.path.normpath(rule.path))
        if not (abstract or rule.path.startswith("/")) or not 1 < len(name) < layout.UNIX_PATH - 1:
            raise ConfigError(
                f"`{rule.path}` is no unix socket",
                hint="write an absolute path of at most 106 bytes, or @NAME",
            )
        key = layout.UNIX.pack(len(name), name)
        found[key] = verdict_of(NetEffect.ALLOW, index).to_bytes(4, "little")
    return found


def _failure(error: OSError, messages: Sequence[str]) -> KernelError:
    said = [line for line in messages if line.startswith("libbpf:") and "failed to load object" not in line]
    why = (error.strerror or str(error)).lower() + (
        f" ({said[-1].removeprefix('libbpf: ').strip()})" if said else ""
    )
    denied = isinstance(error, PermissionError)
    return KernelError(
        f"the network programs cannot be loaded: {why}",
        code="kernel_denied" if denied else "kernel_unsupported",
        hint="run as root; see `agentguard doctor`",
    )


def listening_on(four: tuple[int, int], six: tuple[int, int]) -> Listening:
    """Return where proxy and resolver are, from their ports for IPv4 and for IPv6."""
    return Listening(proxy4=four[0], proxy6=six[0], dns4=four[1], dns6=six[1])

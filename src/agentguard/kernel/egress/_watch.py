"""Reading what the network programs denied, and telling it in words."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import select
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from agentguard.kernel._ring import Ring
from agentguard.kernel.egress import _layout as layout
from agentguard.kernel.egress._addresses import effect_of, rule_index
from agentguard.kernel.egress._denial import Denial, allow_domain, allow_host, allow_path
from agentguard.kernel.egress._layout import NetCount, NetEffect, NetKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.kernel._rules import KernelPolicy
    from agentguard.kernel.egress._enforcer import NetEnforcer

RING_BYTES = 1 << 20
_WAIT_MS = 200
_PROTOCOLS = {
    1: "icmp",
    6: "tcp",
    17: "udp",
    58: "icmp6",
    132: "sctp",
    136: "udplite",
    255: "raw",
    262: "mptcp",
}
_RAW = 3
# What every program that uses libc tries, whether it is there or not.
_EXPECTED = frozenset(("/var/run/nscd/socket", "/run/nscd/socket"))


def denial_of(record: Any, policy: KernelPolicy) -> Denial:
    """Return what a record of the ring says, in words; the rules are those of `policy`."""
    kind = NetKind(int(record["kind"]))
    verdict = int(record["verdict"])
    index, effect = rule_index(verdict), effect_of(verdict)
    who: dict[str, Any] = {
        "pid": int(record["pid"]), "program": bytes(record["comm"]).decode(errors="replace"), "enforced": bool(record["enforced"]),
    }  # fmt: skip
    if kind is NetKind.SOCKET:
        return Denial("socket", _socket(record), "only plain TCP and UDP sockets are for agents", **who)
    if kind is NetKind.UNIX:
        path = _path(record)
        return Denial(
            "unix", f"unix {path or '(no name)'}", "no rule allows this socket", allow=allow_path(path), **who
        )
    raw = bytes(record["address"])
    address = ipaddress.IPv6Address(raw)
    host, port = str(address.ipv4_mapped or address), int(record["port"])
    protocol = _PROTOCOLS.get(int(record["protocol"]), f"protocol {int(record['protocol'])}")
    rule = policy.networks[index].rule if index is not None and index < len(policy.networks) else ""
    reason, allow = _why(effect, rule, protocol, host, port)
    shown = f"[{host}]" if ":" in host else host
    return Denial(
        "connect" if kind is NetKind.CONNECT else "send", f"{protocol} {shown}:{port}", reason, rule, allow,
        needs_approval=effect is NetEffect.ASK, **who,
    )  # fmt: skip


def _why(effect: NetEffect, rule: str, protocol: str, host: str, port: int) -> tuple[str, str]:
    allow = allow_host(host, port)
    if effect is NetEffect.DENY:
        return f"rule `{rule}` denies this address", ""
    if effect is NetEffect.ASK:
        return f"rule `{rule}` asks for an approval", allow
    if protocol == "udp" and port == 443:  # noqa: PLR2004 - QUIC
        return "no rule allows this address (a program that uses QUIC falls back to TCP)", allow
    if protocol == "tcp" and port in {80, 443}:
        return "no rule allows this address", f"{allow_domain('NAME', port)} for its name, or {allow}"
    return "no rule allows this address", allow


def _socket(record: Any) -> str:
    kind, protocol = int(record["type"]), int(record["protocol"])
    name = _PROTOCOLS.get(protocol, f"protocol {protocol}")
    return f"raw socket ({name})" if kind == _RAW else f"socket ({name})"


def _path(record: Any) -> str:
    raw = bytes(record["path"])[: int(record["length"])]
    return "@" + os.fsdecode(raw[1:]) if raw.startswith(b"\0") else os.fsdecode(raw)


class DenialReader:
    """Reads an enforcer's ring in a thread of its own, and hands each denial on. `lost` had no room in the ring."""

    def __init__(
        self, enforcer: NetEnforcer, policy: KernelPolicy, on_denial: Callable[[Denial], None]
    ) -> None:
        self.policy = policy
        self._enforcer, self._on_denial = enforcer, on_denial
        self._descriptor = enforcer.maps["net_ring"]
        self._ring = Ring(self._descriptor, RING_BYTES, layout.RECORD)
        self._reading = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="agentguard-denials", daemon=True)
        self.errors = 0

    @property
    def lost(self) -> int:
        """How many denials were carried out and could not be told."""
        return self._enforcer.counts()[NetCount.LOST]

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def drain(self) -> None:
        """Hand on what is there now."""
        with self._reading:
            while batch := self._ring.drain():
                for record in np.frombuffer(batch, layout.RECORD):
                    self._hand_on(record)

    def _hand_on(self, record: Any) -> None:
        try:
            denial = denial_of(record, self.policy)
            if denial.kind == "unix" and denial.target.removeprefix("unix ") in _EXPECTED:
                return
            self._on_denial(denial)
        except Exception:  # noqa: BLE001 - the reader must go on; what failed is counted
            self.errors += 1

    def _run(self) -> None:
        poller = select.epoll()
        poller.register(self._descriptor, select.EPOLLIN)
        with contextlib.closing(poller):
            while not self._stop.is_set():
                poller.poll(_WAIT_MS / 1000)
                self.drain()

    def stop(self) -> None:
        """Hand on the rest, and end. Idempotent."""
        if self._stop.is_set():
            return
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        self.drain()
        self._ring.close()

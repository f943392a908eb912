"""What holding a network costs: each decision with 10,000 prefixes, a new name, a freeze, the proxy. Needs root."""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import os
import random
import secrets
import socket
import statistics
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

from agentguard.kernel import Cgroup
from agentguard.kernel._libbpf import libbpf
from agentguard.kernel._rules import DomainRule, KernelPolicy, NetRule
from agentguard.kernel.egress import Freezer, NetworkGuard, Upstream
from agentguard.kernel.egress._enforcer import NetEnforcer
from benchmarks.report import table

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIXES = 10_000
CALLS = 200_000
ROUNDS = 11
JOIN = 'read -r _ && exec "$@"'
# Connected and unconnected datagrams to loopback: the decision alone, and no network behind it.
CONNECTS = """
import socket, sys
host, count = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ":" in host else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM)
for _ in range(count):
    s.connect((host, 9))
"""
SENDS = """
import socket, sys
host, count = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ":" in host else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM)
for _ in range(count):
    try:
        s.sendto(b"x", (host, 9))
    except OSError:
        pass
"""
SPIN = "while True: sum(range(1000))"
GET = """
import socket, sys, time
host, port, name, count = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode(), int(sys.argv[4])
began = time.perf_counter()
for _ in range(count):
    s = socket.create_connection((host, port))
    s.sendall(b"GET / HTTP/1.1\\r\\nHost: " + name + b"\\r\\nConnection: close\\r\\n\\r\\n")
    while s.recv(4096):
        pass
    s.close()
print((time.perf_counter() - began) / count)
"""


@contextlib.contextmanager
def cgroup() -> Iterator[Cgroup]:
    made = Cgroup.make(f"bench-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        yield made
    finally:
        made.remove()


def run_in(group: Cgroup, code: str, *arguments: object) -> str:
    command = ["/bin/sh", "-c", JOIN, "sh", sys.executable, "-I", "-S", "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        group.add(process.pid)
        said, _ = process.communicate("\n")
    return said


def policy(
    networks: tuple[NetRule, ...] = (), domains: tuple[DomainRule, ...] = (), version: int = 1
) -> KernelPolicy:
    return KernelPolicy(version, "", "bench", "enforce", (), networks, domains, ())


def prefixes(count: int) -> tuple[NetRule, ...]:
    chance = random.Random(1)
    found: dict[str, tuple[int, ...]] = {"127.0.0.0/8": (), "::1/128": ()}
    while len(found) < count:
        bits = chance.randrange(8, 33)
        number = chance.getrandbits(32) >> (32 - bits) << (32 - bits)
        found.setdefault(str(ipaddress.IPv4Network((number, bits))), chance.choice(((), (443,), (80, 443))))
        wide = chance.randrange(16, 65)
        number = chance.getrandbits(128) >> (128 - wide) << (128 - wide)
        found.setdefault(str(ipaddress.IPv6Network((number, wide))), ())
    return tuple(NetRule(prefix, ports, "allow", "bench") for prefix, ports in found.items())


def counted(enforcer: NetEnforcer) -> dict[str, tuple[int, int]]:
    """Return runs and nanoseconds of each program, as the kernel counts them."""
    found = {}
    for name, descriptor in enforcer.programs():
        # struct bpf_prog_info: run_time_ns and run_cnt are at 192 and 200.
        info, size = ctypes.create_string_buffer(232), ctypes.c_uint32(232)
        libbpf().call("bpf_obj_get_info_by_fd", descriptor, info, ctypes.byref(size))
        found[name] = int.from_bytes(info.raw[200:208], "little"), int.from_bytes(info.raw[192:200], "little")
    return found


def decisions() -> None:
    rows = []
    stats = libbpf().call("bpf_enable_stats", 0)
    try:
        for count in (2, PREFIXES):
            with cgroup() as group, NetEnforcer(group) as enforcer:
                began = time.process_time()
                enforcer.update(policy(prefixes(count)))
                filled = time.process_time() - began
                for title, code, host, program in (
                    ("connect, IPv4", CONNECTS, "127.0.0.1", "on_connect4"),
                    ("connect, IPv6", CONNECTS, "::1", "on_connect6"),
                    ("connect, IPv4 over IPv6", CONNECTS, "::ffff:127.0.0.1", "on_connect6"),
                    ("send, IPv4", SENDS, "127.0.0.1", "on_sendmsg4"),
                    ("send, IPv6", SENDS, "::1", "on_sendmsg6"),
                ):
                    each = []
                    for _ in range(3):
                        runs, spent = counted(enforcer)[program]
                        run_in(group, code, host, CALLS // 3)
                        more, later = counted(enforcer)[program]
                        each.append((later - spent) / (more - runs))
                    rows.append((f"{count:,} prefixes", title, f"{statistics.median(each):.0f} ns"))
                rows.append(
                    (
                        f"{count:,} prefixes",
                        "all of them told to the kernel",
                        f"{filled * 1000:.0f} ms of processor time",
                    )
                )
    finally:
        os.close(stats)
    table(f"a decision, as the kernel counts it ({CALLS:,} calls)", ("rules", "what", "median"), rows)


def new_names() -> None:
    """From the call that allows a name until the proxy lets it through, connection and all."""
    with cgroup() as group:
        listener, port = _serve()
        upstream = Upstream([_zone()], inside=[ipaddress.ip_network("127.0.0.0/8")])
        name = "warm.example"
        updates, through = [], []
        with NetworkGuard(
            group,
            policy(domains=(DomainRule(name, (port,), "b"),)),
            on_denial=lambda _: None,
            upstream=upstream,
        ) as guard:
            for number in range(ROUNDS * 3):
                name = f"n{number}.example"
                began = time.perf_counter()
                guard.update(policy(domains=(DomainRule(name, (port,), "b"),), version=number + 2))
                updates.append(time.perf_counter() - began)
                seconds = float(run_in(group, GET, "192.0.2.1", port, name, 1))
                through.append(updates[-1] + seconds)
            steady = float(run_in(group, GET, "192.0.2.1", port, name, 300))
        with NetworkGuard(
            group, policy((NetRule("127.0.0.1/32", (port,), "allow", "b"),)), on_denial=lambda _: None
        ) as guard:
            direct = float(run_in(group, GET, "127.0.0.1", port, "x", 300))
        listener.close()
    table(
        f"a new name ({len(updates)} of them)", ("what", "median", "most"),
        [
            ("it holds, in the kernel and in the proxy", *_ms(updates)),
            ("and the first request has been answered, its name looked up", *_ms(through)),
        ],
    )  # fmt: skip
    table(
        "a request and its answer, one connection each (300 of them)", ("how", "mean"),
        [("allowed by its address, and direct", f"{direct * 1000:.2f} ms"), ("through the proxy, by its name", f"{steady * 1000:.2f} ms")],
    )  # fmt: skip


def _ms(seconds: list[float]) -> tuple[str, str]:
    return f"{statistics.median(seconds) * 1000:.2f} ms", f"{max(seconds) * 1000:.2f} ms"


def _serve() -> tuple[socket.socket, int]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                made, _ = listener.accept()
                with made:
                    made.recv(4096)
                    made.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    threading.Thread(target=serve, daemon=True).start()
    return listener, int(listener.getsockname()[1])


def _zone() -> tuple[str, int]:
    """Serve a zone in which every name is 127.0.0.1."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            wire, peer = made.recvfrom(512)
            end = wire.index(b"\0", 12) + 5
            is_a = wire[end - 3] == 1
            answer = bytes.fromhex("c00c00010001000000") + b"\x3c\0\4\x7f\0\0\1" if is_a else b""
            made.sendto(
                wire[:2] + b"\x81\x80\0\1" + bytes((0, is_a)) + bytes(4) + wire[12:end] + answer, peer
            )

    threading.Thread(target=serve, daemon=True).start()
    return "127.0.0.1", int(made.getsockname()[1])


def freezes() -> None:
    frozen, thawed, killed = [], [], []
    for number in range(ROUNDS):
        with cgroup() as group:
            busy = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(20)]
            for each in busy:
                group.add(each.pid)
            freezer = Freezer(group)
            for _ in range(3):
                began = time.perf_counter()
                freezer.freeze()
                frozen.append(time.perf_counter() - began)
                began = time.perf_counter()
                freezer.thaw()
                thawed.append(time.perf_counter() - began)
            if number % 2:
                freezer.freeze()
            began = time.perf_counter()
            freezer.kill()
            group.wait_empty(5)
            killed.append(time.perf_counter() - began)
            for each in busy:
                each.wait()
    table(
        f"an agent of 20 busy processes ({len(frozen)} times)", ("what", "median", "most"),
        [("frozen", *_ms(frozen)), ("thawed", *_ms(thawed)), ("killed, and all of it ended", *_ms(killed))],
    )  # fmt: skip


def loading() -> None:
    cpu, wall, again = [], [], []
    with cgroup() as group:
        for _ in range(ROUNDS):
            began, clock = time.process_time(), time.perf_counter()
            enforcer = NetEnforcer(group)
            cpu.append(time.process_time() - began)
            wall.append(time.perf_counter() - clock)
            enforcer.close()
            clock = time.perf_counter()
            NetEnforcer(group).remove()
            again.append(time.perf_counter() - clock)
    table(
        f"putting it on ({ROUNDS} times)", ("what", "median", "most"),
        [("loaded, attached and pinned", *_ms(wall)), ("of which processor time", *_ms(cpu)), ("taken over from pins, and removed", *_ms(again))],
    )  # fmt: skip


def main() -> None:
    decisions()
    new_names()
    freezes()
    loading()

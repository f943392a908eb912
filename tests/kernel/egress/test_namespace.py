"""A network namespace that leads to the proxy, made by root and by an ordinary user; the programs in it are real."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentguard.core import KernelError
from agentguard.kernel._rules import NetRule
from agentguard.kernel.egress._approval import Answer
from agentguard.kernel.egress._bridge import NamespaceGuard
from agentguard.kernel.egress._namespace import make_sockets, ports_of, receive_sockets, send_sockets
from agentguard.kernel.egress._upstream import Upstream
from egress_lab import LOOPBACK, Site, Zone, cgroup, policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentguard.kernel.egress._denial import Denial
    from agentguard.kernel.egress._service import Sockets

NEWUSER, NEWNET = 0x10000000, 0x40000000
NOBODY = 65534
SYSTEM_PYTHON = "/usr/bin/python3"
AGENT = """
import socket, sys
port = int(sys.argv[1])
def get(host, name):
    try:
        with socket.create_connection((host, port), 5) as s:
            s.sendall(b"GET / HTTP/1.1\\r\\nHost: " + name + b"\\r\\n\\r\\n")
            print(s.getpeername()[0], s.recv(500).split(b"\\r\\n")[-1].decode().strip())
    except OSError as error:
        print(error.strerror)
def look_up(family, host, question=b"\\3api\\7example\\3com\\0"):
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        s.sendto(bytes.fromhex("123401000001000000000000") + question + bytes.fromhex("00010001"), (host, 53))
        answer, whence = s.recvfrom(512)
        print(whence[0], answer[3] & 15, socket.inet_ntoa(answer[-4:]) if answer[7] else "-")
get("93.184.216.34", b"api.example.com")
get("2606:2800:220:1::1", b"api.example.com")
get("93.184.216.34", b"evil.example.com")
look_up(socket.AF_INET, "9.9.9.9")
look_up(socket.AF_INET6, "2620:fe::fe")
look_up(socket.AF_INET, "9.9.9.9", b"\\4evil\\7example\\0")
port = 9
get("93.184.216.34", b"api.example.com")
own = socket.create_server(("127.0.0.1", 0))
socket.create_connection(own.getsockname())
print("own loopback")
"""
SAID = [
    "93.184.216.34 you asked for api.example.com", "2606:2800:220:1::1 you asked for api.example.com",
    "93.184.216.34 agentguard: tcp evil.example.com:{port} is denied: no rule allows this name",
    "9.9.9.9 0 127.0.0.1", "2620:fe::fe 0 127.0.0.1", "9.9.9.9 3 -", "Connection refused", "own loopback",
]  # fmt: skip


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.close()


@pytest.fixture(scope="module")
def zone() -> Iterator[Zone]:
    made = Zone()
    made.records["api.example.com", "A"] = ["127.0.0.1"]
    yield made
    made.close()


def upstream(zone: Zone) -> Upstream:
    return Upstream([zone.place], inside=LOOPBACK, timeout_s=2)


def in_namespace(port: int, then: Callable[[Sockets], None]) -> str:
    """Make a namespace in a thread, let `then` serve its sockets, and return what the agent in it has printed."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    served, said = threading.Event(), []

    def inside() -> None:
        # Of this thread alone.
        assert ctypes.CDLL(None, use_errno=True).unshare(NEWNET) == 0
        send_sockets(there, make_sockets((port,)))
        served.wait(10)
        command = [sys.executable, "-I", "-S", "-c", AGENT, str(port)]
        said.append(subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout)

    thread = threading.Thread(target=inside)
    thread.start()
    with here, there:
        then(receive_sockets(here))
    served.set()
    thread.join()
    return said[0]


@pytest.mark.kernel
def test_every_address_of_a_namespace_leads_to_the_proxy(zone: Zone, site: Site) -> None:
    denials: list[Denial] = []
    guards: list[NamespaceGuard] = []

    def serve(sockets: Sockets) -> None:
        rules = policy(f"api.example.com:{site.port}")
        guards.append(NamespaceGuard(sockets, rules, on_denial=denials.append, upstream=upstream(zone)))
        guards[0].arm()

    said = in_namespace(site.port, serve)
    assert said.splitlines() == [each.format(port=site.port) for each in SAID]
    assert [each.target for each in denials] == [f"tcp evil.example.com:{site.port}", "dns evil.example"]
    (guard,) = guards
    assert (guard.denials, guard.missing) == (2, {})
    guard.update(policy(version=3))
    with pytest.raises(KernelError) as caught:
        guard.update(policy("api.example.com", version=2))
    assert caught.value.code == "kernel_policy_refused"
    guard.close()
    guard.close()


@pytest.mark.kernel
def test_person_is_asked_while_the_agent_of_a_namespace_is_frozen(zone: Zone, site: Site) -> None:
    asked: list[str] = []

    def ask(denial: Denial) -> Answer:
        asked.append(denial.target)
        return Answer.RUN if "api" in denial.target else Answer.DENY

    guards: list[NamespaceGuard] = []
    with cgroup() as group:

        def serve(sockets: Sockets) -> None:
            guards.append(
                NamespaceGuard(
                    sockets,
                    policy(mode="freeze"),
                    on_denial=lambda _: None,
                    upstream=upstream(zone),
                    ask=ask,
                    cgroup=group,
                )
            )
            guards[0].arm()

        said = in_namespace(site.port, serve)
        guards[0].close()
    assert said.splitlines() == [each.format(port=site.port) for each in SAID]
    assert asked == [
        f"tcp api.example.com:{site.port}",
        f"tcp evil.example.com:{site.port}",
        "dns evil.example",
    ]


@pytest.mark.kernel
def test_kill_mode_ends_the_agent_of_a_namespace(zone: Zone, site: Site) -> None:
    with cgroup() as group, subprocess.Popen(["/bin/sleep", "60"]) as victim:
        group.add(victim.pid)

        def serve(sockets: Sockets) -> None:
            guard = NamespaceGuard(
                sockets,
                policy("x.example", mode="kill"),
                on_denial=lambda _: None,
                upstream=upstream(zone),
                cgroup=group,
            )
            guard.arm()
            guards.append(guard)

        guards: list[NamespaceGuard] = []
        in_namespace(site.port, serve)
        assert victim.wait(10) == -9
        guards[0].close()


@pytest.mark.skipif(os.geteuid() != 0, reason="changes its user")
def test_ordinary_user_makes_such_a_namespace(zone: Zone, site: Site) -> None:
    if not Path(SYSTEM_PYTHON).exists():
        pytest.skip("there is no Python that every user may run")
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    reader, writer = os.pipe()
    go_reader, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            library = ctypes.CDLL(None, use_errno=True)
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            library.prctl(4, 1)
            if library.unshare(NEWUSER | NEWNET) != 0:
                os._exit(2)
            send_sockets(there, make_sockets((site.port,)))
            os.read(go_reader, 1)
            os.dup2(writer, 1)
            os.execv(SYSTEM_PYTHON, [SYSTEM_PYTHON, "-I", "-S", "-c", AGENT, str(site.port)])  # noqa: S606 - our own
        finally:
            os._exit(1)
    os.close(writer)
    there.close()
    try:
        sockets = receive_sockets(here)
    except KernelError:
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2:
            pytest.skip("this system lets users make no namespaces")
        raise
    with NamespaceGuard(
        sockets, policy(f"api.example.com:{site.port}"), on_denial=lambda _: None, upstream=upstream(zone)
    ):
        os.write(go, b"x")
        with os.fdopen(reader) as stream:
            said = stream.read()
        os.waitpid(pid, 0)
    here.close()
    os.close(go)
    os.close(go_reader)
    assert said.splitlines() == [each.format(port=site.port) for each in SAID]


def test_ports_are_those_of_the_rules_and_what_cannot_be_had_is_said() -> None:
    rules = policy(
        "a.example", "b.example:8443",
        networks=(NetRule("10.0.0.0/8", (22, 53), "allow", "a"), NetRule("10.1.0.0/16", (9,), "deny", "b"), NetRule("192.168.0.0/16", (), "allow", "c")),
    )  # fmt: skip
    ports, notes = ports_of(rules)
    assert ports == (22, 80, 443, 8443)
    assert len(notes) == 2
    with pytest.raises(KernelError) as caught:
        ports_of(policy(*(f"a.example:{port}" for port in range(1000, 1100))))
    assert caught.value.code == "policy_unenforceable"


def test_sockets_that_do_not_come_are_an_error() -> None:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with here:
        there.send(b'{"kinds": ["proxy"]}')
        with pytest.raises(KernelError):
            receive_sockets(here)
        there.send(b"nonsense")
        with pytest.raises(KernelError):
            receive_sockets(here)
        there.close()
        with pytest.raises(KernelError):
            receive_sockets(here)

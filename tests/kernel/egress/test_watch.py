from __future__ import annotations

import ipaddress
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from agentguard.core import Principal
from agentguard.kernel import Judge, Seen, Tally
from agentguard.kernel._layout import Kind
from agentguard.kernel._rules import NetRule
from agentguard.kernel._seen import Address
from agentguard.kernel.egress import _layout as layout
from agentguard.kernel.egress._addresses import verdict_of
from agentguard.kernel.egress._enforcer import NetEnforcer
from agentguard.kernel.egress._guard import NetworkGuard
from agentguard.kernel.egress._layout import NetEffect, NetKind
from agentguard.kernel.egress._upstream import Upstream
from agentguard.kernel.egress._watch import DenialReader, denial_of
from egress_lab import LOOPBACK, Site, Zone, cgroup, policy, python_in

if TYPE_CHECKING:
    from agentguard.kernel.egress._denial import Denial

RULES = policy(
    networks=(
        NetRule("10.0.0.0/8", (), "deny", "no-inside"),
        NetRule("10.1.0.0/16", (), "require_approval", "ask"),
    )
)


def record(kind: NetKind, **fields: Any) -> Any:
    made = np.zeros(1, layout.RECORD)
    made["kind"], made["pid"], made["comm"], made["enforced"] = kind, 7, b"curl", 1
    for name, value in fields.items():
        made[name] = value
    return made[0]


def at(host: str, port: int, protocol: int, verdict: int = 0, kind: NetKind = NetKind.CONNECT) -> Any:
    raw = ipaddress.ip_address(host).packed
    raw = raw if len(raw) == 16 else bytes(10) + b"\xff\xff" + raw
    return record(kind, address=np.void(raw), port=port, protocol=protocol, verdict=verdict)


@pytest.mark.parametrize(
    ("seen", "sentence"),
    [
        (at("1.2.3.4", 5432, 6), 'denied: tcp 1.2.3.4:5432 (curl 7): no rule allows this address; to allow it: {effect: allow, actions: [net.connect], resources: ["host:1.2.3.4:5432"]}'),
        (at("2001:db8::1", 443, 6), 'denied: tcp [2001:db8::1]:443 (curl 7): no rule allows this address; to allow it: --allow-domain NAME for its name, or {effect: allow, actions: [net.connect], resources: ["host:[2001:db8::1]:443"]}'),
        (at("1.2.3.4", 443, 17, kind=NetKind.SENDMSG), 'denied: udp 1.2.3.4:443 (curl 7): no rule allows this address (a program that uses QUIC falls back to TCP); to allow it: {effect: allow, actions: [net.connect], resources: ["host:1.2.3.4:443"]}'),
        (at("10.2.3.4", 80, 6, verdict_of(NetEffect.DENY, 0)), "denied: tcp 10.2.3.4:80 (curl 7): rule `no-inside` denies this address"),
        (at("10.1.3.4", 80, 6, verdict_of(NetEffect.ASK, 1)), 'denied: tcp 10.1.3.4:80 (curl 7): rule `ask` asks for an approval; to allow it: {effect: allow, actions: [net.connect], resources: ["host:10.1.3.4:80"]}'),
        (at("1.2.3.4", 0, 132), 'denied: sctp 1.2.3.4:0 (curl 7): no rule allows this address; to allow it: {effect: allow, actions: [net.connect], resources: ["host:1.2.3.4:0"]}'),
        (record(NetKind.SOCKET, type=3, protocol=1), "denied: raw socket (icmp) (curl 7): only plain TCP and UDP sockets are for agents"),
        (record(NetKind.SOCKET, type=1, protocol=262), "denied: socket (mptcp) (curl 7): only plain TCP and UDP sockets are for agents"),
        (record(NetKind.UNIX, path=np.void(b"\0bus".ljust(108, b"\0")), length=4), "denied: unix @bus (curl 7): no rule allows this socket"),
        (record(NetKind.UNIX), "denied: unix (no name) (curl 7): no rule allows this socket"),
    ],
    ids=range(10),
)  # fmt: skip
def test_record_becomes_a_sentence_with_the_line_that_allows_it(seen: Any, sentence: str) -> None:
    assert denial_of(seen, RULES).sentence() == sentence


@pytest.mark.kernel
def test_what_every_program_tries_is_denied_and_not_told() -> None:
    told: list[Denial] = []

    def tell(denial: Denial) -> None:
        told.append(denial)
        raise RuntimeError("whoever is told may fail")

    with cgroup() as group, NetEnforcer(group) as enforcer:
        if "unix" in enforcer.missing:
            pytest.skip(enforcer.missing["unix"])
        reader = DenialReader(enforcer, RULES, tell)
        reader.start()
        for path in ("/var/run/nscd/socket", "/run/other"):
            assert python_in(group, "socket.socket(socket.AF_UNIX).connect(argv[1])", path) == "EPERM"
        reader.stop()
        assert [each.target for each in told] == ["unix /run/other"]
        assert (reader.errors, reader.lost) == (1, 0)


@pytest.mark.kernel
def test_account_names_what_was_wanted_and_not_the_proxy() -> None:
    """What an observer would have seen is made here: the call's thread, its time, and the address of the proxy."""
    site, zone = Site(), Zone()
    zone.records["api.example.com", "A"] = ["127.0.0.1"]
    code = """
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.sendto(bytes.fromhex("123401000001000000000000") + b"\\3api\\7example\\3com\\0" + bytes.fromhex("00010001"), ("9.9.9.9", 53))
        s.recv(512)
        socket.create_connection(("127.0.0.1", int(argv[1])))
        print(os.getpid())
    """
    rules = policy(f"api.example.com:{site.port}")
    tally = Tally(Judge(None, principal=Principal("a"), run="r"))
    with (
        cgroup() as group,
        NetworkGuard(
            group, rules, on_denial=lambda _: None, upstream=Upstream([zone.place], inside=LOOPBACK)
        ) as guard,
    ):
        guard.arm()
        pid = int(python_in(group, code, site.port))
        translated = Tally(Judge(None, principal=Principal("a"), run="r"), translate=guard.translate)
        proxy = Address("inet", "127.0.0.1", guard._listening.proxy4, "tcp")
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        seen = Seen(Kind.CONNECT, now, group.id, pid, 1, tid=pid, ino=5, address=proxy)
        other = Seen(Kind.CONNECT, now, group.id, pid, 1, tid=pid + 1, ino=6, address=proxy)
        for each in (seen, other, Seen(Kind.EXEC, now, group.id, pid, 1, path="/bin/x")):
            tally.note(each)
            translated.note(each)
    site.close()
    zone.close()
    assert {(each.host, each.port) for each in translated.hosts.values()} == {
        ("api.example.com", site.port), ("api.example.com", proxy.port),
    }  # fmt: skip
    assert list(translated.names) == ["api.example.com"]
    assert {each.host for each in tally.hosts.values()} == {"127.0.0.1"}

"""What would be denied of the network, from what was seen."""

from __future__ import annotations

import pytest

from agentguard.kernel._dns import DnsMessage
from agentguard.kernel._layout import Kind
from agentguard.kernel._rules import KernelPolicy, NetRule
from agentguard.kernel._seen import Address, Seen
from agentguard.kernel.egress import Denial, WouldDeny, parse_domain

POLICY = KernelPolicy(
    1, "", "", "warn", (), (NetRule("192.0.2.0/24", (443,), "allow", "a"), NetRule("192.0.2.9/32", (), "deny", "no")),
    (parse_domain("api.example.com"),), (),
)  # fmt: skip


def seen(host: str, port: int, protocol: str = "tcp", kind: Kind = Kind.CONNECT) -> Seen:
    family = "inet6" if ":" in host else "inet"
    return Seen(kind, 1, 1, 7, 1, comm="curl", address=Address(family, host, port, protocol))


@pytest.mark.parametrize(
    ("one", "told"),
    [
        (seen("192.0.2.1", 443), ""),
        (seen("192.0.2.1", 80), "tcp 192.0.2.1:80"),
        (seen("192.0.2.9", 443), "tcp 192.0.2.9:443"),
        (seen("198.51.100.1", 443), ""),
        (seen("198.51.100.2", 443), "tcp evil.example.com:443"),
        (seen("198.51.100.1", 443, "udp", Kind.SENDTO), "udp api.example.com:443"),
        (seen("2001:db8::1", 22), "tcp [2001:db8::1]:22"),
        (seen("2001:db8::1", 22, "udp"), ""),
        (seen("127.0.0.1", 22), ""),
        (seen("203.0.113.1", 53, "udp", Kind.SENDTO), ""),
    ],
)
def test_what_no_rule_allows_is_told_once(one: Seen, told: str) -> None:
    denials: list[Denial] = []
    would = WouldDeny(POLICY, denials.append)
    for name, address in (("api.example.com", "198.51.100.1"), ("evil.example.com", "198.51.100.2")):
        answer = Seen(Kind.DNS, 1, 1, 0, 0, dns=DnsMessage(name, "A", is_answer=True, addresses=(address,)))
        assert list(would.translate(answer)) == [answer]
    for _ in range(2):
        assert list(would.translate(one)) == [one]
    assert [each.target for each in denials] == ([told] if told else [])
    assert not any(each.enforced for each in denials)

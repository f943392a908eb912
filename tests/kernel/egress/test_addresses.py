from __future__ import annotations

import ipaddress
from struct import Struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.core import ConfigError
from agentguard.kernel._rules import KernelEffect, NetRule
from agentguard.kernel.egress._addresses import AddressTable, effect_of, rule_index
from agentguard.kernel.egress._enforcer import steps
from agentguard.kernel.egress._layout import NetEffect

if TYPE_CHECKING:
    from collections.abc import Mapping

STRICTNESS = ("allow", "require_approval", "deny")


def rule(prefix: str, *ports: int, effect: KernelEffect = "allow", name: str = "r") -> NetRule:
    return NetRule(prefix, ports, effect, name)


@pytest.mark.parametrize(
    ("rules", "address", "port", "effect", "index"),
    [
        ((), "1.2.3.4", 80, NetEffect.NONE, None),
        ((rule("1.2.3.4/32", 80),), "1.2.3.4", 80, NetEffect.ALLOW, 0),
        ((rule("1.2.3.4/32", 80),), "1.2.3.4", 81, NetEffect.NONE, None),
        ((rule("1.2.3.4/32"),), "::ffff:1.2.3.4", 81, NetEffect.ALLOW, 0),
        ((rule("::ffff:1.2.0.0/112"),), "1.2.3.4", 1, NetEffect.ALLOW, 0),
        ((rule("::/0"),), "1.2.3.4", 1, NetEffect.NONE, None),
        # The longer prefix decides about what it speaks of, and leaves the rest to the shorter one.
        ((rule("10.0.0.0/8"), rule("10.1.0.0/16", effect="deny")), "10.1.2.3", 1, NetEffect.DENY, 1),
        ((rule("10.0.0.0/8", effect="deny"), rule("10.1.0.0/16")), "10.1.2.3", 1, NetEffect.ALLOW, 1),
        ((rule("10.0.0.0/8"), rule("10.1.0.0/16", 22, effect="deny")), "10.1.2.3", 22, NetEffect.DENY, 1),
        ((rule("10.0.0.0/8"), rule("10.1.0.0/16", 22, effect="deny")), "10.1.2.3", 23, NetEffect.ALLOW, 0),
        # Of two for one prefix the stricter one.
        (
            (rule("10.0.0.0/8"), rule("10.0.0.0/8", effect="require_approval")),
            "10.1.2.3",
            1,
            NetEffect.ASK,
            1,
        ),
        ((rule("10.0.0.0/8", 22), rule("10.0.0.0/8", effect="deny")), "10.1.2.3", 22, NetEffect.DENY, 1),
        ((rule("10.0.0.0/8", effect="deny"), rule("10.0.0.0/8", 22)), "10.1.2.3", 22, NetEffect.DENY, 0),
        ((rule("2001:db8::/32", 443),), "2001:db8:1::", 443, NetEffect.ALLOW, 0),
    ],
)
def test_longest_prefix_that_speaks_of_the_port_decides(
    rules: tuple[NetRule, ...], address: str, port: int, effect: NetEffect, index: int | None
) -> None:
    verdict = AddressTable(rules).verdict(ipaddress.ip_address(address), port)
    assert (effect_of(verdict), rule_index(verdict)) == (effect, index)


@pytest.mark.parametrize(
    "wrong", [rule("10.0.0.1/8"), rule("example.com"), rule("1.2.3.4", 0), rule("1.2.3.4", 70000)]
)
def test_what_is_no_prefix_or_port_is_refused(wrong: NetRule) -> None:
    with pytest.raises(ConfigError):
        AddressTable([wrong])


# A small world of addresses, so that prefixes overlap.
prefixes = st.builds(
    lambda number, bits: f"10.0.0.{number >> (8 - bits) << (8 - bits)}/{24 + bits}" if bits else "10.0.0.0/24",
    st.integers(0, 255), st.integers(0, 8),
)  # fmt: skip
rule_lists = st.lists(
    st.builds(
        NetRule, prefixes, st.lists(st.integers(1, 3), max_size=2).map(tuple), st.sampled_from(STRICTNESS), st.just("r")
    ),
    max_size=8,
)  # fmt: skip


def plainly(rules: list[NetRule], address: ipaddress.IPv4Address, port: int) -> str:
    speaking = [
        each
        for each in rules
        if address in ipaddress.ip_network(each.prefix) and (not each.ports or port in each.ports)
    ]
    if not speaking:
        return "none"
    longest = max(ipaddress.ip_network(each.prefix).prefixlen for each in speaking)
    return max(
        (each.effect for each in speaking if ipaddress.ip_network(each.prefix).prefixlen == longest),
        key=STRICTNESS.index,
    )


@given(rule_lists, st.integers(0, 255), st.integers(1, 4))
def test_flat_table_says_what_the_rules_say_one_by_one(rules: list[NetRule], last: int, port: int) -> None:
    address = ipaddress.IPv4Address(f"10.0.0.{last}")
    said = effect_of(AddressTable(rules).verdict(address, port))
    names = {
        NetEffect.NONE: "none",
        NetEffect.ALLOW: "allow",
        NetEffect.ASK: "require_approval",
        NetEffect.DENY: "deny",
    }
    assert names[said] == plainly(rules, address, port)


KEY = Struct("<I4s")
tables = st.dictionaries(prefixes, st.sampled_from([b"allow", b"deny", b"ask"]), max_size=8).map(
    lambda table: {
        KEY.pack((net := ipaddress.IPv4Network(text)).prefixlen, net.network_address.packed): value
        for text, value in table.items()
    }
)


def decided(table: Mapping[bytes, bytes], address: int) -> bytes:
    for bits in range(32, -1, -1):
        number = (0x0A000000 | address) >> (32 - bits) << (32 - bits)
        if (found := table.get(KEY.pack(bits, number.to_bytes(4, "big")))) is not None:
            return found
    return b"none"


@given(tables, tables, st.integers(0, 255))
def test_change_decides_at_each_moment_by_the_old_or_the_new_rules(
    held: dict[bytes, bytes], wanted: dict[bytes, bytes], address: int
) -> None:
    ends = {decided(held, address), decided(wanted, address)}
    now = dict(held)
    for key, value in steps(held, wanted):
        if value is None:
            del now[key]
        else:
            now[key] = value
        assert decided(now, address) in ends
    assert now == wanted

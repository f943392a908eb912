"""Rules about addresses, laid flat: for each prefix what holds there, so that one look at the longest is enough."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import ConfigError
from agentguard.kernel.egress._layout import EFFECT_SHIFT, RULE_MASK, NetEffect

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agentguard.kernel._rules import NetRule

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_EFFECTS = {"allow": NetEffect.ALLOW, "require_approval": NetEffect.ASK, "deny": NetEffect.DENY}
# Of two rules for the same prefix the stricter holds.
_STRICTNESS = {NetEffect.NONE: 0, NetEffect.ALLOW: 1, NetEffect.ASK: 2, NetEffect.DENY: 3}
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_MAPPED_BITS = 96


def verdict_of(effect: NetEffect, index: int) -> int:
    """Return the number that the maps hold: the effect, and which of the rules it was."""
    return effect << EFFECT_SHIFT | (index + 1)


def effect_of(verdict: int) -> NetEffect:
    """Return the effect of a verdict."""
    return NetEffect(verdict >> EFFECT_SHIFT)


def rule_index(verdict: int) -> int | None:
    """Return which rule a verdict comes from, counted from 0; None where no rule spoke."""
    number = verdict & RULE_MASK
    return number - 1 if number else None


class Holding(msgspec.Struct, frozen=True):
    """What holds for one prefix: a verdict, and other ones for single ports."""

    verdict: int
    ports: Mapping[int, int]


class AddressTable:
    """The rules of one agent about addresses.

    The longest prefix that speaks of a port decides; of two rules for the same prefix the stricter one does.
    """

    def __init__(self, rules: Sequence[NetRule]) -> None:
        """Lay the rules flat.

        Raises:
            ConfigError: a prefix or a port is none.
        """
        own: dict[Network, tuple[int, dict[int, int]]] = {}
        for index, rule in enumerate(rules):
            _add(own, rule, index)
        self.holdings = _inherit(own)
        self._lengths: dict[int, list[int]] = {4: [], 6: []}
        self._by_number: dict[tuple[int, int, int], Holding] = {}
        for network, holding in self.holdings.items():
            version, bits = network.version, network.prefixlen
            if bits not in self._lengths[version]:
                self._lengths[version].append(bits)
            self._by_number[version, bits, int(network.network_address)] = holding
        for lengths in self._lengths.values():
            lengths.sort(reverse=True)

    def verdict(self, address: Address, port: int) -> int:
        """Return the verdict for an address and a port, as the kernel's programs find it; 0 where no rule speaks."""
        address = unmapped(address)
        number, width = int(address), address.max_prefixlen
        for bits in self._lengths[address.version]:
            holding = self._by_number.get((address.version, bits, number >> (width - bits) << (width - bits)))
            if holding is not None:
                return holding.ports.get(port, holding.verdict)
        return 0


def unmapped(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, or the address itself."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def parse_prefix(text: str) -> Network:
    """Return the prefix; one of mapped IPv4 addresses as the IPv4 prefix that it stands for.

    Raises:
        ConfigError: it is none.
    """
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise ConfigError(
            f"`{text}` is no prefix of addresses",
            hint="write it as 10.1.0.0/16 or 2001:db8::/32, with no bit set behind the prefix",
        ) from None
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        number = int(network.network_address) & 0xFFFFFFFF
        return ipaddress.IPv4Network((number, network.prefixlen - _MAPPED_BITS))
    return network


def _add(own: dict[Network, tuple[int, dict[int, int]]], rule: NetRule, index: int) -> None:
    verdict = verdict_of(_EFFECTS[rule.effect], index)
    whole, ports = own.setdefault(parse_prefix(rule.prefix), (0, {}))
    if not rule.ports:
        own[parse_prefix(rule.prefix)] = (_stricter(whole, verdict), ports)
    for port in rule.ports:
        check_port(port)
        ports[port] = _stricter(ports.get(port, 0), verdict)


def check_port(port: int) -> None:
    """Refuse what is no port.

    Raises:
        ConfigError: it is none.
    """
    if not 0 < port <= 0xFFFF:  # noqa: PLR2004 - 16 bits
        raise ConfigError(f"`{port}` is no port", hint="ports are from 1 to 65535")


def _stricter(one: int, other: int) -> int:
    # The earlier of two that are alike: the answer does not depend on what comes later.
    return other if _STRICTNESS[effect_of(other)] > _STRICTNESS[effect_of(one)] else one


def _inherit(own: Mapping[Network, tuple[int, dict[int, int]]]) -> dict[Network, Holding]:
    found: dict[Network, Holding] = {}
    above: list[Network] = []
    for network in _outer_first(own):
        while above and not _covers(above[-1], network):
            above.pop()
        whole, ports = own[network]
        ports = {port: _stricter(verdict, whole) for port, verdict in ports.items()}
        if not whole and above:
            outer = found[above[-1]]
            whole, ports = outer.verdict, {**outer.ports, **ports}
        found[network] = Holding(whole, {port: each for port, each in ports.items() if each != whole})
        above.append(network)
    return found


def _outer_first(networks: Iterable[Network]) -> list[Network]:
    return sorted(networks, key=lambda each: (each.version, int(each.network_address), each.prefixlen))


def _covers(outer: Network, inner: Network) -> bool:
    if outer.version != inner.version or outer.prefixlen > inner.prefixlen:
        return False
    shift = outer.max_prefixlen - outer.prefixlen
    return int(outer.network_address) >> shift == int(inner.network_address) >> shift

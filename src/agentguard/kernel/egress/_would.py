"""What the rules would deny of the network, told where nothing is held: from what the kernel's programs saw."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from agentguard.kernel._layout import Kind
from agentguard.kernel.egress._addresses import AddressTable, effect_of, rule_index
from agentguard.kernel.egress._denial import Denial, allow_domain, allow_host
from agentguard.kernel.egress._layout import NetEffect
from agentguard.kernel.egress._names import Names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentguard.kernel._rules import KernelPolicy
    from agentguard.kernel._seen import Address, Seen

_DNS = 53
_MOST = 4096


class WouldDeny:
    """Tells of each TCP connection and datagram that no rule allows, once. For one thread.

    What goes to the loopback or to a resolver is not told: in a jail the first is the agent's own, the second is ours.
    """

    def __init__(self, policy: KernelPolicy, tell: Callable[[Denial], None]) -> None:
        """Take the rules.

        Raises:
            ConfigError: one of them names no prefix, name or port.
        """
        self._names, self._table = Names(policy.domains), AddressTable(policy.networks)
        self._policy, self._tell = policy, tell
        self._name_of: dict[str, str] = {}
        self._told: set[tuple[str, int, str]] = set()

    def translate(self, seen: Seen) -> Iterator[Seen]:
        """Yield what was seen, as it is, once it was looked at."""
        if seen.dns is not None:
            self._learn(seen.dns.name, seen.dns.addresses)
        address = seen.address
        if address is not None and address.family in {"inet", "inet6"} and _leaves(seen, address):
            self._judge(seen, address)
        yield seen

    def _learn(self, name: str, addresses: tuple[str, ...]) -> None:
        if len(self._name_of) < _MOST:
            self._name_of |= dict.fromkeys(addresses, name)

    def _judge(self, seen: Seen, address: Address) -> None:
        verdict = self._table.verdict(ipaddress.ip_address(address.host), address.port)
        effect, index = effect_of(verdict), rule_index(verdict)
        name = self._name_of.get(address.host, "")
        by_name = address.protocol == "tcp" and self._names.find(name, address.port) is not None
        if effect is NetEffect.ALLOW or (effect is NetEffect.NONE and by_name):
            return
        key = (name or address.host, address.port, address.protocol)
        if key in self._told or len(self._told) >= _MOST:
            return
        self._told.add(key)
        rule = self._policy.networks[index].rule if index is not None else ""
        allow = allow_domain(name, address.port) if name else allow_host(address.host, address.port)
        host = f"[{key[0]}]" if ":" in key[0] else key[0]
        self._tell(
            Denial(
                "connect" if seen.kind == Kind.CONNECT else "send",
                f"{address.protocol} {host}:{address.port}",
                f"rule `{rule}`" if rule else f"no rule allows this {'name' if name else 'address'}",
                rule,
                "" if rule else allow,
                seen.pid,
                seen.comm,
                enforced=False,
            )
        )


def _leaves(seen: Seen, address: Address) -> bool:
    # A datagram socket that is connected has sent nothing yet.
    is_it = seen.kind == Kind.SENDTO or (seen.kind == Kind.CONNECT and address.protocol == "tcp")
    return is_it and address.port not in {0, _DNS} and not ipaddress.ip_address(address.host).is_loopback

"""Lists of hosts: what ships, and what a project adds. Names with their subdomains, networks as CIDR."""

from __future__ import annotations

import ipaddress
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class HostList:
    """Hosts by name (`example.com` stands for its subdomains too, `=example.com` for itself) and by network.

    Raises:
        ValueError: an entry is neither a host name nor a network.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        self._names: set[str] = set()
        self._exact: set[str] = set()
        self._networks: list[Network] = []
        for entry in entries:
            self._add(entry.strip().lower().rstrip("."))

    def _add(self, entry: str) -> None:
        network = _as_network(entry)
        if network is not None:
            self._networks.append(network)
        elif entry.startswith("="):
            self._exact.add(entry[1:])
        elif not entry or any(char in entry for char in "/*: "):
            raise ValueError(f"`{entry}` is no host name and no network")
        else:
            self._names.add(entry.removeprefix("."))

    def holds(self, host: str, address: Address | None) -> bool:
        """Tell whether a host in its canonical form is on the list."""
        if address is not None:
            return any(address.version == each.version and address in each for each in self._networks)
        if host in self._exact:
            return True
        while host:
            if host in self._names:
                return True
            host = host.partition(".")[2]
        return False


def _as_network(entry: str) -> Network | None:
    try:
        return ipaddress.ip_network(entry)
    except ValueError:
        return None


@cache
def shipped_lists() -> Mapping[str, HostList]:
    """Return the lists that ship with the package, by name."""
    text = (resources.files("agentguard.facts") / "hosts.yaml").read_text(encoding="utf-8")
    return {name: HostList(entries) for name, entries in yaml.safe_load(text)["lists"].items()}


@cache
def suspicious_ports() -> frozenset[int]:
    """Return the ports that ship as suspicious."""
    text = (resources.files("agentguard.facts") / "hosts.yaml").read_text(encoding="utf-8")
    return frozenset(yaml.safe_load(text)["suspicious_ports"])

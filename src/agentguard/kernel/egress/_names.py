"""Names of hosts: which of them may be reached."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from typing import TYPE_CHECKING

from agentguard.core import ConfigError
from agentguard.kernel._rules import DomainRule
from agentguard.kernel.egress._addresses import check_port

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAX_NAME = 253
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_WILD = "*."
DEFAULT_PORTS = (80, 443)


def normal_name(text: str) -> str | None:
    """Return a host's name in lower case and without the root's dot; None for what is no name, or an address."""
    name = text.lower().removesuffix(".")
    if not name or len(name) > _MAX_NAME or not all(map(_LABEL.fullmatch, name.split("."))):
        return None
    # No top-level domain is a number: that would be an address, in one of the ways in which those are written.
    if re.fullmatch(r"(?:0x[0-9a-f]*|[0-9]+)", name.rpartition(".")[2]):
        return None
    return name


def parse_domain(text: str, rule: str = "--allow-domain") -> DomainRule:
    """Return the rule that `NAME`, `*.NAME` or either with `:PORT` stands for; without a port, those of the web.

    Raises:
        ConfigError: it is none of these.
    """
    host, colon, port = text.strip().partition(":")
    wild = host.startswith(_WILD)
    bare = host.removeprefix(_WILD)
    with contextlib.suppress(UnicodeError):
        bare = _to_ascii(bare)
    name = normal_name(bare)
    if name is None or (colon and not port.isdecimal()):
        raise ConfigError(f"`{text}` is no domain", hint=_hint(bare))
    ports = (int(port),) if colon else DEFAULT_PORTS
    for each in ports:
        check_port(each)
    return DomainRule(f"{_WILD}{name}" if wild else name, ports, rule)


def _hint(host: str) -> str:
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return "an address is allowed by a rule for `net.connect` on `host:ADDRESS:PORT`"
    return "write example.com, *.example.com or example.com:8443"


def _to_ascii(name: str) -> str:
    if name.isascii():
        return name
    import idna

    return idna.encode(name, uts46=True).decode("ascii")


class Names:
    """The names of one agent. Adding one takes effect at once; for any number of threads."""

    def __init__(self, rules: Iterable[DomainRule] = ()) -> None:
        """Take the rules.

        Raises:
            ConfigError: a name or a port is none.
        """
        self._exact: dict[str, tuple[DomainRule, ...]] = {}
        self._below: dict[str, tuple[DomainRule, ...]] = {}
        self.replace(rules)

    def replace(self, rules: Iterable[DomainRule]) -> None:
        """Let these hold in place of what held until now.

        Raises:
            ConfigError: a name or a port is none. What held until now still holds then.
        """
        exact: dict[str, tuple[DomainRule, ...]] = {}
        below: dict[str, tuple[DomainRule, ...]] = {}
        for rule in rules:
            _insert(rule, exact, below)
        self._exact, self._below = exact, below

    def add(self, rule: DomainRule) -> None:
        """Allow one more.

        Raises:
            ConfigError: the name or a port is none.
        """
        self.replace([*self.rules(), rule])

    def rules(self) -> list[DomainRule]:
        """Return what holds."""
        return [rule for table in (self._exact, self._below) for rules in table.values() for rule in rules]

    def ports(self) -> set[int]:
        """Return every port that some rule names."""
        return {port for rule in self.rules() for port in rule.ports}

    def find(self, name: str, port: int | None = None) -> DomainRule | None:
        """Return the rule that allows a normal name, and the port where one is given; None where none does."""
        for rule in self._exact.get(name, ()):
            if _has_port(rule, port):
                return rule
        _, dot, above = name.partition(".")
        while dot:
            for rule in self._below.get(above, ()):
                if _has_port(rule, port):
                    return rule
            _, dot, above = above.partition(".")
        return None


def _has_port(rule: DomainRule, port: int | None) -> bool:
    return port is None or not rule.ports or port in rule.ports


def _insert(
    rule: DomainRule, exact: dict[str, tuple[DomainRule, ...]], below: dict[str, tuple[DomainRule, ...]]
) -> None:
    name = normal_name(rule.domain.removeprefix(_WILD))
    if name is None:
        raise ConfigError(f"`{rule.domain}` is no domain", hint="write example.com or *.example.com")
    for port in rule.ports:
        check_port(port)
    table = below if rule.domain.startswith(_WILD) else exact
    table[name] = (*table.get(name, ()), rule)

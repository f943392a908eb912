"""What was denied, told so that a person knows why and what to write if it should be allowed."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Literal

import msgspec

from agentguard.kernel._rules import DomainRule, NetRule

if TYPE_CHECKING:
    from collections.abc import Callable

DenialKind = Literal["connect", "send", "name", "socket", "unix"]
_REPEAT_S = 1.0
_KEPT = 1024


class Denial(msgspec.Struct, frozen=True):
    """One thing that an agent was denied.

    `target` is what it wanted: `tcp api.example.com:443`. `rule` is the rule that denies it, empty where none allows
    it. `allow` is the line that would allow it, empty where nothing does. `enforced` is false in the modes in which
    it was only told. `needs_approval` says that a person may allow it now.
    """

    kind: DenialKind
    target: str
    reason: str
    rule: str = ""
    allow: str = ""
    pid: int = 0
    program: str = ""
    enforced: bool = True
    needs_approval: bool = False

    def sentence(self) -> str:
        """Return it as one line for a person."""
        who = f" ({self.program or 'process'} {self.pid})" if self.pid else ""
        verb = "denied" if self.enforced else "would be denied"
        allow = f"; to allow it: {self.allow}" if self.allow else ""
        return f"{verb}: {self.target}{who}: {self.reason}{allow}"


def allow_domain(name: str, port: int | None) -> str:
    """Return the option that allows a name."""
    return f"--allow-domain {name}" if port in {None, 80, 443} else f"--allow-domain {name}:{port}"


def allow_host(host: str, port: int) -> str:
    """Return the rule that allows an address."""
    shown = f"[{host}]" if ":" in host else host
    return f'{{effect: allow, actions: [net.connect], resources: ["host:{shown}:{port}"]}}'


def allow_path(path: str) -> str:
    """Return the rule that allows a unix socket with a name in the file system; nothing for others."""
    if not path.startswith("/") or not path.isprintable() or '"' in path or "\\" in path:
        return ""
    return f'{{effect: allow, actions: [file.write], resources: ["file:{path}"]}}'


def rule_that_allows(denial: Denial) -> DomainRule | NetRule | None:
    """Return what would have to hold for the denied thing; None where no rule about names or addresses would do."""
    if denial.kind not in {"connect", "send", "name"}:
        return None
    host, _, port = denial.target.partition(" ")[2].rpartition(":")
    if denial.kind == "name":
        return DomainRule(denial.target.partition(" ")[2], (), "approved")
    try:
        prefix = str(ipaddress.ip_network(host.strip("[]")))
    except ValueError:
        return DomainRule(host, (int(port),), "approved")
    return NetRule(prefix, (int(port),), "allow", "approved")


class Teller:
    """Tells of each denial, and of one that repeats at most once a second, so that a flood says little."""

    def __init__(
        self, tell: Callable[[Denial], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tell, self._clock = tell, clock
        self._last: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        self.count = 0

    def note(self, denial: Denial) -> None:
        """Count it, and tell of it unless the same was told a moment ago."""
        self.count += 1
        key, now = (denial.kind, denial.target, denial.reason), self._clock()
        if now - self._last.get(key, -_REPEAT_S) < _REPEAT_S:
            return
        self._last[key] = now
        self._last.move_to_end(key)
        while len(self._last) > _KEPT:
            self._last.popitem(last=False)
        self._tell(denial)

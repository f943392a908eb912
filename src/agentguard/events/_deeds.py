"""What a process did, read from an event of the kernel layer, and what every program does without being asked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from agentguard.core import EventKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentguard.core import Event

Family = Literal["file", "host", "program"]
_SEEN = (EventKind.FILE, EventKind.NET, EventKind.PROC)
_WRITES = frozenset(("file.write", "file.delete"))
_DNS_PORTS = frozenset((53,))
# What programs read to run at all: libraries, their own code, the system's tables.
_RUNTIME = re.compile(
    r"/(?:usr|lib|lib32|lib64|bin|sbin|nix|snap|proc|sys|dev)/.*"
    r"|/etc/(?:ld\.so\.|ssl/|pki/|ca-certificates|terminfo/|alternatives/|python3|gai\.conf|host\.conf|hosts|hostname"
    r"|resolv\.conf|nsswitch\.conf|services|protocols|localtime|timezone|locale|mime\.types|os-release|passwd|group"
    r"|inputrc|profile|bash\.bashrc|gitconfig|login\.defs|machine-id|debian_version|selinux/|magic).*"
    r"|/run/(?:systemd|nscd|dbus)/.*|/var/(?:cache|lib)/(?:nscd|fontconfig|sss)/.*"
    r"|.*\.(?:py|pyc|pyi|pth|so|js|mjs|cjs|node|wasm|rb|pl|pm|class|jar|mo)(?:\.[0-9.]+)?"
    r"|.*/(?:node_modules|site-packages|dist-packages|__pycache__|[^/]+\.dist-info)/.*|.*/(?:package\.json|pyvenv\.cfg)",
    re.DOTALL,
)
# What they write to run at all: terminals, scratch space, compiled code.
_SCRATCH = re.compile(
    r"/dev/.*|/proc/self/.*|/tmp/.*|/var/tmp/.*|.*/__pycache__/.*|/run/nscd/socket", re.DOTALL
)


class Deed(msgspec.Struct, frozen=True):
    """One thing that a process did. `effect` and `rule` are what the policy says of it.

    `hosts` are the names by which its peer is known, and its address; `parents` the programs that led to this one.
    """

    family: Family
    action: str
    resource: str
    effect: str
    rule: str
    at: float
    pid: int
    program: str
    parents: tuple[str, ...]
    path: str = ""
    writes: bool = False
    hosts: frozenset[str] = frozenset()
    port: int = 0

    @property
    def is_named(self) -> bool:
        """Whether a rule of its own speaks against it, and not only that nothing allows it."""
        return bool(self.rule) and self.effect in {"deny", "require_approval"}

    def is_ordinary(self, own: frozenset[tuple[str, int]]) -> bool:
        """Tell whether any program may have done this without being asked to.

        `own` are the doors at which an agent asks us.
        """
        if self.family == "file":
            if self.action == "file.list":
                return True
            pattern = _SCRATCH if self.writes else _RUNTIME
            return pattern.fullmatch(self.path) is not None or (
                not self.writes and _SCRATCH.fullmatch(self.path) is not None
            )
        if self.family == "host":
            return self.port in _DNS_PORTS or any((host, self.port) in own for host in self.hosts)
        # What was launched is what the person asked for; nothing led to it.
        return not self.parents


class Names:
    """The names that a run has looked its addresses up by. Bounded; the oldest are forgotten."""

    _MAX = 4096

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], set[str]] = {}

    def learn(self, event: Event) -> None:
        """Take in a DNS answer."""
        name, addresses = event.payload.get("name"), event.payload.get("addresses")
        if not isinstance(name, str) or not isinstance(addresses, list):
            return
        for address in addresses:
            self._names.setdefault((event.session, str(address)), set()).add(name.rstrip(".").lower())
        while len(self._names) > self._MAX:
            del self._names[next(iter(self._names))]

    def of(self, run: str, address: str) -> set[str]:
        """Return what an address was looked up by."""
        return self._names.get((run, address), set())


def deed_of(event: Event, names: Names) -> Deed | None:
    """Return what was done; None for what claims nothing can be compared with.

    That is so too for what is told `late`: whoever told it had to wait, and decisions of that time are forgotten.
    """
    payload = event.payload
    action, resource = str(payload.get("action", "")), str(payload.get("resource", ""))
    if event.kind not in _SEEN or not resource or payload.get("late"):
        return None
    common: dict[str, Any] = {
        "action": action,
        "resource": resource,
        "effect": str(payload.get("effect", "")),
        "rule": str(payload.get("rule", "")),
        "at": event.time.timestamp(),
        "pid": _number(payload.get("pid")),
        "program": str(payload.get("program", "")),
        "parents": tuple(str(each) for each in payload.get("parents", ())),
    }
    scheme, _, rest = resource.partition(":")
    if scheme == "file" and action.startswith("file."):
        return Deed("file", **common, path=rest, writes=action in _WRITES)
    if action == "process.exec":
        return Deed("program", **(common | {"program": rest or common["program"]}))
    if action == "net.connect":
        return Deed("host", **common, hosts=_hosts(event, rest, names), port=_number(payload.get("port")))
    if action == "dns.resolve":
        return Deed("host", **common, hosts=frozenset((rest.rstrip(".").lower(),)))
    return None


def _hosts(event: Event, rest: str, names: Names) -> frozenset[str]:
    address = str(event.payload.get("address", ""))
    shown = rest.rpartition(":")[0].strip("[]").lower()
    found = {shown, address, *names.of(event.session, address)} - {""}
    if any(each == "::1" or each.startswith("127.") for each in found):
        found.add("localhost")
    return frozenset(found)


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def shown(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a kernel event is evidence."""
    wanted = ("what", "path", "address", "port", "name", "argv", "program", "pid", "parents", "result")
    return {name: payload[name] for name in wanted if name in payload}

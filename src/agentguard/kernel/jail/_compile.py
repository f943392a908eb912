"""From the project's policy set to a `KernelPolicy`: what the kernel can hold of it, the rest on the stricter side."""

from __future__ import annotations

import ipaddress
import os
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import Context, Effect, Principal
from agentguard.facts import FactExtractor
from agentguard.kernel._rules import (
    DomainRule,
    KernelEffect,
    KernelMode,
    KernelPolicy,
    NetRule,
    PathAccess,
    PathRule,
    UnixRule,
)
from agentguard.kernel.egress import parse_domain
from agentguard.kernel.jail._globs import shape_of
from agentguard.kernel.jail._plan import OWN_RULE, is_within
from agentguard.kernel.jail._profiles import Profile, places, program_folders, secrets
from agentguard.policy import Facts, PolicySet, Tier, rules_about
from agentguard.registry import ActionRegistry, Inventory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentguard.policy import CompiledRule, Ruling

RUN: tuple[PathAccess, ...] = ("read", "execute")
READ: tuple[PathAccess, ...] = ("read",)
CHANGE: tuple[PathAccess, ...] = ("read", "write", "execute")
ALL: tuple[PathAccess, ...] = ("read", "write", "execute")
# What each action is on a file. To deny a program is to deny reading it too: a loader runs what it can read.
_ACCESS: dict[str, tuple[str, tuple[PathAccess, ...], tuple[PathAccess, ...]]] = {
    "file.read": ("file:", READ, ("read", "execute")),
    "file.write": ("file:", ("write",), ("write",)),
    "file.delete": ("file:", (), ("write",)),
    "process.exec": ("process:", RUN, RUN),
}
_FORBIDS = frozenset((Effect.DENY, Effect.REQUIRE_APPROVAL, Effect.TRANSFORM))
SECRETS_RULE = "profile.secrets"
_MAX_PORT = 65535


class Sources(msgspec.Struct, frozen=True):
    """What a policy is compiled from. Without a project there is a profile only."""

    policies: PolicySet
    registry: ActionRegistry
    inventory: Inventory
    facts: FactExtractor
    principal: Principal
    now: datetime

    def ruling(self, action: str, resource_id: str) -> Ruling | None:
        """Return what the rules say of a request without arguments; None where the action is not declared."""
        found = self.registry.resolve(action)
        if found is None:
            return None
        resource = self.inventory.resolve(resource_id)
        context = Context(attributes={"pep": "kernel"})
        inside = self.facts.view(found.action, {}, resource)
        return self.policies.evaluate(
            Facts(self.principal, found.action, resource, {}, context, self.now, inside)
        )


class Wanted(msgspec.Struct, frozen=True):
    """What the person at the command line adds to the policy; paths are absolute.

    `hidden` and `fixed` are AgentGuard's own: what nobody may look at, and what nobody may change.
    """

    profile: Profile
    home: str
    path_variable: str
    workspace: str = ""
    read_write: tuple[str, ...] = ()
    read_only: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    temporary: str = ""


class Compiled(msgspec.Struct, frozen=True):
    """A policy for the kernel, and what of the rules it holds more strictly than written, or not at all."""

    policy: KernelPolicy
    notes: tuple[str, ...]


def compile_policy(
    sources: Sources | None, wanted: Wanted, *, mode: KernelMode = "enforce", version: int = 1
) -> Compiled:
    """Return the kernel policy of a principal on this machine, not signed yet."""
    compiler = _Compiler(sources, wanted)
    compiler.compile()
    policy = KernelPolicy(
        version=version,
        policy_version=sources.policies.version if sources is not None else "",
        principal=sources.principal.id if sources is not None else "",
        mode=mode,
        paths=tuple(dict.fromkeys(compiler.paths)),
        networks=tuple(dict.fromkeys(compiler.networks)),
        domains=tuple(dict.fromkeys(compiler.domains)),
        sockets=tuple(dict.fromkeys(compiler.sockets)),
        shut_domains=tuple(dict.fromkeys(compiler.banned_hosts)),
    )
    return Compiled(policy, tuple(dict.fromkeys(compiler.notes)))


class _Compiler:
    def __init__(self, sources: Sources | None, wanted: Wanted) -> None:
        self.paths: list[PathRule] = []
        self.networks: list[NetRule] = []
        self.domains: list[DomainRule] = []
        self.sockets: list[UnixRule] = []
        self.notes: list[str] = []
        self._sources, self._wanted = sources, wanted
        # What no other rule opens again.
        self._banned: list[tuple[str, PathRule]] = []
        self._banned_networks: list[NetRule] = []
        self.banned_hosts: list[DomainRule] = []

    def compile(self) -> None:
        """Collect the rules: what is forbidden first, since nothing mandatory is opened again."""
        for path in (*self._wanted.hidden, *self._wanted.fixed):
            accesses = ALL if path in self._wanted.hidden else ("write",)
            self._ban(PathRule(path, accesses, "deny", OWN_RULE))
        if self._sources is not None:
            self._take_rules(self._sources)
        self._shut_secrets()
        self._open_profile()
        self._withdraw_forbidden()

    # The project's rules.

    def _take_rules(self, sources: Sources) -> None:
        taken: list[tuple[CompiledRule, str]] = []
        for action in (*_ACCESS, "net.connect"):
            found = sources.registry.resolve(action)
            if found is None:
                continue
            rules = rules_about(sources.policies.rules, sources.principal, found.action, sources.now)
            taken += [(rule, action) for rule in rules]
        # Mandatory rules first: what they ban, no other rule opens.
        taken.sort(key=lambda each: each[0].rule.tier is not Tier.MANDATORY)
        for rule, action in taken:
            if rule.effect in _FORBIDS:
                self._forbid(rule, action)
            elif self._can_hold(rule):
                self._permit(rule, action)

    def _can_hold(self, rule: CompiledRule) -> bool:
        """Tell whether a permission holds without anything that only a decision point can look at."""
        written = rule.rule
        if written.when is None and written.unless is None and not written.obligations:
            return True
        if not rule.id.startswith("shipped."):
            self.notes.append(
                f"rule `{rule.id}` permits under conditions, which the kernel cannot look at: it permits nothing there"
            )
        return False

    def _patterns(self, rule: CompiledRule, scheme: str) -> Iterator[str]:
        """Yield the patterns of a rule that can be about this scheme, without it."""
        resources = rule.rule.resources
        if resources is None:
            yield "**"
            return
        for each in resources:
            if not isinstance(each, str):
                self.notes.append(
                    f"rule `{rule.id}` chooses resources by what the inventory says of them, which the kernel cannot look at"
                )
            elif each == "**":
                yield each
            elif each.startswith(scheme) and each[len(scheme) :].startswith(("/", "**")):
                yield each[len(scheme) :]

    def _permit(self, rule: CompiledRule, action: str) -> None:
        if action == "net.connect":
            self._permit_network(rule)
            return
        scheme, permits, _ = _ACCESS[action]
        if not permits:
            return
        for pattern in self._patterns(rule, scheme):
            shape = shape_of(pattern, forbids=False)
            if not shape.exact:
                self.notes.append(
                    f"rule `{rule.id}` permits `{scheme}{pattern}`: in the kernel what is there now, and no more"
                )
            for path in shape.paths:
                self._open(PathRule(path, permits, "allow", rule.id))
                if action == "file.write":
                    self._permit_socket(path, rule.id)

    def _permit_socket(self, path: str, rule_id: str) -> None:
        # Whoever may write to the socket's file may connect.
        self.sockets.append(UnixRule(path, rule_id))

    def _forbid(self, rule: CompiledRule, action: str) -> None:
        if action == "net.connect":
            self._forbid_network(rule)
            return
        written = rule.rule
        named = written.resources is not None
        if not named and (written.when is not None or written.unless is not None):
            if not rule.id.startswith("shipped."):
                self.notes.append(
                    f"rule `{rule.id}` forbids under conditions on no named file: it is decided where the agent asks"
                )
            return
        scheme, _, forbids = _ACCESS[action]
        effect: KernelEffect = "require_approval" if rule.effect is Effect.REQUIRE_APPROVAL else "deny"
        for pattern in self._patterns(rule, scheme):
            shape = shape_of(pattern, forbids=True)
            if not shape.exact:
                self.notes.append(
                    f"rule `{rule.id}` forbids `{scheme}{pattern}`: in the kernel what is there now, not what is made later"
                )
            elif written.when is not None or written.unless is not None:
                self.notes.append(
                    f"rule `{rule.id}` forbids `{scheme}{pattern}` under conditions: in the kernel always"
                )
            for path in shape.paths:
                made = PathRule(path, forbids, effect, rule.id)
                if written.tier is Tier.MANDATORY:
                    self._ban(made)
                else:
                    self.paths.append(made)

    # The network.

    def _permit_network(self, rule: CompiledRule) -> None:
        for pattern in self._patterns_of_hosts(rule):
            host, ports = _host_and_ports(pattern)
            prefix = _prefix(host)
            if not ports and _port_text(pattern) not in {"", "*", "**"}:
                self.notes.append(
                    f"rule `{rule.id}` permits `{pattern}`: the kernel knows single ports, or all"
                )
            elif prefix is not None:
                self.networks.append(NetRule(prefix, ports, "allow", rule.id))
            elif host in {"*", "**"}:
                self.networks += [NetRule(each, ports, "allow", rule.id) for each in ("0.0.0.0/0", "::/0")]
            elif host.count("*") == host.startswith("*."):
                self.domains.append(DomainRule(host, ports, rule.id))
            else:
                self.notes.append(
                    f"rule `{rule.id}` permits `{pattern}`: the kernel knows `example.com` and `*.example.com` only"
                )

    def _forbid_network(self, rule: CompiledRule) -> None:
        if rule.rule.resources is None:
            return
        effect: KernelEffect = "require_approval" if rule.effect is Effect.REQUIRE_APPROVAL else "deny"
        for pattern in self._patterns_of_hosts(rule):
            host, ports = _host_and_ports(pattern)
            prefix = _prefix(host)
            mandatory = rule.rule.tier is Tier.MANDATORY
            if prefix is not None:
                made = [NetRule(prefix, ports, effect, rule.id)]
            elif host in {"*", "**"}:
                made = [NetRule(each, ports, effect, rule.id) for each in ("0.0.0.0/0", "::/0")]
            else:
                made = []
            self.networks += made
            self._banned_networks += made if mandatory else ()
            if prefix is None and (mandatory or host not in {"*", "**"}):
                self.banned_hosts.append(DomainRule(host, ports, rule.id, effect))

    def _withdraw_forbidden(self) -> None:
        """Take back what is permitted of the network and forbidden by a rule that this permission does not override."""
        kept: list[DomainRule] = []
        for each in self.domains:
            ban = next((ban for ban in self.banned_hosts if _meets(ban, each)), None)
            if ban is None:
                kept.append(each)
            else:
                self.notes.append(
                    f"`{each.domain}`, which `{each.rule}` permits: rule `{ban.rule}` is against it"
                )
        self.domains = kept
        # In the kernel the longest prefix decides: what is mandatory stands beside each longer one that permits.
        self.networks += [
            NetRule(each.prefix, ban.ports, ban.effect, ban.rule)
            for each in self.networks
            for ban in self._banned_networks
            if each.effect == "allow" and _is_inside(each.prefix, ban.prefix)
        ]

    def _patterns_of_hosts(self, rule: CompiledRule) -> Iterator[str]:
        for each in rule.rule.resources or ("host:**",):
            if isinstance(each, str) and each.startswith("host:"):
                yield each[len("host:") :]
            elif each == "**":
                yield "**"

    # Secrets, profile, command line.

    def _shut_secrets(self) -> None:
        """Shut what holds secrets, under the rule that says so, or the profile's own."""
        for path in secrets(self._wanted.home):
            if any(is_within(path, each) for each in (*self._wanted.read_only, *self._wanted.read_write)):
                rule = self._ruling(path)
                if rule is None:
                    # Named on the command line, and no rule is against it.
                    continue
                self._ban(rule)
            else:
                self._ban(self._ruling(path) or PathRule(path, ALL, "deny", SECRETS_RULE))

    def _ruling(self, path: str) -> PathRule | None:
        """Return what a mandatory rule says of a file, where one does."""
        found = self._sources.ruling("file.read", f"file:{path}") if self._sources is not None else None
        if found is None or found.rule is None or found.stage != "mandatory":
            return None
        effect: KernelEffect = "require_approval" if found.effect is Effect.REQUIRE_APPROVAL else "deny"
        return PathRule(path, ALL, effect, found.rule.id)

    def _open_profile(self) -> None:
        wanted, profile = self._wanted, self._wanted.profile
        rule = f"profile.{profile.name}"
        home = wanted.home
        for path in (*places(profile.run, home), *program_folders(wanted.path_variable, home)):
            self._open(PathRule(path, RUN, "allow", rule))
        for path in places(profile.read, home):
            self._open(PathRule(path, READ, "allow", rule))
        written = [*places(profile.write, home), wanted.temporary, wanted.workspace]
        for path in written:
            if path:
                accesses = ("read", "write") if is_within(path, "/dev") else CHANGE
                self._open(PathRule(path, tuple(accesses), "allow", rule))
        for path in wanted.read_only:
            self._open(PathRule(path, RUN, "allow", "--ro"))
        for path in wanted.read_write:
            self._open(PathRule(path, CHANGE, "allow", "--rw"))
        self.domains += [parse_domain(each) for each in wanted.domains]

    def _ban(self, rule: PathRule) -> None:
        self._banned.append((os.path.realpath(rule.path), rule))
        self.paths.append(rule)

    def _open(self, rule: PathRule) -> None:
        """Add a permission, without what a ban covers."""
        real = os.path.realpath(rule.path)
        left = rule.access
        for banned, ban in self._banned:
            if is_within(real, banned):
                left = tuple(each for each in left if each not in ban.access)
                if rule.rule.startswith("--") and left != rule.access:
                    self.notes.append(f"`{rule.rule} {rule.path}`: rule `{ban.rule}` is against it")
        if left:
            self.paths.append(PathRule(rule.path, left, "allow", rule.rule))


def _host_and_ports(pattern: str) -> tuple[str, tuple[int, ...]]:
    """Split `name:443`, `[::1]:443`, `name` or `name:*`."""
    host, colon, port = pattern.rpartition(":")
    if not colon or (host.count(":") and not host.endswith("]")):
        return pattern.strip("[]"), ()
    if port.isascii() and port.isdigit() and 0 < int(port) <= _MAX_PORT:
        return host.strip("[]"), (int(port),)
    return host.strip("[]"), ()


def _port_text(pattern: str) -> str:
    """Return what a pattern says of ports, as it is written there."""
    host, colon, port = pattern.rpartition(":")
    return "" if not colon or (":" in host and not host.endswith("]")) else port


def _meets(ban: DomainRule, permitted: DomainRule) -> bool:
    """Tell whether a ban is about some of what is permitted: then it cannot be permitted as it is written."""
    if ban.ports and permitted.ports and not set(ban.ports) & set(permitted.ports):
        return False
    one, other = ban.domain.lower(), permitted.domain.lower()
    if "*" in one.removeprefix("*."):
        # A pattern of another kind may be about anything.
        return True
    return (
        one == other
        or (one.startswith("*.") and other.endswith(one[1:]))
        or (other.startswith("*.") and one.endswith(other[1:]))
    )


def _is_inside(inner: str, outer: str) -> bool:
    one, other = ipaddress.ip_network(inner), ipaddress.ip_network(outer)
    if isinstance(one, ipaddress.IPv4Network):
        return isinstance(other, ipaddress.IPv4Network) and one.subnet_of(other)
    return isinstance(other, ipaddress.IPv6Network) and one.subnet_of(other)


def _prefix(host: str) -> str | None:
    try:
        return str(ipaddress.ip_network(host, strict=False))
    except ValueError:
        return None

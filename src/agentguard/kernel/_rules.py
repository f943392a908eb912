"""What the kernel is told to enforce: the policy's rules about files, programs and the network, as plain data.

One `KernelPolicy` is compiled from the policy set of a project, signed by the sidecar and carried to the jail, to
fanotify, to the BPF maps and to the egress proxy, each of which takes the part that it can hold.
"""

from __future__ import annotations

from typing import Literal

import msgspec

PathAccess = Literal["read", "write", "execute"]
KernelMode = Literal["observe", "warn", "enforce", "freeze", "kill"]
KernelEffect = Literal["allow", "deny", "require_approval"]


class PathRule(msgspec.Struct, frozen=True):
    """One file or tree (`path` absolute; a directory means all beneath it) and what may be done with it."""

    path: str
    access: tuple[PathAccess, ...]
    effect: KernelEffect
    rule: str


class NetRule(msgspec.Struct, frozen=True):
    """One prefix of addresses (CIDR, IPv4 or IPv6) and its ports; no ports means every port."""

    prefix: str
    ports: tuple[int, ...]
    effect: KernelEffect
    rule: str


class DomainRule(msgspec.Struct, frozen=True):
    """One name that may be reached through the egress proxy: `example.com`, or `*.example.com` for those below it.

    With another effect it may not be, or people are asked first.
    """

    domain: str
    ports: tuple[int, ...]
    rule: str
    effect: KernelEffect = "allow"


class UnixRule(msgspec.Struct, frozen=True):
    """One unix socket that may be connected to: an absolute path, or `@name` for an abstract one."""

    path: str
    rule: str


class KernelPolicy(msgspec.Struct, frozen=True):
    """All that the kernel enforces for one agent. What no rule allows is denied.

    `version` only grows: who enforces refuses an older one. `policy_version` is the content hash of the policy set
    that it was compiled from, as a Decision carries it. `shut_domains` say why a name is not among `domains`, where
    a rule is against it.
    """

    version: int
    policy_version: str
    principal: str
    mode: KernelMode
    paths: tuple[PathRule, ...]
    networks: tuple[NetRule, ...]
    domains: tuple[DomainRule, ...]
    sockets: tuple[UnixRule, ...]
    shut_domains: tuple[DomainRule, ...] = ()

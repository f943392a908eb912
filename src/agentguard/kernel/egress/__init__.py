"""What an agent may reach, held at the network: by address in the kernel, by name in a proxy and a resolver.

Enters: the rules of a `KernelPolicy` about networks, domains and unix sockets, and a cgroup or a network namespace.
Leaves: connections to what is allowed, and a `Denial` for the rest. Called by: `agentguard run`, the sensor. It must
never dial an address that the agent chose for a name, answer for a name that no rule allows, or open when it fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentguard.core import KernelError

if TYPE_CHECKING:
    from agentguard.kernel.egress._approval import ONCE_S, Answer, Approvals, Ask
    from agentguard.kernel.egress._bridge import NamespaceGuard
    from agentguard.kernel.egress._canaries import canaries
    from agentguard.kernel.egress._denial import Denial
    from agentguard.kernel.egress._freezer import Freezer
    from agentguard.kernel.egress._guard import NetworkGuard
    from agentguard.kernel.egress._names import parse_domain
    from agentguard.kernel.egress._namespace import make_sockets, ports_of, receive_sockets, send_sockets
    from agentguard.kernel.egress._upstream import Upstream, parse_upstream
    from agentguard.kernel.egress._would import WouldDeny

__all__ = [
    "ONCE_S",
    "Answer",
    "Approvals",
    "Ask",
    "Denial",
    "Freezer",
    "NamespaceGuard",
    "NetworkGuard",
    "Upstream",
    "WouldDeny",
    "canaries",
    "make_sockets",
    "parse_domain",
    "parse_upstream",
    "ports_of",
    "receive_sockets",
    "send_sockets",
]

_PLACES = {
    "ONCE_S": "_approval",
    "Answer": "_approval",
    "Approvals": "_approval",
    "Ask": "_approval",
    "Denial": "_denial",
    "Freezer": "_freezer",
    "NamespaceGuard": "_bridge",
    "NetworkGuard": "_guard",
    "Upstream": "_upstream",
    "WouldDeny": "_would",
    "canaries": "_canaries",
    "make_sockets": "_namespace",
    "parse_domain": "_names",
    "parse_upstream": "_upstream",
    "ports_of": "_namespace",
    "receive_sockets": "_namespace",
    "send_sockets": "_namespace",
}
_EXTRAS = frozenset(("numpy", "dns"))


def __getattr__(name: str) -> object:
    # The command line asks what is a domain long before anything is loaded; numpy and dnspython are an extra.
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    try:
        return getattr(importlib.import_module(f"agentguard.kernel.egress.{place}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRAS:
            raise
        raise KernelError(
            "holding the network needs numpy and dnspython",
            code="extra_missing",
            hint="pip install 'agentguard[kernel]'",
        ) from None

"""How the network of an enforced run is held: by programs on its cgroup where they load, else in a namespace of its own."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

from agentguard.cli._door import DOOR_RULE
from agentguard.core import AgentGuardError, KernelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agentguard.kernel import Cgroup, Seen
    from agentguard.kernel.egress import Ask, Denial, NamespaceGuard, NetworkGuard, Upstream
    from agentguard.kernel.jail import Canary, KernelPolicy, SocketPolicy


class Network:
    """The network of one run. Make it before there are threads; `begin` puts it on, and `arm` lets it tell.

    `sockets` is what the jail's filter lets through, `within` what is done inside of the jail's namespaces, `more` what
    the self-test attempts besides. `must_lead_out` says that the run cannot do without. `notes` say what of the policy is held more strictly than written.
    """

    def __init__(
        self,
        policy: KernelPolicy,
        *,
        has_network: bool,
        by_programs: bool,
        on_denial: Callable[[Denial], None],
        ask: Ask | None = None,
        upstream: Upstream | None = None,
    ) -> None:
        """Choose how; `by_programs` where the run has a cgroup that programs can be put on.

        Raises:
            KernelError: the policy cannot be held, or what that takes is not installed.
        """
        self._policy, self._on_denial, self._ask, self._upstream = policy, on_denial, ask, upstream
        self._guard: NetworkGuard | NamespaceGuard | None = None
        self._channel: tuple[socket.socket, socket.socket] | None = None
        self._ports: tuple[int, ...] = ()
        self.notes: tuple[str, ...] = ()
        self.sockets: SocketPolicy = "loopback" if has_network else "none"
        self._leads_out = has_network and (
            bool(policy.domains) or any(each.effect != "deny" for each in policy.networks)
        )
        self.must_lead_out = self._leads_out and (
            bool(policy.domains)
            or any(each.effect != "deny" and each.rule != DOOR_RULE for each in policy.networks)
        )
        if has_network and policy.mode == "freeze" and ask is not None:
            # A person may allow what no rule does, so there must be something that can lead out.
            self._leads_out = self.must_lead_out = True
        if not self._leads_out:
            return
        if by_programs and _has_programs():
            self.sockets = "guarded"
            return
        from agentguard.kernel.egress import make_sockets, ports_of, send_sockets  # noqa: F401 - imported before the fork

        self._ports, self.notes = ports_of(policy)
        self._channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    @property
    def is_bridged(self) -> bool:
        """Whether it takes a network namespace, which a proxy outside leads out of."""
        return self._channel is not None

    def give_up(self) -> None:
        """Lead nowhere: the agent has no network namespace, and no sockets."""
        self._leads_out = False

    def within(self) -> None:
        """Make the sockets, inside of the namespace.

        Raises:
            OSError: the system refuses.
        """
        from agentguard.kernel.egress import make_sockets, send_sockets

        assert self._channel is not None
        send_sockets(self._channel[1], make_sockets(self._ports))

    def more(self) -> list[Canary]:
        """Return what the self-test attempts besides."""
        from agentguard.kernel.egress import canaries
        from agentguard.kernel.jail import Canary

        if not self._leads_out:
            return []
        port = next((each for each in (443, 80, *self._ports) if not self._ports or each in self._ports), 443)
        return [Canary("network", name, go) for name, go in canaries(in_namespace=self.is_bridged, port=port)]

    def begin(self, cgroup: Cgroup | None) -> None:
        """Put it on, before the self-test.

        Raises:
            KernelError: it cannot be held (`jail_failed`); nothing may run then.
        """
        if not self._leads_out:
            return
        try:
            self._guard = self._serve(cgroup)
        except AgentGuardError as error:
            raise KernelError(
                f"the network cannot be held: {error.message}", code="jail_failed", hint=error.hint
            ) from None

    def _serve(self, cgroup: Cgroup | None) -> NetworkGuard | NamespaceGuard:
        from agentguard.kernel.egress import NamespaceGuard, NetworkGuard, receive_sockets

        if self._channel is None:
            if cgroup is None:
                raise KernelError("the run has no cgroup", hint="run it as root")
            return NetworkGuard(
                cgroup, self._policy, on_denial=self._on_denial, upstream=self._upstream, ask=self._ask,
                # The jail always has Landlock, which keeps abstract sockets to the agent's own from ABI 6 on.
                abstract_scoped=_scopes_abstract_sockets(),
            )  # fmt: skip
        self._channel[0].settimeout(5)
        sockets = receive_sockets(self._channel[0])
        self._channel[0].close()
        self._channel[1].close()
        return NamespaceGuard(
            sockets,
            self._policy,
            on_denial=self._on_denial,
            upstream=self._upstream,
            ask=self._ask,
            cgroup=cgroup,
        )

    def translate(self, seen: Seen) -> Iterable[Seen]:
        """Return what the agent did in place of what an observer saw, which may be where it was led."""
        return (seen,) if self._guard is None else self._guard.translate(seen)

    def arm(self) -> None:
        """Tell of denials from now on: what came before was the self-test."""
        if self._guard is not None:
            self._guard.arm()

    def close(self) -> None:
        """End it; what was denied until now is told before this returns. Idempotent."""
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.close()
        for each in self._channel or ():
            with contextlib.suppress(OSError):
                each.close()


def _has_programs() -> bool:
    """Tell whether the kernel takes our programs for connections, those for unix sockets too."""
    from agentguard.kernel import probe_network

    return os.geteuid() == 0 and all(each.ok for each in probe_network())


def _scopes_abstract_sockets() -> bool:
    from agentguard.kernel.jail import keeps_abstract_sockets

    return keeps_abstract_sockets()

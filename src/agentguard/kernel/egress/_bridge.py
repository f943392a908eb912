"""The network of one agent that is alone in a network namespace: a proxy and a resolver outside of it, and no other way."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from agentguard.core import KernelError
from agentguard.kernel.egress._approval import Approvals
from agentguard.kernel.egress._denial import Teller
from agentguard.kernel.egress._freezer import Freezer
from agentguard.kernel.egress._gate import Gate
from agentguard.kernel.egress._namespace import find_meant, receive_to, send_from
from agentguard.kernel.egress._service import Egress
from agentguard.kernel.egress._upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self

    from agentguard.kernel._cgroups import Cgroup
    from agentguard.kernel._rules import KernelPolicy
    from agentguard.kernel._seen import Seen
    from agentguard.kernel.egress._approval import Ask
    from agentguard.kernel.egress._denial import Denial
    from agentguard.kernel.egress._service import Sockets


class NamespaceGuard:
    """Serves the sockets that were made in the agent's namespace, by the policy's rules about names and addresses.

    `cgroup`, where there is one, is frozen while `ask` asks in the mode `freeze`; without one nobody is asked.
    """

    name = "network"

    def __init__(
        self,
        sockets: Sockets,
        policy: KernelPolicy,
        *,
        on_denial: Callable[[Denial], None],
        upstream: Upstream | None = None,
        ask: Ask | None = None,
        cgroup: Cgroup | None = None,
    ) -> None:
        """Serve.

        Raises:
            KernelError: it cannot be served.
            ConfigError: a rule of the policy is none.
        """
        self._policy, self._on_denial, self._armed = policy, on_denial, False
        self._freezer = Freezer(cgroup) if cgroup is not None else None
        asks = policy.mode == "freeze" and ask is not None and self._freezer is not None
        self._approvals = Approvals(self._freezer, ask) if asks and self._freezer and ask else None
        self._teller = Teller(self._on_denial)
        self._gate = Gate(policy.domains, policy.networks, shut=policy.shut_domains, on_denial=self._note)
        self._egress = Egress(
            self._gate, upstream or Upstream(), sockets, find_meant, receive=receive_to, send=send_from
        )
        self._egress.start()

    missing: dict[str, str] = {}  # noqa: RUF012 - nothing ever is

    @property
    def denials(self) -> int:
        """How many attempts were denied so far, told or not."""
        return self._teller.count

    def translate(self, seen: Seen) -> Iterator[Seen]:
        """Yield what was seen: in a namespace nothing is led elsewhere."""
        yield seen

    def arm(self) -> None:
        """Tell of denials, and ask, from now on: what came before was a test."""
        self._gate.ask_with(self._approvals)
        self._armed = True

    def update(self, policy: KernelPolicy) -> None:
        """Let another version of the policy hold from now on, on the ports that are listened on.

        Raises:
            KernelError: it is older than the one that holds (`kernel_policy_refused`).
            ConfigError: a rule is none. What held until now still holds.
        """
        if policy.version < self._policy.version:
            raise KernelError(
                f"the kernel policy {policy.version} is older than the one that holds ({self._policy.version})",
                code="kernel_policy_refused",
            )
        self._gate.replace(policy.domains, policy.networks)
        self._policy = policy

    def _note(self, denial: Denial) -> None:
        if not self._armed:
            return
        if self._policy.mode == "kill" and self._freezer is not None:
            self._freezer.kill()
        self._teller.note(denial)

    def close(self) -> None:
        """End it. Idempotent."""
        with contextlib.suppress(RuntimeError):
            self._egress.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

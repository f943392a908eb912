"""The network of one agent in the hands of the kernel's programs, its proxy and its resolver, from start to end."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import KernelError
from agentguard.kernel._rules import NetRule
from agentguard.kernel.egress._approval import ONCE_S, Answer, Approvals
from agentguard.kernel.egress._denial import Teller, rule_that_allows
from agentguard.kernel.egress._enforcer import NetEnforcer, listening_on
from agentguard.kernel.egress._freezer import Freezer
from agentguard.kernel.egress._gate import Gate
from agentguard.kernel.egress._layout import NetFlag
from agentguard.kernel.egress._moves import Moves
from agentguard.kernel.egress._service import Egress, loopback_sockets
from agentguard.kernel.egress._upstream import Upstream
from agentguard.kernel.egress._watch import DenialReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self

    from agentguard.kernel._cgroups import Cgroup
    from agentguard.kernel._dns import DnsMessage
    from agentguard.kernel._rules import KernelPolicy
    from agentguard.kernel._seen import Seen
    from agentguard.kernel.egress._approval import Ask
    from agentguard.kernel.egress._denial import Denial


class NetworkGuard:
    """Holds a cgroup to a policy's rules about addresses, names and unix sockets.

    Make it before the agent runs; `on_denial` is told of denials from other threads once `arm` was called. `ask` is
    asked in the mode `freeze`, while the agent is frozen. `missing` says what this kernel lacks, and why.
    """

    name = "network"

    def __init__(
        self,
        cgroup: Cgroup,
        policy: KernelPolicy,
        *,
        on_denial: Callable[[Denial], None],
        upstream: Upstream | None = None,
        ask: Ask | None = None,
        abstract_scoped: bool = False,
    ) -> None:
        """Load, attach, and serve.

        Raises:
            KernelError: the kernel refuses, or nothing can be listened on.
            ConfigError: a rule of the policy is none.
        """
        self._policy, self._on_denial, self._armed = policy, on_denial, False
        self._flags = NetFlag.ABSTRACT_SCOPED if abstract_scoped else NetFlag(0)
        self._freezer = Freezer(cgroup)
        self._changing = threading.RLock()
        self._approvals = (
            Approvals(self._freezer, ask) if policy.mode == "freeze" and ask is not None else None
        )
        self._teller = Teller(self._tell)
        self._timers: set[threading.Timer] = set()
        with contextlib.ExitStack() as stack:
            self._enforcer = NetEnforcer(cgroup)
            stack.callback(self._enforcer.remove)
            self._gate = Gate(
                policy.domains,
                policy.networks,
                shut=policy.shut_domains,
                on_denial=self._note,
                on_answer=self._note_answer,
            )
            sockets = loopback_sockets()
            self._egress = Egress(self._gate, upstream or Upstream(), sockets, self._enforcer.find_wanted)
            stack.callback(self._egress.stop)
            self._egress.start()
            self._listening = listening_on(sockets.ports(socket.AF_INET), sockets.ports(socket.AF_INET6))
            self._moves = Moves(self._enforcer.maps["net_moves"], self._listening, cgroup.id)
            stack.callback(self._moves.close)
            self._reader = DenialReader(self._enforcer, policy, self._note)
            stack.callback(self._reader.stop)
            self._apply(policy)
            self._reader.start()
            self._stack = stack.pop_all()

    @property
    def missing(self) -> dict[str, str]:
        """What this kernel does not hold, and why."""
        return self._enforcer.missing

    @property
    def denials(self) -> int:
        """How many attempts were denied so far, told or not."""
        return self._teller.count

    def translate(self, seen: Seen) -> Iterator[Seen]:
        """Yield what the agent did in place of what an observer saw, which is where it was led. For one thread."""
        return self._moves.translate(seen)

    def _note_answer(self, message: DnsMessage) -> None:
        if self._armed:
            self._moves.note_answer(message)

    def arm(self) -> None:
        """Tell of denials, and ask, from now on: what came before was a test."""
        self._reader.drain()
        self._gate.ask_with(self._approvals)
        self._armed = True

    def update(self, policy: KernelPolicy) -> None:
        """Let another version of the policy hold from now on.

        Raises:
            KernelError: it is older than the one that holds (`kernel_policy_refused`).
            ConfigError: a rule is none. What held until now still holds.
        """
        with self._changing:
            if policy.version < self._policy.version:
                raise KernelError(
                    f"the kernel policy {policy.version} is older than the one that holds ({self._policy.version})",
                    code="kernel_policy_refused",
                )
            self._gate.replace(policy.domains, policy.networks)
            self._apply(policy)

    def _apply(self, policy: KernelPolicy) -> None:
        named = policy.domains or self._approvals is not None
        # Without names there is nothing to resolve: the agent is told so by the kernel, at once.
        self._enforcer.update(policy, self._listening if named else None, flags=self._flags)
        self._policy = self._reader.policy = policy

    def _note(self, denial: Denial) -> None:
        if not self._armed:
            return
        if self._policy.mode == "kill" and denial.enforced:
            self._freezer.kill()
        if self._approvals is not None and self._asks(denial) and self._approve(self._approvals, denial):
            return
        self._teller.note(denial)

    def _asks(self, denial: Denial) -> bool:
        """Tell whether a person may allow it: what no rule denies by name, and the proxy has not asked about yet."""
        return (
            denial.pid != 0
            and (denial.needs_approval or not denial.rule)
            and denial.kind in {"connect", "send"}
            and denial.program != ""
        )

    def _approve(self, approvals: Approvals, denial: Denial) -> bool:
        answer = Answer.DENY
        with contextlib.suppress(KernelError):
            answer = approvals.decide(denial)
        rule = rule_that_allows(denial)
        if answer in {Answer.RUN, Answer.ONCE} and isinstance(rule, NetRule):
            self._extend(rule)
            if answer is Answer.ONCE:
                timer = threading.Timer(ONCE_S, self._withdraw, (rule,))
                timer.daemon = True
                self._timers.add(timer)
                timer.start()
            return True
        return False

    def _extend(self, rule: NetRule) -> None:
        with self._changing:
            # Another rule asks about the same prefix: what a person has said stands in its place.
            kept = tuple(
                each
                for each in self._policy.networks
                if not (each.prefix == rule.prefix and each.effect == "require_approval")
            )
            self.update(msgspec.structs.replace(self._policy, networks=(*kept, rule)))

    def _withdraw(self, rule: NetRule) -> None:
        with self._changing, contextlib.suppress(KernelError, OSError):
            self.update(
                msgspec.structs.replace(
                    self._policy, networks=tuple(each for each in self._policy.networks if each is not rule)
                )
            )

    def _tell(self, denial: Denial) -> None:
        self._on_denial(denial)

    def close(self) -> None:
        """End it, and take the programs off the cgroup. Idempotent."""
        for timer in self._timers:
            timer.cancel()
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

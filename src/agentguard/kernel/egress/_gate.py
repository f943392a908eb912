"""What the proxy and the resolver ask before anything leaves: may this name, or this address, be reached."""

from __future__ import annotations

import asyncio
import contextlib
import time
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import AgentGuardError
from agentguard.kernel._rules import DomainRule
from agentguard.kernel.egress._addresses import AddressTable, effect_of, rule_index
from agentguard.kernel.egress._approval import ONCE_S, Answer
from agentguard.kernel.egress._denial import Denial, Teller, allow_domain, allow_host
from agentguard.kernel.egress._layout import NetEffect
from agentguard.kernel.egress._names import Names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentguard.kernel._dns import DnsMessage
    from agentguard.kernel._rules import NetRule
    from agentguard.kernel.egress._addresses import Address
    from agentguard.kernel.egress._approval import Approvals

_NO_NAME_RULE = "no rule allows this name"


class Gate:
    """The rules of one agent as they hold now. `approvals` is there in the mode in which a person decides."""

    def __init__(
        self,
        domains: Sequence[DomainRule],
        networks: Sequence[NetRule],
        *,
        shut: Sequence[DomainRule] = (),
        on_denial: Callable[[Denial], None],
        approvals: Approvals | None = None,
        on_answer: Callable[[DnsMessage], None] = lambda _message: None,
    ) -> None:
        """Take the rules; `shut` are those that are against a name. `on_answer` is told of each name that is asked for, and what it was said to lead to.

        Raises:
            ConfigError: one of them names no prefix, name or port.
        """
        self.names = Names(domains)
        self._shut_rules = tuple(shut)
        self._networks = tuple(networks)
        self._table = AddressTable(networks)
        self._teller = Teller(on_denial)
        self._approvals, self.on_answer = approvals, on_answer
        # By name and port; without one, every port of it.
        self._once: dict[tuple[str, int | None], tuple[DomainRule, float]] = {}
        self._looked_up: dict[str, float] = {}

    def ask_with(self, approvals: Approvals | None) -> None:
        """Have a person decide from now on about what no rule does."""
        self._approvals = approvals

    def replace(self, domains: Sequence[DomainRule], networks: Sequence[NetRule]) -> None:
        """Let these rules hold from now on.

        Raises:
            ConfigError: one of them is none. What held until now still holds then.
        """
        table = AddressTable(networks)
        self.names.replace(domains)
        self._networks, self._table = tuple(networks), table

    async def allows_name(self, name: str) -> bool:
        """Tell whether the name may be looked up."""
        if self._find(name, None) is not None or time.monotonic() < self._looked_up.get(name, 0.0):
            return True
        return await self._refuse_name(
            Denial("name", f"dns {name}", _NO_NAME_RULE, allow=allow_domain(name, None)), name, None
        )

    async def allows_host(self, name: str, port: int, pid: int = 0) -> bool:
        """Tell whether the port of a normal name may be connected to."""
        if self._find(name, port) is not None:
            return True
        reason = (
            _NO_NAME_RULE if self._find(name, None) is None else f"the rule of this name has no port {port}"
        )
        return await self._refuse_name(
            Denial("connect", f"tcp {name}:{port}", reason, allow=allow_domain(name, port), pid=pid),
            name,
            port,
        )

    async def _refuse_name(self, denial: Denial, name: str, port: int | None) -> bool:
        shut = self._shut(name, port)
        if shut is None:
            return await self._refuse(denial, name, port)
        asks = shut.effect == "require_approval"
        reason = f"rule `{shut.rule}` " + ("asks for an approval" if asks else "denies this name")
        denial = msgspec.structs.replace(denial, rule=shut.rule, reason=reason, allow="")
        if asks:
            return await self._refuse(denial, name, port)
        self._teller.note(denial)
        return False

    def _shut(self, name: str, port: int | None) -> DomainRule | None:
        """Return the rule that is against a name, on every port where none is given; of two the one that denies."""
        found = [
            each
            for each in self._shut_rules
            if (not each.ports or port in each.ports) and fnmatchcase(name, each.domain.lower())
        ]
        return min(found, key=lambda each: each.effect != "deny", default=None)

    def effect(self, address: Address, port: int) -> NetEffect:
        """Return what the rules about addresses say; NONE where they do not speak of it."""
        return effect_of(self._table.verdict(address, port))

    def is_denied(self, address: Address, port: int) -> bool:
        """Tell whether a rule denies the address: a name that leads there changes nothing in that."""
        return self.effect(address, port) in {NetEffect.DENY, NetEffect.ASK}

    async def approves_address(self, address: Address, port: int, pid: int = 0) -> bool:
        """Tell whether a person allows an address of which a rule says that one must."""
        index = rule_index(self._table.verdict(address, port))
        rule = self._networks[index].rule if index is not None else ""
        denial = Denial(
            "connect", f"tcp {_shown(str(address))}:{port}", f"rule `{rule}` asks for an approval", rule,
            allow_host(str(address), port), pid,
        )  # fmt: skip
        return await self._refuse(denial, "", port)

    def deny(self, target: str, reason: str, *, allow: str = "", pid: int = 0) -> None:
        """Tell of what is denied whatever a person says."""
        self._teller.note(Denial("connect", target, reason, allow=allow, pid=pid))

    def _find(self, name: str, port: int | None) -> DomainRule | None:
        found = self.names.find(name, port)
        if found is not None:
            return found
        now = time.monotonic()
        for (known, of_port), (rule, until) in list(self._once.items()):
            if now >= until:
                del self._once[known, of_port]
            elif known == name and (port is None or of_port in {None, port}):
                return rule
        return None

    async def _refuse(self, denial: Denial, name: str, port: int | None) -> bool:
        if self._approvals is None:
            self._teller.note(denial)
            return False
        answer = Answer.DENY
        asking = _as_question(denial)
        with contextlib.suppress(AgentGuardError):
            # In a thread: whoever is asked takes his time, and the agent's other connections go on.
            answer = await asyncio.to_thread(self._approvals.decide, asking)
        until = time.monotonic() + ONCE_S
        # Who was asked about one port has said nothing of the others.
        ports = () if port is None else (port,)
        if answer is Answer.LOOKUP and name and port is None:
            self._looked_up[name] = until
            return True
        if answer is Answer.RUN and name:
            self.names.add(DomainRule(name, ports, "approved"))
        elif answer is Answer.ONCE and name:
            self._once[name, port] = (DomainRule(name, ports, "approved once"), until)
        if answer in {Answer.RUN, Answer.ONCE}:
            return True
        self._teller.note(denial)
        return False


def _as_question(denial: Denial) -> Denial:
    return msgspec.structs.replace(denial, needs_approval=True)


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host

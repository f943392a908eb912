"""`agentguard run --enforce`: from the options to the jail, and from what it refuses to a sentence."""

from __future__ import annotations

import contextlib
import functools
import secrets
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from agentguard.cli._approve import AskPeople, ask_on_terminal
from agentguard.cli._kernel_policy import hold_policy
from agentguard.cli._network import Network
from agentguard.cli._output import Output, counted, plain
from agentguard.core import AgentGuardError, Event, EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from agentguard.assembly import Project
    from agentguard.core import Decider, EventBus, Principal
    from agentguard.kernel import Cgroup, LsmEnforcer, MakeChild, Seen
    from agentguard.kernel.egress import Answer, Upstream
    from agentguard.kernel.egress import Denial as NetworkDenial
    from agentguard.kernel.jail import (
        Denial,
        Denied,
        Enforcement,
        Explainer,
        Protection,
    )

F = TypeVar("F", bound="Callable[..., Any]")
MODES = ("observe", "warn", "enforce", "freeze", "kill")
_JAILED = frozenset(("enforce", "freeze", "kill"))
# Errors that are about the jail: without it nothing runs, seen or not.
JAIL_ERRORS = frozenset(("jail_failed", "jail_degraded", "policy_unenforceable"))
_SHOWN = 30
_KINDS = {
    "file": EventKind.FILE,
    "program": EventKind.PROC,
    "system call": EventKind.PROC,
    "socket": EventKind.NET,
}


@dataclass(frozen=True, slots=True)
class JailOptions:
    """What the command line says of the jail."""

    mode: str
    profile: str
    read_write: tuple[Path, ...]
    read_only: tuple[Path, ...]
    domains: tuple[str, ...]
    degraded: tuple[str, ...]
    max_processes: int

    @property
    def is_jailed(self) -> bool:
        """Whether there is to be a jail."""
        return self.mode in _JAILED


def jail_options(function: F) -> F:
    """Add the options of the jail; the command gets them as `jail`."""
    folder = click.Path(path_type=Path, exists=True, resolve_path=True)

    @click.option("--enforce", is_flag=True, help="Hold it to the policy: the same as --mode enforce.")
    @click.option("--mode", type=click.Choice(MODES), help="What the policy does.  [default: observe]")
    @click.option(
        "--profile",
        metavar="NAME",
        help="What kind of agent it is: coding-agent, data-analyst, browser or offline.  [default: coding-agent]",
    )
    @click.option("--rw", "read_write", multiple=True, type=folder, help="It may change what is in there.")
    @click.option(
        "--ro", "read_only", multiple=True, type=folder, help="It may read and run what is in there."
    )
    @click.option(
        "--allow-domain",
        "domains",
        multiple=True,
        metavar="NAME[:PORT]",
        help="It may reach this name, or with *.NAME those below it.",
    )
    @click.option(
        "--allow-degraded",
        "degraded",
        multiple=True,
        metavar="NAME",
        help="Go on without this protection where it does not hold; the error names it.",
    )
    @click.option(
        "--max-processes",
        type=click.IntRange(16, 1 << 22),
        metavar="N",
        help="It may have so many processes and threads.  [default: 4096]",
    )
    @functools.wraps(function)
    def wrapper(
        *args: Any,
        enforce: bool,
        mode: str | None,
        profile: str | None,
        read_write: tuple[Path, ...],
        read_only: tuple[Path, ...],
        domains: tuple[str, ...],
        degraded: tuple[str, ...],
        max_processes: int | None,
        **kwargs: Any,
    ) -> Any:
        from agentguard.kernel.jail import DEFAULT_PROFILE, MOST_PROCESSES, PROTECTIONS

        for name in degraded:
            if name not in PROTECTIONS:
                known = ", ".join(PROTECTIONS)
                raise click.UsageError(f"there is no protection `{plain(name)}`: it is one of {known}")
        if enforce and mode not in {None, "enforce"}:
            raise click.UsageError(f"--enforce is --mode enforce, and --mode {mode} is another")
        options = JailOptions(
            "enforce" if enforce else mode or "observe",
            profile or DEFAULT_PROFILE,
            read_write,
            read_only,
            domains,
            degraded,
            max_processes or MOST_PROCESSES,
        )
        given = (profile, read_write, read_only, domains, degraded, max_processes)
        if not options.is_jailed and any(given):
            raise click.UsageError("what is allowed has a meaning with --enforce only")
        return function(*args, jail=options, **kwargs)

    return wrapper  # type: ignore[return-value]  # click passes what the wrapped function lacks


class Enforced:
    """The jail of one run, and what it tells. `begin` when the run is about to start; `end` after it."""

    def __init__(
        self,
        options: JailOptions,
        project: Project | None,
        principal: Principal,
        output: Output,
        *,
        by_programs: bool = True,
        own_rules: bool = False,
    ) -> None:
        """Have the policy compiled and signed; `by_programs` where the run has a cgroup of this process's own.

        With `own_rules` it is not the sidecar's rules that count.

        Raises:
            AgentGuardError: it cannot be compiled, signed or held.
        """
        from agentguard.kernel import Child
        from agentguard.kernel.jail import Enforcement, Explainer

        self._output, self._principal, self.options = output, principal, options
        held = hold_policy(options, project, principal, own_rules=own_rules)
        policy, self._notes, self._signed_by = held.policy, held.notes, held.signed_by
        self._bus: EventBus | None = None
        self._record: Callable[..., None] = lambda _phase, **_facts: None
        self._run = ""
        self._lock = threading.Lock()
        self.denials: list[Denial] = []
        self.protections: list[Protection] = []
        self._lsm: LsmEnforcer | None = None
        self._people: AskPeople | None = None
        self._jail: Enforcement
        self._explainer: Explainer
        self._network = Network(
            policy,
            has_network=options.is_jailed and _profile(options).network,
            by_programs=by_programs,
            on_denial=self._tell_network,
            ask=self._ask if options.mode == "freeze" else None,
            upstream=_upstream(project),
        )
        self._notes = (*self._notes, *self._network.notes)
        self._jail = Enforcement(
            policy,
            workspace=held.workspace,
            sockets=self._network.sockets,
            begin=self._put_on,
            within=self._network.within if self._network.is_bridged else None,
            must_lead_out=self._network.must_lead_out,
            more=self._network.more(),
            degraded=options.degraded,
            most_processes=options.max_processes,
            on_denied=self._note_denied,
        )
        self._explainer = Explainer(self._jail.found, self._tell, enforced=options.is_jailed)
        self.make_child: MakeChild = self._jail.make_child if options.is_jailed else Child
        self.note_seen = self._explainer.note_seen
        self.translate: Callable[[Seen], Iterable[Seen]] = self._network.translate
        if not options.is_jailed and _profile(options).network:
            from agentguard.kernel.egress import WouldDeny

            self.translate = WouldDeny(policy, self._tell_network).translate

    def ask_people(self, decider: Decider, run: str) -> None:
        """Have the project's people decide what a rule wants them for, while the agent is frozen."""
        self._people = AskPeople(decider, self._principal, run)

    def _ask(self, denial: NetworkDenial) -> Answer:
        return ask_on_terminal(denial) if self._people is None else self._people(denial)

    def _put_on(self, cgroup: Cgroup | None) -> None:
        """Put on what holds from outside, before the self-test."""
        if self._network.is_bridged and self._jail.is_without_network:
            self._network.give_up()
        self._network.begin(cgroup)
        if cgroup is not None:
            from agentguard.kernel import hold_by_lsm

            self._lsm = hold_by_lsm(cgroup, self._jail.policy)

    @property
    def _tier(self) -> str:
        return "T3" if self._lsm is not None else self._jail.tier

    def begin(self, run: str, record: Callable[..., None], bus: EventBus | None = None) -> None:
        """Say and record what is on; `record` and `bus` take what is refused from now on.

        Raises:
            KernelError: a protection that is needed is not on (`jail_degraded`); nothing has run.
        """
        self._run, self._record, self._bus = run, record, bus
        if not self.options.is_jailed:
            self._output.note(
                f"{self.options.mode}: {self.options.profile}; what would be denied is told, and not held"
            )
            return
        verdicts = {f"{each.protection}: {each.name}": each.ok for each in self._jail.verdicts}
        policy = self._jail.policy
        facts = {
            "tier": self._tier, "profile": self.options.profile, "mode": self.options.mode,
            "kernel_policy": policy.version, "policy_version": policy.policy_version,
            "signed_by": self._signed_by, "self_test": verdicts,
        }  # fmt: skip
        try:
            self.protections = self._jail.judge()
        except AgentGuardError as error:
            record("refused", why=error.message, **facts)
            raise
        on = {each.name: each.on for each in self.protections}
        record("jailed", protections=on, notes=list(self._all_notes()), **facts)
        self._show(verdicts)
        self._network.arm()

    def end(self) -> None:
        """End what outlives the agent; what was denied until now is told. Idempotent."""
        if self._people is not None:
            self._people.close()
        self._network.close()
        lsm, self._lsm = self._lsm, None
        if lsm is not None:
            lsm.remove()

    def facts(self) -> dict[str, Any]:
        """Return what the report says of the jail."""
        with self._lock:
            denied = [each.sentence() for each in self.denials]
        return {
            "enforced": self._tier if self.options.is_jailed else "",
            "protections": {
                each.name: f"{'on' if each.on else 'off'}: {each.detail}" for each in self.protections
            },
            "denied": denied,
        }

    def _all_notes(self) -> Sequence[str]:
        return (*self._notes, *(self._jail.plan.notes if self._jail.plan is not None else ()))

    def _show(self, verdicts: dict[str, bool]) -> None:
        on = ", ".join(
            f"{each.name} ({each.detail.partition(',')[0]})" if each.name == "network" else each.name
            for each in self.protections
            if each.on
        )
        held = sum(verdicts.values())
        self._output.note(
            f"{self.options.mode}: {self.options.profile}, tier {self._tier},"
            f" {held} of {counted(len(verdicts), 'self-test')} passed: {plain(on)}"
        )
        for each in self.protections:
            if not each.on:
                self._output.note(f"  not on: {each.name} ({plain(each.detail)})")
        for note in self._all_notes():
            self._output.note(f"  note: {plain(note)}")

    def _note_denied(self, denied: Denied) -> None:
        self._explainer.note_denied(denied)

    def _tell_network(self, denial: NetworkDenial) -> None:
        from agentguard.kernel.jail import Denial

        who = f"{denial.program or 'process'} {denial.pid}" if denial.pid else ""
        self._tell(
            Denial("socket", denial.target, denial.reason, denial.rule, denial.allow, who, denial.enforced)
        )

    def _tell(self, denial: Denial) -> None:
        with self._lock:
            self.denials.append(denial)
            count = len(self.denials)
            if count <= _SHOWN:
                self._output.note(plain(denial.sentence()))
            elif count == _SHOWN + 1:
                self._output.note("more is denied; it stands in the report and in the audit log")
            with contextlib.suppress(AgentGuardError):
                self._record(
                    "denied" if denial.enforced else "told",
                    what=denial.target,
                    rule=denial.rule,
                    reason=denial.reason,
                    program=denial.program,
                )
            if self._bus is not None:
                self._bus.publish([self._event(denial)])
        if self.options.mode == "kill" and denial.is_grave:
            self._output.note("the agent is ended")
            self._jail.end_agent()

    def _event(self, denial: Denial) -> Event:
        return Event(
            event_id=f"{self._run}-denied-{secrets.token_hex(8)}",
            kind=_KINDS[denial.kind],
            time=datetime.now(UTC),
            principal=self._principal.id,
            session=self._run,
            payload={
                "what": "denied" if denial.enforced else "would be denied", "target": denial.target, "effect": "deny", "rule": denial.rule,
                "reason": denial.reason, "program": denial.program, "allow": denial.allow,
            },
        )  # fmt: skip


def _upstream(project: Project | None) -> Upstream | None:
    """Return the resolvers that the project names, and which private places their answers may lead to."""
    if project is None or not (settings := project.config.egress).resolvers + settings.private:
        return None
    from agentguard.kernel.egress import parse_upstream

    return parse_upstream(settings.resolvers, settings.private)


def _profile(options: JailOptions) -> Any:
    from agentguard.kernel.jail import find_profile

    return find_profile(options.profile)

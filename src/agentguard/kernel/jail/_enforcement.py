"""One enforced run: what is on, whether it holds, and what a refusal means in the words of the policy."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import KernelError
from agentguard.kernel.jail._capabilities import KEPT_BY_ROOT, last_capability
from agentguard.kernel.jail._confine import MOST_PROCESSES, Fit
from agentguard.kernel.jail._jail import Jail, NoNamespacesError, Start
from agentguard.kernel.jail._landlock import SCOPES_ABI, TRUNCATE_ABI, WRITE_FILE, abi
from agentguard.kernel.jail._plan import Plan, make_plan, resolve
from agentguard.kernel.jail._scene import Stage
from agentguard.kernel.jail._seccomp import SocketPolicy, program

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agentguard.kernel._cgroups import Cgroup
    from agentguard.kernel._rules import KernelPolicy
    from agentguard.kernel.jail._canaries import Canary, Verdict
    from agentguard.kernel.jail._supervisor import Denied

# In the order in which they are shown.
PROTECTIONS = (
    "landlock-files", "landlock-scopes", "seccomp", "no-new-privileges", "capabilities", "descriptors", "network",
    "process-namespace", "process-limit", "fanotify",
)  # fmt: skip
_SOCKETS: Mapping[SocketPolicy, str] = {
    "none": "no sockets",
    "loopback": "only its own loopback",
    "guarded": "decided for each connection",
}


class Protection(msgspec.Struct, frozen=True):
    """One protection: whether it is on and proven, whether the run depends on it, and why or how."""

    name: str
    on: bool
    needed: bool
    detail: str


class Enforcement:
    """Makes the jail of one run. `make_child` may be called once, before there are threads.

    `sockets` is what the agent gets of them; with `guarded`, `begin` puts on what decides about connections (it is
    called with the run's cgroup before the self-test), and `more` are attempts that this must hold. `within` is done in the
    new namespaces; where there can be none the run is refused, or without `must_lead_out` has no sockets.
    """

    def __init__(
        self,
        policy: KernelPolicy,
        *,
        workspace: str = "",
        sockets: SocketPolicy = "loopback",
        begin: Callable[[Cgroup | None], None] | None = None,
        within: Callable[[], None] | None = None,
        must_lead_out: bool = True,
        more: Sequence[Canary] = (),
        degraded: Sequence[str] = (),
        most_processes: int = MOST_PROCESSES,
        on_denied: Callable[[Denied], None] = lambda _denied: None,
    ) -> None:
        self.policy = policy
        self.found = resolve(policy)
        self.plan: Plan | None = None
        self._workspace, self._sockets, self._on_denied = workspace, sockets, on_denied
        self._begin, self._within, self._more = begin, within, tuple(more)
        self._must_lead_out = must_lead_out
        self._degraded = frozenset(degraded)
        self._is_root = os.geteuid() == 0
        self._jail: Jail | None = None
        self._no_namespaces = ""
        self._stage: Stage | None = None
        self._most_processes = most_processes

    @property
    def tier(self) -> str:
        """`T2` where programs on the cgroup decide about connections, `T1` where denied files are held by inode, else `T0`."""
        if self.plan is not None and self.plan.sockets == "guarded":
            return "T2"
        return "T1" if self._is_root and self._jail is not None and not self._failed("fanotify") else "T0"

    @property
    def is_without_network(self) -> bool:
        """Whether the agent has no sockets, as where there is no network namespace for it."""
        return self.plan is not None and self.plan.sockets == "none"

    def make_child(self, argv: Sequence[str], *, environ: Mapping[str, str] | None = None) -> Jail:
        """Fork the jailed child of `argv`; it waits.

        Raises:
            KernelError: there is no such program, or the jail cannot be made.
        """
        version = abi()
        if version < TRUNCATE_ABI and "landlock-files" not in self._degraded:
            raise KernelError(
                f"this kernel has Landlock {version or 'switched off'}, and files are held from version {TRUNCATE_ABI} on",
                code="jail_failed",
                hint="boot Linux 6.2 or newer with `landlock` in `lsm=`, or pass `--allow-degraded landlock-files`",
            )
        try:
            self._jail = self._try_make(argv, environ, version, separate=True)
        except NoNamespacesError as error:
            if self._within is not None and self._must_lead_out:
                # INVARIANT: what was to be led out of a namespace is not let out without one.
                raise KernelError(
                    f"names cannot be allowed here: {error}",
                    code="jail_failed",
                    hint="run it as root, allow user namespaces, or leave out --allow-domain and rules for `net.connect`",
                ) from None
            self._no_namespaces = str(error)
            self._jail = self._try_make(argv, environ, version, separate=False)
        return self._jail

    def _try_make(
        self, argv: Sequence[str], environ: Mapping[str, str] | None, version: int, *, separate: bool
    ) -> Jail:
        stage = Stage(self.found)
        try:
            # Without a network namespace, a loopback would be everybody's.
            sockets = "none" if self._sockets == "loopback" and not separate else self._sockets
            policy = msgspec.structs.replace(self.policy, paths=(*self.policy.paths, *stage.rules()))
            self.plan = make_plan(policy, can_mask=separate, sockets=sockets)
            fit = Fit(
                version,
                program(sockets, notify=True, sealed=False),
                program(sockets, notify=True, sealed=True),
                KEPT_BY_ROOT if self._is_root else 0,
                last_capability(),
                self._most_processes,
            )
            # Where something had to be carved out of it, nothing new can be made there, and that is said.
            whole = any(
                each.path == self._workspace and each.rights & WRITE_FILE for each in self.plan.grants
            )
            scene = stage.scene(
                workspace=self._workspace if whole else "", with_link=self._is_root and separate
            )
            start = Start(
                separate=separate,
                network=separate and sockets != "guarded",
                marking=self._is_root and separate,
                fit=fit,
                scene=scene,
                more=self._more,
                begin=self._begin,
                most_processes=self._most_processes if self._is_root else 0,
                within=self._within if separate else None,
            )
            jail = Jail(argv, self.plan, start, environ=environ, on_denied=self._on_denied)
        except BaseException:
            stage.close()
            raise
        self._stage = stage
        return jail

    def end_agent(self) -> None:
        """End the agent and all that it started, at once."""
        if self._jail is not None:
            self._jail.kill()

    def judge(self) -> list[Protection]:
        """Return the protections, after the child was settled, which makes the self-test.

        Raises:
            KernelError: one that is needed is not on, and was not given up by name (`jail_degraded`).
        """
        assert self._jail is not None
        if self._stage is not None:
            self._stage.close()
        protections = [self._protection(name) for name in PROTECTIONS if self._is_meant(name)]
        broken = [each for each in protections if each.needed and not each.on]
        idle = [each for each in self._jail.verdicts if each.protection == "work" and not each.ok]
        if idle:
            raise KernelError(
                f"in this jail nothing can work: {idle[0].name}: {idle[0].detail}",
                code="jail_degraded",
                hint="look at the rules, or take another `--profile`",
            )
        missing = [each for each in broken if each.name not in self._degraded]
        if missing:
            raise KernelError(
                "; ".join(f"{each.name} does not hold ({each.detail})" for each in missing),
                code="jail_degraded",
                hint="go on without: " + " ".join(f"--allow-degraded {each.name}" for each in missing),
            )
        return protections

    @property
    def verdicts(self) -> Sequence[Verdict]:
        """What came of the self-test's attempts."""
        return self._jail.verdicts if self._jail is not None else ()

    def _is_meant(self, name: str) -> bool:
        return name != "fanotify" or self._is_root

    def _failed(self, name: str) -> str:
        """Return why a protection does not hold, or nothing."""
        assert self._jail is not None
        if name == "process-limit":
            return self._jail.limit_problem
        if self._no_namespaces and name in {"process-namespace", "fanotify"}:
            return self._no_namespaces
        if name == "landlock-scopes" and abi() < SCOPES_ABI:
            return f"this kernel's Landlock has version {abi()}, and scopes came with {SCOPES_ABI}"
        failed: Mapping[str, str] = self._jail.ready.failed
        if name in failed:
            return failed[name]
        if name == "landlock-files" and "masks" in failed:
            return failed["masks"]
        wrong = [each for each in self._jail.verdicts if each.protection == name and not each.ok]
        return "; ".join(f"{each.name}: {each.detail}" for each in wrong)

    def _protection(self, name: str) -> Protection:
        why = self._failed(name)
        # An ordinary user may have no namespaces; what holds without them is the floor, and is said.
        needed = name != "process-namespace" or self._is_root
        tests = [each for each in self.verdicts if each.protection == name]
        shown = f"{len(tests)} of {len(tests)} attempts held" if tests else "on"
        return Protection(name, not why, needed, why or self._described(name, shown))

    def _described(self, name: str, shown: str) -> str:
        assert self._jail is not None
        assert self.plan is not None
        if name == "network":
            kind = _SOCKETS[self.plan.sockets]
            return f"{kind}, {shown}"
        if name == "process-limit":
            return f"at most {self._most_processes} processes and threads"
        if name == "landlock-files":
            return f"version {abi()}, {shown}"
        if name == "fanotify":
            return f"{self._jail.ready.marks} inodes, {shown}"
        return shown

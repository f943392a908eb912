"""What was denied, told so that a person knows by which rule, and what to write if it should be allowed."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from agentguard.kernel.jail._compile import SECRETS_RULE
from agentguard.kernel.jail._plan import OWN_RULE, decide
from agentguard.kernel.jail._scene import RULE as SELF_TEST

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentguard.kernel._rules import PathAccess, PathRule
    from agentguard.kernel._seen import Seen
    from agentguard.kernel.jail._plan import Found
    from agentguard.kernel.jail._supervisor import Denied

DenialKind = Literal["file", "program", "system call", "socket"]
_REFUSALS = frozenset((-errno.EACCES, -errno.EPERM, -errno.EROFS, -errno.EXDEV))
# By name: their numbers come with numpy, which is not needed here.
_CHANGES = frozenset(("UNLINK", "RENAME", "LINK", "SYMLINK", "TRUNCATE", "CHMOD", "CHOWN", "MKDIR", "MKNOD"))
_KEPT = 4096
LIMIT_RULE = "process-limit"


class Denial(msgspec.Struct, frozen=True):
    """One thing that an agent was denied.

    `target` is what it wanted: `read /etc/shadow`, `ptrace`. `rule` is the rule that denies it, empty where none allows
    it. `allow` is the line that would allow it, empty where nothing does. `enforced` is false where it was only told.
    """

    kind: DenialKind
    target: str
    reason: str
    rule: str = ""
    allow: str = ""
    program: str = ""
    enforced: bool = True

    @property
    def is_grave(self) -> bool:
        """Whether a rule forbids it by name, or nobody has a need of it: in the mode `kill` it ends the agent."""
        return self.kind == "system call" or (self.kind in {"file", "program"} and self.rule != "")

    def sentence(self) -> str:
        """Return it as one line for a person."""
        who = f" ({self.program})" if self.program else ""
        allow = f"; to allow it: {self.allow}" if self.allow else ""
        verb = "denied" if self.enforced else "would be denied"
        return f"{verb}: {self.target}{who}: {self.reason}{allow}"


class Explainer:
    """Turns refusals into denials, each thing told once. `tell` may be called from several threads.

    Without a jail (`enforced` is false) what was done is told, where the jail would have denied it.
    """

    def __init__(
        self, found: Sequence[Found], tell: Callable[[Denial], None], *, enforced: bool = True
    ) -> None:
        self._found, self._tell, self._enforced = found, tell, enforced
        self._told: set[tuple[str, str]] = set()
        self.count = 0

    def note_denied(self, denied: Denied) -> None:
        """Take in what the supervisor refused."""
        if denied.by == "fanotify":
            self._explain_file(denied.what, "read", denied.program)
        elif denied.by == "cgroup":
            self._note(_of_limit(int(denied.detail)))
        else:
            self._note(_of_call(denied))

    def note_seen(self, seen: Seen) -> None:
        """Take in what the kernel's programs saw."""
        if not self._enforced:
            if seen.ret >= 0:
                self._explain_seen(seen)
        elif seen.ret == -errno.ENOENT:
            # A folder that is hidden is an empty one, to the agent.
            if seen.path.startswith("/") and Path(seen.path).exists():
                self._explain_file(seen.path, "read", seen.comm)
        elif seen.ret in _REFUSALS:
            self._explain_seen(seen)

    def _explain_seen(self, seen: Seen) -> None:
        if seen.kind.name == "EXEC":
            self._explain_file(seen.path, "execute", seen.comm)
        elif seen.kind.name == "OPEN":
            self._explain_file(seen.path, "write" if seen.writes else "read", seen.comm)
        elif seen.kind.name in _CHANGES:
            for path in (seen.path, seen.other):
                self._explain_file(path, "write", seen.comm)

    def _explain_file(self, path: str, access: PathAccess, program: str) -> None:
        if not path.startswith("/"):
            return
        real = os.path.realpath(path)
        rule = decide(self._found, real, access)
        if rule is not None and rule.effect == "allow":
            # Ordinary permissions of the file: not ours.
            return
        kind: DenialKind = "program" if access == "execute" else "file"
        self._note(
            Denial(
                kind,
                f"{access} {path}",
                _reason(rule),
                _id(rule),
                _allow(rule, real, access),
                program,
                self._enforced,
            )
        )

    def _note(self, denial: Denial) -> None:
        self.count += 1
        key = (denial.kind, denial.target)
        if key not in self._told and len(self._told) < _KEPT:
            self._told.add(key)
            self._tell(denial)


def _id(rule: PathRule | None) -> str:
    return rule.rule if rule is not None else ""


def _reason(rule: PathRule | None) -> str:
    if rule is None:
        return "no rule allows it"
    if rule.rule == OWN_RULE:
        return "it is AgentGuard's own"
    if rule.rule == SECRETS_RULE:
        return "it may hold secrets"
    asks = ", which asks for an approval" if rule.effect == "require_approval" else ""
    return f"rule `{rule.rule}`{asks}"


def _allow(rule: PathRule | None, path: str, access: PathAccess) -> str:
    option = "--rw" if access == "write" else "--ro"
    place = path if Path(path).exists() else str(Path(path).parent)
    if rule is None or rule.rule == SECRETS_RULE:
        return f"{option} {place}"
    if rule.rule in {OWN_RULE, SELF_TEST}:
        return ""
    if rule.rule.startswith("shipped."):
        return f"`policy: {{without: [{rule.rule}]}}` in agentguard.yaml, and {option} {place}"
    return f"change rule `{rule.rule}`"


_FOR_NETWORK = "--allow-domain NAME, which leads through the proxy"
_WHY = {
    "io_uring_setup": "its operations pass by the filter of system calls",
    "io_uring_enter": "its operations pass by the filter of system calls",
    "ptrace": "it takes over other processes",
    "bpf": "it puts programs into the kernel",
    "mount": "what is mounted hides what is denied",
    "unshare": "a new user namespace brings new rights",
    "clone": "a new user namespace brings new rights",
    "setns": "it leads out of the jail",
}


def _of_limit(most: int) -> Denial:
    reason = f"it has {most} processes and threads, which is the most that it may have"
    return Denial("program", "fork", reason, LIMIT_RULE, f"--max-processes {2 * most}")


def _of_call(denied: Denied) -> Denial:
    if denied.what in {"socket", "socketpair"}:
        allow = _FOR_NETWORK if denied.detail.startswith("internet") and "raw" not in denied.detail else ""
        return Denial("socket", f"a socket ({denied.detail})", "no such socket leads out of the jail", "profile", allow, denied.program)  # fmt: skip
    shown = denied.what + (f" ({denied.detail})" if denied.detail else "")
    reason = _WHY.get(denied.what, "no agent needs it")
    return Denial("system call", shown, reason, "seccomp", "", denied.program)

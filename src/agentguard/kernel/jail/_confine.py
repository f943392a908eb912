"""What a process does to itself before it runs what is not trusted, in this order."""

from __future__ import annotations

import os
import resource
import socket
from typing import TYPE_CHECKING

import msgspec

from agentguard.kernel.jail._capabilities import drop_capabilities, no_new_privileges
from agentguard.kernel.jail._descriptors import close_others
from agentguard.kernel.jail._landlock import add_grants, make_ruleset, restrict_self
from agentguard.kernel.jail._namespaces import has_sealed_memory_files
from agentguard.kernel.jail._plan import is_within
from agentguard.kernel.jail._seccomp import install

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from agentguard.kernel.jail._plan import Plan

_PROC = "/proc"
# Builds and browsers take hundreds of processes and threads; forks without end stop here.
MOST_PROCESSES = 4096


class Fit(msgspec.Struct, frozen=True):
    """What is known before a process confines itself; `sealed_code` is for where memory files cannot be run anyway."""

    version: int
    code: bytes
    sealed_code: bytes
    keep_capabilities: int
    last_capability: int
    most_processes: int = MOST_PROCESSES


def prepare_files(plan: Plan, fit: Fit) -> int:
    """Return a ruleset for all processes of the jail, with what can be named before its /proc is there; -1 without Landlock.

    Raises:
        OSError: what the kernel answers.
    """
    if not fit.version:
        return -1
    ruleset = make_ruleset(fit.version, deny_tcp=plan.sockets == "none")
    add_grants(ruleset, (each for each in plan.grants if not is_within(each.path, _PROC)), fit.version)
    return ruleset


class ConfinementError(Exception):
    """A step that the kernel refused; nothing may run."""

    def __init__(self, step: str, number: int) -> None:
        super().__init__(f"{step}: {os.strerror(number)}")
        self.step, self.number = step, number


def confine(
    plan: Plan, fit: Fit, supervisor: socket.socket, keep: Collection[int], *, ruleset: int, whose: str
) -> None:
    """Confine this process for good: descriptors, capabilities, privileges, files, system calls.

    `ruleset` is that of `prepare_files`. The supervisor is sent the descriptor at which it is asked about refused calls, and `whose` it is.

    Raises:
        ConfinementError: a step failed.
    """
    code = fit.sealed_code if has_sealed_memory_files() else fit.code
    steps: tuple[tuple[str, Callable[[], None]], ...] = (
        ("descriptors", lambda: close_others({supervisor.fileno(), ruleset, *keep} - {-1})),
        ("capabilities", lambda: drop_capabilities(fit.keep_capabilities, fit.last_capability)),
        ("no-new-privileges", no_new_privileges),
        ("process-limit", lambda: _limit_processes(fit.most_processes)),
        ("landlock-files", lambda: _restrict_files(plan, fit, ruleset)),
        ("seccomp", lambda: _filter(code, supervisor, whose)),
    )
    for name, step in steps:
        try:
            step()
        except OSError as error:
            raise ConfinementError(name, error.errno or 0) from None


def _limit_processes(most: int) -> None:
    # The kernel exempts root, whom a control group holds.
    soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    given = [each for each in (soft, hard) if each != resource.RLIM_INFINITY]
    most = min([most, *given])
    resource.setrlimit(resource.RLIMIT_NPROC, (most, most))


def _restrict_files(plan: Plan, fit: Fit, ruleset: int) -> None:
    if ruleset < 0:
        return
    add_grants(ruleset, (each for each in plan.grants if is_within(each.path, _PROC)), fit.version)
    restrict_self(ruleset)
    os.close(ruleset)


def _filter(code: bytes, supervisor: socket.socket, whose: str) -> None:
    listener = install(code, listen=True)
    socket.send_fds(supervisor, [f"{whose} {os.getpid()}".encode()], [listener])
    os.close(listener)

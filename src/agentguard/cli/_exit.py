"""Exit codes, the same for every command."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from agentguard.core import (
    ActionDenied,
    AgentGuardError,
    AuditError,
    ConfigError,
    Effect,
    IdentityError,
    IntegrityError,
    KernelError,
    TicketError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


class ExitCode(enum.IntEnum):
    """What a script can tell from the exit code."""

    ALLOW = 0
    FAILED = 1
    USAGE = 2
    CONFIGURATION = 3
    INTEGRITY = 4
    KERNEL = 5
    DENY = 10
    REQUIRE_APPROVAL = 11
    TRANSFORM = 12


MEANINGS: Mapping[ExitCode, str] = {
    ExitCode.ALLOW: "allowed, or done",
    ExitCode.FAILED: "a policy test failed, or doctor found a problem",
    ExitCode.USAGE: "wrong usage",
    ExitCode.CONFIGURATION: "the configuration cannot be used",
    ExitCode.INTEGRITY: "something was changed that must not change",
    ExitCode.KERNEL: "the kernel, or the rights in it, do not give what was asked for",
    ExitCode.DENY: "denied, or a token or ticket that does not count",
    ExitCode.REQUIRE_APPROVAL: "a person's approval is needed",
    ExitCode.TRANSFORM: "allowed as rewritten: run what is printed",
}

_OF_EFFECT = {
    Effect.ALLOW: ExitCode.ALLOW,
    Effect.TRANSFORM: ExitCode.TRANSFORM,
    Effect.REQUIRE_APPROVAL: ExitCode.REQUIRE_APPROVAL,
    Effect.DENY: ExitCode.DENY,
}


def of_effect(effect: Effect) -> ExitCode:
    """Return the exit code that stands for an effect."""
    return _OF_EFFECT[effect]


def of_error(error: AgentGuardError) -> ExitCode:
    """Return the exit code that stands for an error."""
    if isinstance(error, IntegrityError):
        return ExitCode.INTEGRITY
    if isinstance(error, KernelError):
        return ExitCode.KERNEL
    if isinstance(error, ConfigError | AuditError):
        return ExitCode.CONFIGURATION
    if isinstance(error, TicketError):
        return ExitCode.CONFIGURATION if error.code == "ticket_store_unavailable" else ExitCode.DENY
    if isinstance(error, IdentityError | ActionDenied):
        return ExitCode.DENY
    return ExitCode.USAGE

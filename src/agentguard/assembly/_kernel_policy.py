"""The kernel policy of a run: compiled from the rules that are in force, and signed with the project's key."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from agentguard.core import KernelError

if TYPE_CHECKING:
    from agentguard.assembly._project import Project
    from agentguard.core import Principal
    from agentguard.identity import StateFolder
    from agentguard.kernel.jail import IssuedPolicy, PolicyOrder


def sign_kernel_policy(
    project: Project, state: StateFolder, principal: Principal, order: PolicyOrder
) -> IssuedPolicy:
    """Return what holds in the kernel for a run of `principal`, signed.

    Raises:
        ConfigError: the state folder cannot be used.
        IntegrityError: the keys or the last version's number are damaged.
        KernelError: it was ordered where other files are to be seen than here (`kernel_policy_elsewhere`).
    """
    from agentguard.kernel.jail import IssuedPolicy, Sources, compile_policy, issue_policy, this_place

    # INVARIANT: who sees other files, or fewer, would leave open what is to be shut.
    if order.place != this_place():
        raise KernelError(
            "the run is another user's, or on another machine or in another container than the sidecar",
            code="kernel_policy_elsewhere",
            hint="the launcher compiles its policy itself",
        )
    sources = Sources(
        project.policies.current,
        project.registry,
        project.inventory,
        project.facts,
        principal,
        datetime.now(UTC),
    )
    compiled = compile_policy(sources, order.wanted, mode=order.mode)
    policy = replace(compiled.policy, networks=(*compiled.policy.networks, *order.networks))
    return IssuedPolicy(issue_policy(policy, state), compiled.notes)

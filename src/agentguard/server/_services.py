"""What the server is given. It builds none of it: the command line does, from what assembly made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from agentguard.config import ServerSettings
from agentguard.core import AuditLog, EventStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentguard.audit import LogState, Rejections
    from agentguard.core import (
        Action,
        ApprovalEngine,
        Decider,
        LabelKeeper,
        Principal,
        SessionOpener,
    )
    from agentguard.enforcement import TicketStore
    from agentguard.gateway import Gateway
    from agentguard.identity import LoginCodes, TicketKeys, VerifiedToken
    from agentguard.kernel.jail import IssuedPolicy, PolicyOrder
    from agentguard.notify import SlackClicks, State, VoteLinks
    from agentguard.policy import PolicyDescription
    from agentguard.sensor import LinkState
    from agentguard.server._people import PeopleDoor
    from agentguard.spend import SpendFigures


class ServedLog(AuditLog, Protocol):
    """The audit log, with its state."""

    @property
    def state(self) -> LogState:
        """Where the chain stands, as far as this process knows."""


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that the server calls.

    `blocking` says that `decider` waits for the disk (`group` and `record` durability), so it runs in
    threads. `principal_named` finds a principal of the inventory for a token with `act_as`, or None.
    Without `events` there are none to show; without
    `gateway` no models can be called; without `sensor` nothing is known of one. With `ticket_keys` and
    `ticket_store` it keeps tickets for executors that have no store of their own; without, those are refused.
    Without `links` and `clicks` votes come from pages and the API alone, and without `approvals` nobody is asked.
    `notices` counts notices by channel and state. Without `sign_kernel_policy` launchers sign their own.
    `ready` lists what is wrong; nothing wrong means ready.
    """

    decider: Decider
    labels: LabelKeeper
    sessions: SessionOpener
    audit: ServedLog
    rejections: Rejections
    verify_token: Callable[[str], VerifiedToken]
    admin_matches: Callable[[str], bool]
    login_codes: LoginCodes
    principal_named: Callable[[str], Principal | None]
    describe_policies: Callable[[], PolicyDescription]
    describe_actions: Callable[[], list[Action]]
    ready: Callable[[], list[str]]
    version: str
    people: PeopleDoor
    settings: ServerSettings = field(default_factory=ServerSettings)
    blocking: bool = False
    events: EventStore | None = None
    gateway: Gateway | None = None
    spending: Callable[[], SpendFigures] | None = None
    sensor: Callable[[], LinkState] | None = None
    ticket_keys: TicketKeys | None = None
    ticket_store: TicketStore | None = None
    approvals: ApprovalEngine | None = None
    links: VoteLinks | None = None
    clicks: SlackClicks | None = None
    notices: Callable[[], Mapping[tuple[str, State], int]] | None = None
    sign_kernel_policy: Callable[[Principal, PolicyOrder], IssuedPolicy] | None = None

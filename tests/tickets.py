"""An issuer of tickets, a clock that can be set, and an executor's verifier."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentguard.core import Decision, Effect, Principal
from agentguard.enforcement import TicketIssuer, TicketStore, TicketVerifier
from agentguard.identity import StateFolder, TicketKeys

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_800_000_000.0
EXECUTOR = "deployer"
ACTION = "scale-deployment@1"
RESOURCE = "prod/api"
PARAMS: dict[str, Any] = {"namespace": "prod", "deployment": "api", "replicas": 5}
AUDIT_ID = "01a1fc5d844477a1bb27bd043f5e6568"


@dataclass
class Moment:
    """A clock that stands still until it is set."""

    at: float = NOW

    def __call__(self) -> float:
        return self.at


@dataclass
class Desk:
    """A project's ticket keys in `folder`, and what is made with them."""

    folder: Path
    project: str = "demo-1234"
    now: Moment = field(default_factory=Moment)

    def __post_init__(self) -> None:
        self.keys = TicketKeys(
            StateFolder.open(self.project, {"XDG_STATE_HOME": str(self.folder)}), now=self.now
        )
        self.issuer = TicketIssuer(self.keys)

    def issue(self, params: Any = PARAMS, *, executor: str = EXECUTOR, **changes: Any) -> str:
        principal = Principal("deploy-agent", on_behalf_of=("release-bot", "ann"))
        fields: dict[str, Any] = {
            "effect": Effect.ALLOW,
            "reason": "rule",
            "principal": principal.id,
            "action": ACTION,
            "resource": RESOURCE,
            "params": params,
        }
        decision = Decision(**(fields | changes))
        return self.issuer.sign(self.issuer.draft(decision, principal, executor), AUDIT_ID)

    def store(self, name: str = "tickets.sqlite") -> TicketStore:
        return TicketStore(self.folder / name, now=self.now)

    def verifier(self, store: TicketStore | None, *, executor: str = EXECUTOR) -> TicketVerifier:
        return TicketVerifier(self.keys, executor=executor, store=store, now=self.now)

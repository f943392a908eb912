"""People for model calls: a decision point with rules and a real engine, and somebody who votes meanwhile."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agentguard.approvals import EmbeddedEngine, Router
from agentguard.backends import MemoryApprovalStore
from agentguard.config import ApprovalSettings
from agentguard.core import (
    Action,
    Approval,
    ApprovalFilter,
    ApprovalState,
    CastVote,
    Principal,
    PrincipalKind,
    Risk,
    Sensitivity,
)
from agentguard.pdp import ApprovalDesk, PolicyDecisionPoint, World
from agentguard.policy import parse_policies
from agentguard.registry import ActionRegistry, Inventory, ResourceEntry
from approval_scene import ANNA, HERE, ListLog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentguard.core import AuditLog

AGENT = Principal("deploy-agent", PrincipalKind.AGENT)
OPEN = "version: 1\nrules: [{id: all, effect: allow}]\n"
ASKED_MODEL = "version: 1\nrules: [{id: ask, effect: require_approval, reason: a person decides}]\n"
ASKED_TOOL = """version: 1
rules:
  - {id: all, effect: allow}
  - {id: ask, effect: require_approval, actions: [get_weather], reason: a person decides}
"""
NAMES = ("llm.chat", "llm.embed", "llm.media", "llm.api", "llm.models", "llm.hosted-tool", "get_weather")


class People:
    """An engine, and the decision point that asks through it. `audit` is the log of both."""

    def __init__(self, rules: str = OPEN) -> None:
        self.audit: ListLog = ListLog()
        self.engine = EmbeddedEngine(MemoryApprovalStore(), audit=self.audit)
        self.point = self._point(rules)

    def _point(self, rules: str) -> PolicyDecisionPoint:
        actions = [
            Action(name, 1, name, Risk.LOW, {"type": "object", "additionalProperties": True})
            for name in NAMES
        ]
        inventory = Inventory.build([ResourceEntry("**", "llm", "", Sensitivity.PUBLIC)], [])
        desk = ApprovalDesk(lambda: self.engine, Router(ApprovalSettings()), commit=str)
        world = World(ActionRegistry.build(actions), inventory, parse_policies(rules))
        audit: AuditLog = self.audit
        return PolicyDecisionPoint(world, audit=audit, desk=desk)

    def adopt(self, rules: str) -> None:
        """Put other rules in force."""
        self.point.world = self._point(rules).world

    def approvals(self, *states: ApprovalState) -> list[Approval]:
        """Return all approvals in these states, or in any."""
        return [each.approval for each in self.engine.find(ApprovalFilter(states=states))]

    def pending(self) -> Approval:
        """Return the one approval that waits, once there is one."""
        for _ in range(1_000):
            if found := self.approvals(ApprovalState.PENDING):
                return found[0]
            threading.Event().wait(0.01)
        raise AssertionError("nobody was asked")

    def vote(self, *, approves: bool) -> Approval:
        """Have Anna vote on what waits."""
        return self.engine.apply(self.pending().id, CastVote(person=ANNA, origin=HERE, approves=approves))

    @contextmanager
    def voting(self, *, approves: bool) -> Iterator[None]:
        """Have Anna vote on what is asked meanwhile."""
        thread = threading.Thread(target=lambda: self.vote(approves=approves))
        thread.start()
        try:
            yield
        finally:
            thread.join()

    def close(self) -> None:
        self.engine.close()

"""Approvals for tests: a draft of one, people, and a log that remembers."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from agentguard.core import (
    ADMIN,
    APPROVER,
    Approval,
    Origin,
    Person,
    Quorum,
    Risk,
    Route,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
HERE = Origin("cli", "127.0.0.1")
ANNA = Person("anna", frozenset({APPROVER}), frozenset({"ops"}))
BEN = Person("ben", frozenset({APPROVER}), frozenset({"ops"}))
CARA = Person("cara", frozenset({APPROVER}), frozenset({"leads"}))
ROOT = Person("root", frozenset({ADMIN}))
VIEWER = Person("vera", frozenset({"viewer"}), frozenset({"ops"}))
PEOPLE = {each.name: each for each in (ANNA, BEN, CARA, ROOT, VIEWER)}
BOTH = Route("pair", quorum=Quorum(2), limit_s=3600.0)


def draft(number: int = 1, *, route: Route | None = None, **changes: Any) -> Approval:
    """Return an approval that nobody has begun."""
    made = Approval(
        id=f"ap-{number:020x}",
        binding=f"sha256:{number:064x}",
        basis="sha256:basis",
        principal="deploy-agent",
        on_behalf_of=("olga",),
        action="restart-deployment@1",
        resource="prod/api",
        params={"namespace": "prod", "deployment": "api", "replicas": 5},
        policy_version="sha256:policy",
        rule="prod-needs-approval",
        reason="production needs a person",
        purpose="the pods hang",
        risk=Risk.HIGH,
        route=route or Route(limit_s=3600.0),
        opened_at=START,
        deadline=START,
    )
    return replace(made, **changes)


class ListLog:
    """An audit log in memory; `is_full` lets it refuse."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.is_full = False
        self._lock = threading.Lock()

    def append(self, record: Mapping[str, Any]) -> str:
        from agentguard.core import AuditError

        if self.is_full:
            raise AuditError("no space left on device")
        with self._lock:
            self.records.append(dict(record))
            return f"event-{len(self.records)}"

    def read(self, *, after: int = 0, limit: int | None = None) -> Iterable[Mapping[str, Any]]:
        return self.records[after : None if limit is None else after + limit]

    def close(self) -> None:
        """Nothing to do."""

    def steps(self, approval_id: str) -> list[str]:
        """Return the states that were recorded of an approval, in the order of its steps."""
        found = {
            each["step"]: each["status"]
            for each in self.records
            if each.get("approval") == approval_id and "step" in each
        }
        return [found[number] for number in sorted(found)]


class HandClock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

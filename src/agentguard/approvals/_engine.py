"""The embedded engine: approvals in a store, moved by whoever calls, timed by one thread."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from agentguard.approvals._clock import SteadyClock
from agentguard.approvals._machine import begin, make_move
from agentguard.approvals._notice import jump_notice
from agentguard.approvals._rules import Rules, check_patch, find_nobody
from agentguard.approvals._telling import record_refusal, record_steps, tell_steps
from agentguard.approvals._timekeeper import Timekeeper
from agentguard.approvals._timers import advance
from agentguard.core import (
    Approval,
    ApprovalError,
    ApprovalFilter,
    AuditError,
    Clock,
    Consume,
    NotifyError,
    StoredApproval,
)

if TYPE_CHECKING:
    from datetime import datetime

    from agentguard.approvals._rules import CheckEdit, FindPerson
    from agentguard.core import ApprovalStore, AuditLog, EventBus, Move, Notifier

_LOG = logging.getLogger("agentguard.approvals")
# How soon a change that another process made is seen by who waits here.
POLL_S = 0.01
# Each lost race means that somebody else's move was made, so this many in a row are no accident.
_RACES = 100
_LOCKS = 64


class EmbeddedEngine:
    """An `ApprovalEngine` in this process. Several processes may run one on a shared store.

    With `keeps_time` it does what comes without anybody asking: deadlines, escalations, telling people, marking
    what was dispatched without an outcome, and finishing what a crash cut off. One process does that, the
    sidecar; others see to their own approvals while they wait for them. `find_person` knows the accounts.
    `check_edit` returns why a change to the parameters could not be let through, if that can be said.
    """

    def __init__(
        self,
        store: ApprovalStore,
        *,
        audit: AuditLog,
        rules: Rules | None = None,
        bus: EventBus | None = None,
        notifier: Notifier | None = None,
        find_person: FindPerson | None = None,
        check_edit: CheckEdit | None = None,
        clock: Clock | None = None,
        keeps_time: bool = False,
    ) -> None:
        self._store = store
        self._audit = audit
        self._rules = rules or Rules()
        self._bus = bus
        self._notifier = notifier
        self._find_person = find_person or find_nobody
        self.check_edit = check_edit
        self._clock = clock or SteadyClock()
        if isinstance(self._clock, SteadyClock):
            self._clock.on_jump = self._jumped
        # One step after the other; approvals that share a lock only wait for each other.
        self._telling = tuple(threading.Lock() for _ in range(_LOCKS))
        self._lock = threading.Lock()
        self._waiting: dict[str, list[threading.Event]] = {}
        self._closed = False
        self._keeper = Timekeeper(self, store, self._clock, self._rules) if keeps_time else None
        if self._keeper is not None:
            self._keeper.start()

    def open(self, approval: Approval) -> Approval:
        """Begin a pending approval; see `ApprovalEngine.open`."""
        self._check_open()
        kept = self._store.add(begin(approval, self._clock.now()))
        if self._keeper is not None:
            self._keeper.changed(kept)
        return self.settle(kept.id)

    def apply(self, approval_id: str, move: Move) -> Approval:
        """Apply a move; see `ApprovalEngine.apply`."""
        self._check_open()
        for _ in range(_RACES):
            before = self._store.get(approval_id)
            if before is None:
                raise self._refused(approval_id, None, move, _unknown(approval_id))
            now = self._time_of(before)
            timely = advance(before, now)
            try:
                check_patch(timely, move, self.check_edit)
                after = make_move(timely, move, now, self._rules, self._find_person)
            except ApprovalError as error:
                if timely is not before and self._swap(timely, before) is not None:
                    self.settle(approval_id)
                raise self._refused(approval_id, before, move, error) from None
            made = self._swap(after, before)
            if made is not None:
                # Who uses it up has yet to put the decision on record; both go there together.
                return made if isinstance(move, Consume) else self.settle(approval_id)
        raise _unavailable("too many others change it")

    def wait(self, approval_id: str, *, revision: int = -1, timeout_s: float = 0.0) -> Approval:
        """Return the approval once it has changed; see `ApprovalEngine.wait`."""
        woken = threading.Event()
        with self._lock:
            self._waiting.setdefault(approval_id, []).append(woken)
        deadline = time.monotonic() + timeout_s
        try:
            while True:
                approval = self._look(approval_id)
                left = deadline - time.monotonic()
                if approval.revision > revision or left <= 0 or self._closed:
                    return approval
                woken.wait(left if self._keeper is not None else min(left, POLL_S))
                woken.clear()
        finally:
            with self._lock:
                self._waiting[approval_id].remove(woken)
                if not self._waiting[approval_id]:
                    del self._waiting[approval_id]

    def find(
        self, wanted: ApprovalFilter, *, after: int = 0, limit: int = 1_000, newest: bool = False
    ) -> list[StoredApproval]:
        """Return approvals; see `ApprovalEngine.find`."""
        return self._store.read(wanted, after=after, limit=limit, newest=newest)

    def close(self) -> None:
        """Stop; see `ApprovalEngine.close`."""
        self._closed = True
        if self._keeper is not None:
            self._keeper.stop()
        with self._lock:
            for each in (woken for waiting in self._waiting.values() for woken in waiting):
                each.set()
        self._store.close()

    def settle(self, approval_id: str, *, is_ours: bool = True) -> Approval:
        """Put on record and tell what was not yet, then wake who waits; return the approval as it is then.

        What is not `is_ours` another process has just done: it is told, and that process puts it on record.

        Raises:
            AuditError: it has changed, and that is not on record; it will be when the log works again.
        """
        try:
            with self._telling[hash(approval_id) % _LOCKS]:
                return self._settle(approval_id, records=is_ours)
        finally:
            self.wake(approval_id)

    def wake(self, approval_id: str) -> None:
        """Let who waits for an approval look at it again."""
        with self._lock:
            waiting = tuple(self._waiting.get(approval_id, ()))
        for each in waiting:
            each.set()

    def let_time_pass(self, approval_id: str) -> Approval | None:
        """Do what is due for an approval by now, and return it; None if there is none."""
        for _ in range(_RACES):
            before = self._store.get(approval_id)
            if before is None:
                return None
            after = advance(before, self._time_of(before))
            if after is before:
                return self.settle(approval_id) if self._keeper is not None else before
            if self._swap(after, before) is not None:
                return self.settle(approval_id)
        raise _unavailable("too many others change it")

    def _settle(self, approval_id: str, *, records: bool) -> Approval:
        recorded = noticed = 0
        for _ in range(_RACES):
            kept = self._store.get(approval_id)
            if kept is None:
                raise _unknown(approval_id)
            # Where somebody else was quicker to move it, what is on record by now is not written again.
            recorded, noticed = max(kept.recorded, recorded), max(kept.noticed, noticed)
            told = replace(kept, recorded=recorded, noticed=noticed)
            if records:
                recorded = record_steps(told, self._audit)
            if self._keeper is not None:
                noticed = tell_steps(told, self._bus, self._notifier)
            if (recorded, noticed) == (kept.recorded, kept.noticed):
                return kept
            made = self._swap(replace(kept, recorded=recorded, noticed=noticed), kept)
            if made is not None:
                return made
        raise _unavailable("too many others change it")

    def _look(self, approval_id: str) -> Approval:
        approval = self._store.get(approval_id)
        if approval is None:
            raise _unknown(approval_id)
        if approval.state.is_open and self._clock.now() >= approval.deadline:
            approval = self.let_time_pass(approval_id)
            assert approval is not None
        return approval

    def _swap(self, after: Approval, before: Approval) -> Approval | None:
        changed = replace(after, revision=before.revision + 1)
        if not self._store.swap(changed, revision=before.revision):
            return None
        if self._keeper is not None:
            self._keeper.changed(changed)
        return changed

    def _time_of(self, approval: Approval) -> datetime:
        # Within one approval time never goes back, whichever process's clock wrote the step before.
        return max(self._clock.now(), approval.steps[-1].at)

    def _refused(
        self, approval_id: str, about: Approval | None, move: Move, error: ApprovalError
    ) -> ApprovalError:
        record_refusal(self._audit, approval_id, about, move, error)
        return error

    def _jumped(self, seconds: float) -> None:
        at: datetime = self._clock.now()
        _LOG.warning("the clock was set by %+.1f s; deadlines of approvals do not follow it", seconds)
        try:
            self._audit.append({"type": "approval", "status": "clock_jumped", "seconds": round(seconds, 3)})
            if self._notifier is not None and self._keeper is not None:
                self._notifier.notify(jump_notice(seconds, at))
        except (AuditError, NotifyError) as error:
            _LOG.error("a jump of the clock could not be told: %s", error.message)

    def _check_open(self) -> None:
        if self._closed:
            raise ApprovalError("approvals are closed", code="approvals_closed")


def _unknown(approval_id: str) -> ApprovalError:
    return ApprovalError(
        f"there is no approval `{approval_id[:100]}`",
        code="approval_unknown",
        hint="see `agentguard approvals list`",
    )


def _unavailable(why: str) -> ApprovalError:
    return ApprovalError(f"the approval cannot be changed: {why}", code="approvals_unavailable")

"""The thread that does what comes without anybody asking."""

from __future__ import annotations

import contextlib
import heapq
import logging
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

from agentguard.approvals._clock import SteadyClock
from agentguard.approvals._timers import next_due
from agentguard.core import AgentGuardError, ApprovalError, ApprovalFilter, MarkUnknown

if TYPE_CHECKING:
    from datetime import datetime

    from agentguard.approvals._engine import EmbeddedEngine
    from agentguard.approvals._rules import Rules
    from agentguard.core import Approval, ApprovalStore, Clock

_LOG = logging.getLogger("agentguard.approvals")
# How soon a change that another process made is seen here. Also how soon a jump of the clock is noticed.
_POLL_S = 0.02
_RETRY = timedelta(seconds=1)
_ALL = ApprovalFilter()
_BATCH = 500


class Timekeeper:
    """Follows a store's approvals and lets `engine` do what is due for them."""

    def __init__(self, engine: EmbeddedEngine, store: ApprovalStore, clock: Clock, rules: Rules) -> None:
        self._engine = engine
        self._store = store
        self._clock = clock
        self._rules = rules
        self._due: list[tuple[datetime, str, int]] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._seq = 0
        self._left: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="agentguard-approvals", daemon=True)

    def start(self) -> None:
        """Begin with what the last process left, then follow."""
        with contextlib.suppress(ApprovalError):
            # Known before anybody can use one up here: of those it is not yet time to say that nobody knows.
            self._left = {each.approval.id for each in self._store.read(ApprovalFilter(effect_unknown=True))}
        self._thread.start()

    def stop(self) -> None:
        """Stop, and wait for what is in progress."""
        self._stopping.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def changed(self, approval: Approval) -> None:
        """Remember when something is due for an approval that has changed."""
        due = next_due(approval, self._rules)
        if min(approval.recorded, approval.noticed) < len(approval.steps):
            later = self._clock.now() + _RETRY
            due = later if due is None else min(due, later)
        if due is not None:
            with self._lock:
                heapq.heappush(self._due, (due, approval.id, approval.revision))

    def _run(self) -> None:
        wait_s, is_ready = 0.0, False
        while not self._stopping.wait(wait_s):
            wait_s = _POLL_S
            try:
                if not is_ready:
                    self._take_over()
                    is_ready = True
                self._follow()
                self._do_due()
            except AgentGuardError as error:
                # Approvals stay as they are, and nothing is let through by that.
                _LOG.error("approvals are not followed: %s", error.message)
                wait_s = _RETRY.total_seconds()
            except Exception:  # noqa: BLE001 - the boundary of a thread
                # The thread must live: what failed is logged, and tried again.
                _LOG.exception("approvals are not followed")
                wait_s = _RETRY.total_seconds()

    def _take_over(self) -> None:
        """Go on with what the last process left."""
        tail = self._store.read(_ALL, limit=1, newest=True)
        self._seq = tail[0].seq if tail else 0
        after = 0
        while found := self._store.read(ApprovalFilter(has_work=True), after=after, limit=_BATCH):
            for each in found:
                after = each.seq
                self._take_in(self._engine.settle(each.approval.id))
                # Whoever used it may live on and still say; until then nobody knows.
                if each.approval.id in self._left and not each.approval.effect_unknown:
                    self._mark(each.approval.id)

    def _follow(self) -> None:
        """Take in what has changed, here or in other processes."""
        for each in self._store.read(_ALL, after=self._seq, limit=_BATCH):
            self._seq = each.seq
            self._take_in(each.approval)

    def _take_in(self, approval: Approval) -> None:
        last = approval.steps[-1].at
        if isinstance(self._clock, SteadyClock) and last > self._clock.now():
            # The clock was set back while nobody looked.
            self._clock.not_before(last)
        if approval.noticed < len(approval.steps):
            # Whoever did it puts it on record; should they have died, that is done here a little later.
            approval = self._engine.settle(approval.id, is_ours=False)
        self.changed(approval)
        self._engine.wake(approval.id)

    def _do_due(self) -> None:
        now = self._clock.now()
        while True:
            with self._lock:
                if not self._due or self._due[0][0] > now:
                    return
                _, approval_id, revision = heapq.heappop(self._due)
            approval = self._engine.let_time_pass(approval_id)
            if approval is None or approval.revision != revision:
                continue  # its newer revision has a place of its own
            due = next_due(approval, self._rules)
            if approval.is_effect_unknown and due is not None and due <= now:
                self._mark(approval_id)
            else:
                self.changed(approval)

    def _mark(self, approval_id: str) -> None:
        try:
            self._engine.apply(approval_id, MarkUnknown())
        except ApprovalError as error:
            # Somebody was quicker and said what came of it.
            _LOG.debug("not marked: %s", error.code)

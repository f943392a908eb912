"""Waits for changes that others make in a store."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from agentguard.core import AgentGuardError, ApprovalError, ApprovalFilter

if TYPE_CHECKING:
    from agentguard.core import Approval, ApprovalStore

_POLL_S = 0.01
_BATCH = 500
# Whatever the follower misses, who waits looks for themselves this often.
_LOOK_S = 1.0
_ALL = ApprovalFilter()


class Follower:
    """Reads what changes in a store, for all who wait; at rest while nobody does. Safe to use from many threads."""

    def __init__(self, store: ApprovalStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._waiting: dict[str, list[threading.Event]] = {}
        self._thread: threading.Thread | None = None
        self._closed = False

    def wait(self, approval_id: str, *, revision: int, timeout_s: float) -> Approval:
        """Return an approval once its revision is above `revision`, or as it is when the time is up.

        Raises:
            ApprovalError: there is none (`approval_unknown`), or it cannot be read.
        """
        deadline = time.monotonic() + timeout_s
        woken = threading.Event()
        is_waiting = False
        try:
            while True:
                approval = self._store.get(approval_id)
                if approval is None:
                    raise ApprovalError(
                        f"there is no approval `{approval_id[:100]}`",
                        code="approval_unknown",
                        hint="see `agentguard approvals list`",
                    )
                left = deadline - time.monotonic()
                if approval.revision > revision or left <= 0 or self._closed:
                    return approval
                if not is_waiting:
                    # Looked at once more, for what came before somebody followed.
                    self._join(approval_id, woken)
                    is_waiting = True
                    continue
                woken.wait(min(left, _LOOK_S))
                woken.clear()
        finally:
            if is_waiting:
                self._leave(approval_id, woken)

    def close(self) -> None:
        """Answer who waits. Idempotent."""
        with self._lock:
            self._closed = True
            thread = self._thread
            for each in (woken for waiting in self._waiting.values() for woken in waiting):
                each.set()
        if thread is not None:
            thread.join()

    def _join(self, approval_id: str, woken: threading.Event) -> None:
        tail = self._store.read(_ALL, limit=1, newest=True)
        with self._lock:
            self._waiting.setdefault(approval_id, []).append(woken)
            if self._thread is None and not self._closed:
                seq = tail[0].seq if tail else 0
                self._thread = threading.Thread(
                    target=self._follow, args=(seq,), name="agentguard-approvals-follower", daemon=True
                )
                self._thread.start()

    def _leave(self, approval_id: str, woken: threading.Event) -> None:
        with self._lock:
            self._waiting[approval_id].remove(woken)
            if not self._waiting[approval_id]:
                del self._waiting[approval_id]

    def _follow(self, seq: int) -> None:
        pause = threading.Event()
        while self._is_asked():
            try:
                for each in self._store.read(_ALL, after=seq, limit=_BATCH):
                    seq = each.seq
                    self._wake(each.approval.id)
            except AgentGuardError:
                # Who waits finds out by looking.
                pause.wait(_LOOK_S)
            pause.wait(_POLL_S)

    def _is_asked(self) -> bool:
        with self._lock:
            if self._waiting and not self._closed:
                return True
            self._thread = None
            return False

    def _wake(self, approval_id: str) -> None:
        with self._lock:
            for each in self._waiting.get(approval_id, ()):
                each.set()

"""Approvals in this process's memory."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from agentguard.core import Approval, ApprovalError, ApprovalState, StoredApproval

if TYPE_CHECKING:
    from agentguard.core import ApprovalFilter


class MemoryApprovalStore:
    """An `ApprovalStore` that ends with the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, StoredApproval] = {}
        self._seq = 0
        self._closed = False

    def add(self, approval: Approval) -> Approval:
        """Keep a new approval; see `ApprovalStore.add`."""
        with self._lock:
            self._check_open()
            for each in self._kept.values():
                known = each.approval
                if known.binding == approval.binding and known.state is ApprovalState.PENDING:
                    return known
            if approval.id in self._kept:
                raise ApprovalError(f"the id `{approval.id}` is taken", code="approvals_unavailable")
            self._put(approval)
            return approval

    def swap(self, approval: Approval, *, revision: int) -> bool:
        """Put it in the place of what has `revision`; see `ApprovalStore.swap`."""
        with self._lock:
            self._check_open()
            known = self._kept.get(approval.id)
            if known is None or known.approval.revision != revision:
                return False
            self._put(approval)
            return True

    def get(self, approval_id: str) -> Approval | None:
        """Return the approval with this id, or None."""
        with self._lock:
            self._check_open()
            known = self._kept.get(approval_id)
            return None if known is None else known.approval

    def read(
        self, wanted: ApprovalFilter, *, after: int = 0, limit: int = 1_000, newest: bool = False
    ) -> list[StoredApproval]:
        """Return approvals by the place of their last change; see `ApprovalStore.read`."""
        with self._lock:
            self._check_open()
            # A changed one is put at the end, so they are in order.
            kept = list(self._kept.values())
        found = [each for each in kept if each.seq > after and wanted.matches(each.approval)]
        return found[-limit:] if newest else found[:limit]

    def close(self) -> None:
        """Take and give no more. Idempotent."""
        self._closed = True

    def _put(self, approval: Approval) -> None:
        self._seq += 1
        self._kept.pop(approval.id, None)
        self._kept[approval.id] = StoredApproval(self._seq, approval)

    def _check_open(self) -> None:
        if self._closed:
            raise ApprovalError("the approvals are closed", code="approvals_closed")

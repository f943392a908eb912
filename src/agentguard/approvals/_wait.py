"""Waits until people have said, on any engine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from agentguard.core import Approval, ApprovalState

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.core import ApprovalEngine


def wait_decided(
    engine: ApprovalEngine,
    approval_id: str,
    *,
    timeout_s: float,
    slice_s: float = 3600.0,
    is_over: Callable[[], bool] = lambda: False,
) -> Approval:
    """Return an approval once it is not pending any more, the time is up, or `is_over`, asked each `slice_s`.

    Raises:
        ApprovalError: there is none, or it cannot be read.
    """
    until = time.monotonic() + timeout_s
    approval = engine.wait(approval_id)
    while approval.state is ApprovalState.PENDING and not is_over():
        left = until - time.monotonic()
        if left <= 0:
            break
        approval = engine.wait(approval_id, revision=approval.revision, timeout_s=min(left, slice_s))
    return approval

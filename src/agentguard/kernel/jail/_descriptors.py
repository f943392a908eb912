"""Descriptors: what was open before the agent started is not the agent's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentguard.kernel.jail._calls import call

if TYPE_CHECKING:
    from collections.abc import Collection

_LAST = 0xFFFFFFFF


def close_others(keep: Collection[int], *, first: int = 3) -> None:
    """Close every descriptor from `first` on but those in `keep`.

    Raises:
        OSError: what the kernel answers.
    """
    start = first
    for each in sorted(keep):
        if each > start:
            call("close_range", start, each - 1, 0)
        start = max(start, each + 1)
    call("close_range", start, _LAST, 0)

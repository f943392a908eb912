"""Event ids: version 7 UUIDs (RFC 9562, section 5.7) in 32 hex digits, so they sort by time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


def event_ids(times: Sequence[datetime]) -> list[str]:
    """Return an id for each aware time; 62 bits of each are random, and microseconds stand in `rand_a`."""
    random = os.urandom(8 * len(times)).hex()
    ids = []
    for place, time in enumerate(times):
        micros = round(time.timestamp() * 1_000_000)
        low = random[16 * place + 1 : 16 * place + 16]
        ids.append(f"{micros // 1000:012x}7{micros % 1000 * 4096 // 1000:03x}8{low}")
    return ids

"""Event ids are version 7 UUIDs that sort by time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from agentguard.events import event_ids

START = datetime(2026, 1, 31, tzinfo=UTC)


@given(st.lists(st.integers(0, 10**12), max_size=20))
def test_ids_have_the_form_and_sort_by_time(offsets: list[int]) -> None:
    times = [START + timedelta(microseconds=offset) for offset in sorted(set(offsets))]
    made = event_ids(times)
    assert made == sorted(made)
    assert len(set(made)) == len(times)
    assert all(re.fullmatch(r"[0-9a-f]{12}7[0-9a-f]{3}8[0-9a-f]{15}", each) for each in made)

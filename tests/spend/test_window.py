from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.spend import Window
from agentguard.spend._window import span

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NONE = timedelta(0)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("window", "zone", "now", "start", "end"),
    [
        (Window.DAILY, "UTC", "2026-11-20 00:00", "2026-11-20 00:00", "2026-11-21 00:00"),
        (Window.DAILY, "UTC", "2026-11-20 23:59:59.999999", "2026-11-20 00:00", "2026-11-21 00:00"),
        # The day is a local one: 23:30 UTC is the next day in Berlin, and still the day before in New York.
        (Window.DAILY, "Europe/Berlin", "2026-11-20 23:30", "2026-11-20 23:00", "2026-11-21 23:00"),
        (Window.DAILY, "America/New_York", "2026-11-20 03:30", "2026-11-19 05:00", "2026-11-20 05:00"),
        (Window.DAILY, "Asia/Kolkata", "2026-11-20 18:30", "2026-11-20 18:30", "2026-11-21 18:30"),
        # The clocks change: 23 hours in March, 25 in October.
        (Window.DAILY, "Europe/Berlin", "2026-03-29 12:00", "2026-03-28 23:00", "2026-03-29 22:00"),
        (Window.DAILY, "Europe/Berlin", "2026-10-25 12:00", "2026-10-24 22:00", "2026-10-25 23:00"),
        # The hour that comes twice is one day.
        (Window.DAILY, "Europe/Berlin", "2026-10-25 00:30", "2026-10-24 22:00", "2026-10-25 23:00"),
        (Window.DAILY, "Europe/Berlin", "2026-10-25 01:30", "2026-10-24 22:00", "2026-10-25 23:00"),
        # Midnight is skipped: the day begins at one o'clock, the moment of the change.
        (Window.DAILY, "America/Santiago", "2026-09-06 12:00", "2026-09-06 04:00", "2026-09-07 03:00"),
        (Window.DAILY, "Africa/Cairo", "2026-04-24 12:00", "2026-04-23 22:00", "2026-04-24 21:00"),
        # Midnight comes twice: the day begins with the first, and has 25 hours.
        (Window.DAILY, "America/Havana", "2026-11-01 04:30", "2026-11-01 04:00", "2026-11-02 05:00"),
        (Window.DAILY, "America/Havana", "2026-11-01 05:30", "2026-11-01 04:00", "2026-11-02 05:00"),
        # A change of half an hour.
        (Window.DAILY, "Australia/Lord_Howe", "2026-10-03 20:00", "2026-10-03 13:30", "2026-10-04 13:00"),
        # Samoa had no 30 December in 2011.
        (Window.DAILY, "Pacific/Apia", "2011-12-30 09:59", "2011-12-29 10:00", "2011-12-30 10:00"),
        (Window.DAILY, "Pacific/Apia", "2011-12-30 10:00", "2011-12-30 10:00", "2011-12-31 10:00"),
        (Window.WEEKLY, "UTC", "2026-11-22 23:59", "2026-11-16 00:00", "2026-11-23 00:00"),
        (Window.WEEKLY, "UTC", "2026-11-23 00:00", "2026-11-23 00:00", "2026-11-30 00:00"),
        (Window.WEEKLY, "Europe/Berlin", "2026-10-25 22:59", "2026-10-18 22:00", "2026-10-25 23:00"),
        (Window.MONTHLY, "UTC", "2028-02-29 12:00", "2028-02-01 00:00", "2028-03-01 00:00"),
        (Window.MONTHLY, "America/Los_Angeles", "2027-01-01 07:59", "2026-12-01 08:00", "2027-01-01 08:00"),
        (Window.MONTHLY, "Europe/Berlin", "2026-03-31 21:59", "2026-02-28 23:00", "2026-03-31 22:00"),
    ],
)
def test_a_calendar_window_is_a_local_one(window: Window, zone: str, now: str, start: str, end: str) -> None:
    found = span(window, utc(now), zone=ZoneInfo(zone), rolling=NONE)
    assert EPOCH + timedelta(microseconds=found.bucket) == utc(start)
    assert found.since == found.bucket
    assert found.ends == utc(end)


def test_a_total_never_ends() -> None:
    found = span(Window.TOTAL, utc("2026-11-20 12:00"), zone=ZoneInfo("UTC"), rolling=NONE)
    assert (found.bucket, found.since, found.ends) == (0, 0, None)


_TIMES = st.integers(0, 2**31).map(lambda second: EPOCH + timedelta(seconds=second, microseconds=second % 7))


@given(
    now=_TIMES,
    back=st.timedeltas(NONE, timedelta(days=100)),
    rolling=st.timedeltas(timedelta(minutes=1), timedelta(days=90)),
)
def test_a_rolling_window_counts_all_that_is_in_it_and_little_more(
    now: datetime, back: timedelta, rolling: timedelta
) -> None:
    def at(when: datetime) -> tuple[int, int]:
        found = span(Window.ROLLING, when, zone=ZoneInfo("UTC"), rolling=rolling)
        return found.bucket, found.since

    counts = at(now - back)[0] >= at(now)[1]
    if back <= rolling:
        assert counts
    if back > rolling * 62 / 60 + timedelta(seconds=1):
        assert not counts


@given(
    now=_TIMES,
    window=st.sampled_from([Window.DAILY, Window.WEEKLY, Window.MONTHLY]),
    zone=st.sampled_from(
        ["Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "America/Santiago", "UTC"]
    ),
)
def test_a_calendar_window_holds_the_present_and_the_next_begins_where_it_ends(
    now: datetime, window: Window, zone: str
) -> None:
    found = span(window, now, zone=ZoneInfo(zone), rolling=NONE)
    assert found.ends is not None
    assert EPOCH + timedelta(microseconds=found.bucket) <= now < found.ends
    following = span(window, found.ends, zone=ZoneInfo(zone), rolling=NONE)
    assert EPOCH + timedelta(microseconds=following.bucket) == found.ends

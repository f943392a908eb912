"""Windows: from when to when a budget counts, and where in it an amount is booked.

A calendar window begins at local midnight of its time zone and is one bucket. A day is as long as it is there:
23 or 25 hours when the clocks change. A rolling window is cut into sixty buckets; the oldest counts whole, so
what is in the window is never counted too low.
"""

from __future__ import annotations

import enum
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from datetime import date
    from zoneinfo import ZoneInfo

ROLLING_BUCKETS = 60
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DECEMBER = 12


class Window(enum.Enum):
    """For how long a budget counts."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    TOTAL = "total"
    ROLLING = "rolling"


class Span(msgspec.Struct, frozen=True):
    """Where an amount is booked now, from which bucket on amounts count, and when the window ends, if it does."""

    bucket: int
    since: int
    ends: datetime | None


# The window that was asked for last, with its begin and end: nearly every call is in it.
_known: dict[tuple[Window, ZoneInfo], tuple[datetime, datetime, Span]] = {}


def span(window: Window, now: datetime, *, zone: ZoneInfo, rolling: timedelta) -> Span:
    """Return the window around `now` (aware). Weeks begin on Monday (ISO 8601)."""
    if window is Window.TOTAL:
        return Span(0, 0, None)
    if window is Window.ROLLING:
        length = rolling // _MICROSECOND
        width = -(-length // ROLLING_BUCKETS)
        at = (now - _EPOCH) // _MICROSECOND
        return Span(at // width * width, (at - length) // width * width, None)
    known = _known.get((window, zone))
    if known is None or not known[0] <= now < known[1]:
        today = now.astimezone(zone).date()
        first, last = _DAYS[window](today)
        start, end = _midnight(first, zone), _midnight(last, zone)
        bucket = (start - _EPOCH) // _MICROSECOND
        known = _known[window, zone] = (start, end, Span(bucket, bucket, end))
    return known[2]


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    # Where midnight is skipped this is the moment of the change; where it comes twice, the first.
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _day(today: date) -> tuple[date, date]:
    return today, today + timedelta(days=1)


def _week(today: date) -> tuple[date, date]:
    monday = today - timedelta(days=today.weekday())
    return monday, monday + timedelta(days=7)


def _month(today: date) -> tuple[date, date]:
    first = today.replace(day=1)
    if first.month == _DECEMBER:
        return first, first.replace(year=first.year + 1, month=1)
    return first, first.replace(month=first.month + 1)


_DAYS = {Window.DAILY: _day, Window.WEEKLY: _week, Window.MONTHLY: _month}

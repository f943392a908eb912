"""Which channels, and when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.config import (
    ChannelSettings,
    EmailSettings,
    NotifySettings,
    QuietSettings,
    SlackSettings,
    WebhookSettings,
)
from agentguard.core import NoticeKind, Severity
from agentguard.notify import Routing, kinds_of
from notify_world import notice

CHANNELS: dict[str, ChannelSettings] = {
    "ops": SlackSettings(webhook="env:SLACK"),
    "mail": EmailSettings(host="localhost", sender="a@example.com", recipients=("b@example.com",)),
    "hook": WebhookSettings(url="https://example.com/", secret="env:HOOK"),
}


def routing(**changes: object) -> Routing:
    settings = NotifySettings(channels=CHANNELS, **changes)  # type: ignore[arg-type]  # of a case
    return Routing(settings, kinds_of(settings))


@pytest.mark.parametrize(
    ("severity", "changes", "expected"),
    [
        (Severity.CRITICAL, {}, ("ops", "mail", "hook")),
        (Severity.HIGH, {}, ("ops", "mail", "hook")),
        (Severity.MEDIUM, {}, ("mail", "hook")),
        (Severity.LOW, {}, ()),
        (Severity.INFO, {}, ()),
        (Severity.LOW, {"routes": {Severity.LOW: ("mail",)}}, ("mail",)),
        (Severity.CRITICAL, {"routes": {Severity.CRITICAL: ()}}, ()),
        (Severity.HIGH, {"routes": {Severity.LOW: ("mail",)}}, ("ops", "mail", "hook")),
    ],
)
def test_severity_says_which_channels(
    severity: Severity, changes: dict[str, object], expected: tuple[str, ...]
) -> None:
    assert routing(**changes).channels_of(notice(severity=severity)) == expected


def test_what_is_for_everyone_goes_everywhere() -> None:
    subject = routing(routes={Severity.LOW: ()})
    assert subject.channels_of(notice(severity=Severity.LOW, everyone=True)) == ("ops", "mail", "hook")


BERLIN = QuietSettings("22:00", "07:00", "Europe/Berlin")


@pytest.mark.parametrize(
    ("quiet", "now", "due"),
    [
        (BERLIN, "2026-01-10T12:00", "2026-01-10T12:00"),
        (BERLIN, "2026-01-10T21:00", "2026-01-11T06:00"),
        (BERLIN, "2026-01-10T23:30", "2026-01-11T06:00"),
        (BERLIN, "2026-01-11T05:59", "2026-01-11T06:00"),
        (BERLIN, "2026-01-11T06:00", "2026-01-11T06:00"),
        (BERLIN, "2026-07-10T20:30", "2026-07-11T05:00"),
        # The night in which the clocks go forward.
        (BERLIN, "2026-03-28T22:00", "2026-03-29T05:00"),
        (QuietSettings("12:00", "13:00"), "2026-01-10T12:30", "2026-01-10T13:00"),
        (QuietSettings("12:00", "13:00"), "2026-01-10T13:00", "2026-01-10T13:00"),
        (QuietSettings("12:00", "12:00"), "2026-01-10T12:00", "2026-01-10T12:00"),
    ],
)
def test_quiet_hours_hold_until_their_end(quiet: QuietSettings, now: str, due: str) -> None:
    at, expected = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (now, due))
    assert routing(quiet=quiet).due(notice(severity=Severity.MEDIUM), at) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"severity": Severity.CRITICAL},
        {"everyone": True},
        {"kind": NoticeKind.GLASS_BROKEN},
        {"kind": NoticeKind.TEST},
    ],
)
def test_what_cannot_wait_ignores_quiet_hours(changes: dict[str, Any]) -> None:
    at = datetime(2026, 1, 10, 23, tzinfo=UTC)
    assert routing(quiet=BERLIN).due(notice(**changes), at) == at


@given(st.floats(0, 2 * 365 * 86_400), st.times(), st.times())
def test_nothing_is_held_longer_than_a_day(seconds: float, since: object, until: object) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    quiet = QuietSettings(f"{since:%H:%M}", f"{until:%H:%M}", "Europe/Berlin")
    due = routing(quiet=quiet).due(notice(severity=Severity.LOW), now)
    assert 0 <= (due - now).total_seconds() <= 25 * 3600

"""Which channels a notice goes to, and when."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from agentguard.core import NoticeKind, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentguard.config import NotifySettings, QuietSettings
    from agentguard.core import Notice

# What nobody said otherwise: critical everywhere, high where people read, medium by mail.
_DEFAULT = {Severity.HIGH: ("slack", "teams", "email", "webhook"), Severity.MEDIUM: ("email", "webhook")}
# These are about a moment, and are over when it is.
_NEVER_QUIET = frozenset((NoticeKind.GLASS_BROKEN, NoticeKind.TEST))


class Routing:
    """The rules of a project about who is told what; `kinds` are its channels' kinds by name."""

    def __init__(self, settings: NotifySettings, kinds: Mapping[str, str]) -> None:
        self._quiet = settings.quiet
        self._routes = {severity: settings.routes.get(severity) for severity in Severity}
        self._kinds = dict(kinds)

    def channels_of(self, notice: Notice) -> tuple[str, ...]:
        """Return the names of the channels that a notice goes to; what is for everyone goes everywhere."""
        named = self._routes[notice.severity]
        if notice.everyone or (named is None and notice.severity is Severity.CRITICAL):
            return tuple(self._kinds)
        if named is not None:
            return tuple(name for name in named if name in self._kinds)
        kinds = _DEFAULT.get(notice.severity, ())
        return tuple(name for name, kind in self._kinds.items() if kind in kinds)

    def due(self, notice: Notice, now: datetime) -> datetime:
        """Return when a notice is told: now, or at the end of the quiet hours."""
        if (
            self._quiet is None
            or notice.severity is Severity.CRITICAL
            or notice.everyone
            or notice.kind in _NEVER_QUIET
        ):
            return now
        return _end_of_quiet(self._quiet, now)


def kinds_of(settings: NotifySettings) -> dict[str, str]:
    """Return the kinds of a project's channels by their names."""
    return {name: str(type(each).__struct_config__.tag) for name, each in settings.channels.items()}


def _end_of_quiet(quiet: QuietSettings, now: datetime) -> datetime:
    local = now.astimezone(ZoneInfo(quiet.tz))
    since, until, at = time.fromisoformat(quiet.since), time.fromisoformat(quiet.until), local.time()
    overnight = since > until
    if since == until or not (at >= since or at < until if overnight else since <= at < until):
        return now
    day = local.date() + timedelta(days=1 if overnight and at >= since else 0)
    # A wall time that the change of the clocks leaves out is read as the one before it.
    return datetime.combine(day, until, tzinfo=ZoneInfo(quiet.tz)).astimezone(UTC)

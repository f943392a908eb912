"""Alerts on the bus as notices: a lie that the kernel saw, a budget that is passed."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from agentguard.core import EventKind, Notice, NoticeKind, NotifyError, Severity

if TYPE_CHECKING:
    from agentguard.core import Event, EventBus, Notifier

log = logging.getLogger("agentguard.notify")

_BATCH, _WAIT_S = 100, 1.0
_SEVERITIES = {each.value: each for each in Severity}
# Alerts of other layers that say no severity of their own.
_KNOWN = {"spend.overrun": Severity.HIGH, "spend.threshold": Severity.MEDIUM, "events.dropped": Severity.HIGH}
_SHOWN = ("reason", "resource", "rule", "would", "attempt", "detail", "program", "spent", "limit", "count")


class AlertNotices:
    """Tells `notifier` of alerts on `bus`, in a thread of its own, until it is closed."""

    def __init__(self, bus: EventBus, notifier: Notifier) -> None:
        self._notifier = notifier
        self._place = bus.subscribe("notify", max_events=4_096)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="agentguard-alert-notices", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Tell of what was published until now. Idempotent."""
        self._stopping.set()
        self._thread.join()
        self._place.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._tell(self._place.take(_BATCH, timeout_s=_WAIT_S))
        while left := self._place.take(_BATCH, timeout_s=0):
            self._tell(left)

    def _tell(self, events: list[Event]) -> None:
        for event in events:
            notice = notice_of(event) if event.kind is EventKind.ALERT else None
            if notice is None:
                continue
            try:
                self._notifier.notify(notice)
            except NotifyError as error:
                # The alert itself is in the event store.
                log.warning("an alert cannot be told: %s", error.message)


def notice_of(event: Event) -> Notice | None:
    """Return what people are told of an alert; None where it is nothing to be told."""
    payload = event.payload
    action = str(payload.get("action", "")) or str(payload.get("attempt", "alert"))
    severity = _SEVERITIES.get(str(payload.get("severity", ""))) or _KNOWN.get(action)
    if severity is None:
        return None
    fields = [("principal", event.principal), ("run or session", event.session)]
    fields += [(name, str(payload[name])) for name in _SHOWN if payload.get(name)]
    return Notice(
        id=f"event:{event.event_id}",
        kind=NoticeKind.ALERT,
        severity=severity,
        title=f"{action}: {event.principal or 'somebody'}: {payload.get('reason') or payload.get('resource', '')}",
        at=event.time,
        fields=tuple((name, value) for name, value in fields if value),
    )

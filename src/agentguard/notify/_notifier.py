"""Takes notices, keeps them, and delivers each over its channels, every channel by itself."""

from __future__ import annotations

import hashlib
import logging
import random
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agentguard.core import NoticeKind, NotifyError
from agentguard.notify._channel import DeliveryError
from agentguard.notify._message import Button, Templates
from agentguard.notify._outbox import Draft

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentguard.core import Notice
    from agentguard.notify._channel import Channel
    from agentguard.notify._links import VoteLinks
    from agentguard.notify._message import Message
    from agentguard.notify._outbox import Delivery, Outbox
    from agentguard.notify._routing import Routing

log = logging.getLogger("agentguard.notify")

_FIRST_RETRY_S, _MOST_RETRY_S = 2.0, 900.0
_POLL_S = 30.0
_BATCH = 20
_KEEP_SENT_S = 7 * 86_400.0
_PRUNE_EVERY_S = 3600.0
# An approval is asked for step by step, each step once; of the rest, what says the same is told once in a while.
_EACH_ONCE = frozenset((NoticeKind.RULE, NoticeKind.CLOCK_JUMPED, NoticeKind.ALERT))
_DECIDABLE = frozenset(
    (NoticeKind.APPROVAL_PENDING, NoticeKind.APPROVAL_ESCALATED, NoticeKind.APPROVAL_DELEGATED)
)


class OutboxNotifier:
    """A `Notifier` over channels, with an outbox between: what was taken is delivered at least once.

    Each channel has a thread of its own, so that one that is dead, slow or hostile keeps no other waiting. A failed
    delivery is tried again after two seconds, twice as long each time (with jitter, and as the other side asks),
    for `give_up_after_s`; then, or where trying is of no use, it is a dead letter.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        *,
        routing: Routing,
        outbox: Outbox,
        templates: Templates,
        links: VoteLinks | None = None,
        base_url: str = "",
        repeat_after_s: float = 300.0,
        give_up_after_s: float = 86_400.0,
        delivers: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._channels = {each.name: each for each in channels}
        self._routing, self._outbox, self._templates, self._links = routing, outbox, templates, links
        self.base_url = base_url
        self._repeat_after_s, self._give_up_after_s, self._clock = repeat_after_s, give_up_after_s, clock
        self._stopping = threading.Event()
        self._wake = {name: threading.Event() for name in self._channels}
        self._pruned = 0.0
        self._threads = [
            threading.Thread(
                target=self._run, args=(each,), name=f"agentguard-notify-{each.name}", daemon=True
            )
            for each in (channels if delivers else ())
        ]
        for thread in self._threads:
            thread.start()

    def notify(self, notice: Notice) -> None:
        """Take a notice; see `Notifier.notify`."""
        now = self._clock()
        due = self._routing.due(notice, datetime.fromtimestamp(now, UTC)).timestamp()
        drafts = [Draft(notice, name, _key(notice), due) for name in self._routing.channels_of(notice)]
        if drafts:
            self._outbox.add(drafts, now=now, repeat_after_s=self._repeat_after_s)
            for each in drafts:
                # A process that only takes notices has no channels, and needs none of their secrets.
                if each.channel in self._wake:
                    self._wake[each.channel].set()

    def deliver(self, notice: Notice, channel: str) -> None:
        """Deliver one notice over one channel at once, without the outbox, as a test of the channel.

        Raises:
            NotifyError: there is no such channel (`channel_unknown`), or it did not take it (`delivery_failed`).
        """
        found = self._channels.get(channel)
        if found is None:
            known = ", ".join(f"`{each}`" for each in self._channels) or "none"
            raise NotifyError(
                f"there is no channel `{channel[:64]}`", code="channel_unknown", hint=f"there are {known}"
            )
        try:
            found.send(self._message(notice))
        except DeliveryError as error:
            raise NotifyError(f"channel `{channel}`: {error.reason}", code="delivery_failed") from None

    def wake(self) -> None:
        """Look for what is due now, as after dead letters were revived."""
        for event in self._wake.values():
            event.set()

    def close(self) -> None:
        """Deliver what is due as far as a moment allows; the rest waits in the outbox. Idempotent."""
        self._stopping.set()
        self.wake()
        for thread in self._threads:
            thread.join(timeout=20)

    def _run(self, channel: Channel) -> None:
        wake = self._wake[channel.name]
        while True:
            wake.clear()
            wait_s = _POLL_S
            try:
                wait_s = self._deliver_due(channel)
            except NotifyError as error:
                log.warning("notices cannot be read: %s", error.message)
            except Exception:
                log.exception("notices cannot be delivered")
            if self._stopping.is_set():
                return
            wake.wait(wait_s)

    def _deliver_due(self, channel: Channel) -> float:
        """Deliver what is due, and return how long there is nothing to do."""
        while found := self._outbox.due(channel.name, now=self._clock(), limit=_BATCH):
            for each in found:
                self._attempt(channel, each)
                if self._stopping.is_set():
                    return 0.0
        self._prune()
        # Retries are due at times of their own; to look each second costs next to nothing.
        return 1.0

    def _attempt(self, channel: Channel, delivery: Delivery) -> None:
        try:
            message = self._message(delivery.notice)
            if channel.takes(message):
                channel.send(message)
        except DeliveryError as error:
            self._failed(delivery, error)
        except Exception as error:
            log.exception("a notice cannot be delivered")
            self._failed(delivery, DeliveryError(f"failed: {type(error).__name__}"))
        else:
            self._outbox.settle(delivery.number, "sent")

    def _failed(self, delivery: Delivery, error: DeliveryError) -> None:
        now = self._clock()
        wait_s = error.retry_after_s or _back_off(delivery.attempts)
        is_over = error.permanent or now + wait_s > delivery.created + self._give_up_after_s
        if is_over:
            log.error(
                "notice %s is a dead letter of %s: %s", delivery.notice.id, delivery.channel, error.reason
            )
            self._outbox.settle(delivery.number, "dead", reason=error.reason)
        else:
            log.warning("notice %s waits for %s: %s", delivery.notice.id, delivery.channel, error.reason)
            self._outbox.settle(delivery.number, "waiting", due=now + wait_s, reason=error.reason)

    def _message(self, notice: Notice) -> Message:
        buttons: tuple[Button, ...] = ()
        if self._links is not None and notice.approval and notice.kind in _DECIDABLE:
            buttons = tuple(
                Button(
                    label,
                    f"{self.base_url}/decide/{self._links.issue(notice.approval, notice.edition, approves=approves)}",
                    approves,
                )
                for label, approves in (("Approve", True), ("Deny", False))
            )
        return self._templates.write(notice, base_url=self.base_url, buttons=buttons)

    def _prune(self) -> None:
        now = self._clock()
        if now > self._pruned + _PRUNE_EVERY_S:
            self._pruned = now
            self._outbox.prune(before=now - _KEEP_SENT_S)


def _key(notice: Notice) -> str:
    said = f"{notice.kind.value}\0{notice.title}" if notice.kind in _EACH_ONCE else notice.id
    return hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()


def _back_off(attempts: int) -> float:
    longest: float = min(_MOST_RETRY_S, _FIRST_RETRY_S * 2.0 ** min(attempts, 16))
    return longest * random.uniform(0.75, 1.25)  # noqa: S311 - no secret

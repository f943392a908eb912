"""What a channel is, and how a delivery can fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from agentguard.notify._message import Message


class DeliveryError(Exception):
    """A message was not taken. `permanent` says that trying again is of no use; `retry_after_s` when it may be.

    The text is for people and holds no secret and no address that is one.
    """

    def __init__(self, reason: str, *, permanent: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.permanent, self.retry_after_s = reason, permanent, retry_after_s


class Channel(Protocol):
    """One way to people. `kind` is as in the settings: slack, email, pagerduty, teams, webhook."""

    name: str
    kind: str

    def send(self, message: Message) -> None:
        """Hand a message over; it was taken when this returns.

        Raises:
            DeliveryError: it was not, or that is not known.
        """

    def takes(self, message: Message) -> bool:
        """Tell whether a message is anything for this channel."""

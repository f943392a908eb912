"""What waits to be delivered, and what could not be: the port behind which it is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from agentguard.core import Notice

if TYPE_CHECKING:
    from collections.abc import Sequence

State = Literal["waiting", "sent", "dead"]


class Draft(msgspec.Struct, frozen=True):
    """A delivery to be kept: `key` is the same for what says the same, `due` a Unix time."""

    notice: Notice
    channel: str
    key: str
    due: float


class Delivery(msgspec.Struct, frozen=True):
    """A delivery that is kept; `reason` is why the last attempt failed. Times are Unix seconds."""

    number: int
    notice: Notice
    channel: str
    created: float
    due: float
    attempts: int
    state: State
    reason: str = ""


class Outbox(Protocol):
    """Keeps deliveries over the death of the process. Safe to use from many threads.

    Every method raises NotifyError (`notify_unavailable`) where the store does not work.
    """

    def add(self, drafts: Sequence[Draft], *, now: float, repeat_after_s: float) -> int:
        """Keep all or none; return how many are new.

        A delivery of the same notice to the same channel is kept once, and one with the same key not again before
        `repeat_after_s` seconds have passed.
        """

    def due(self, channel: str, *, now: float, limit: int) -> list[Delivery]:
        """Return what is to be delivered by now, oldest first."""

    def settle(self, number: int, state: State, *, due: float = 0.0, reason: str = "") -> None:
        """Say what came of an attempt: it was sent, waits until `due`, or is dead."""

    def dead(self) -> list[Delivery]:
        """Return what was given up, oldest first."""

    def revive(self, numbers: Sequence[int], *, now: float) -> int:
        """Let dead deliveries be tried again; return how many."""

    def drop(self, numbers: Sequence[int]) -> int:
        """Forget dead deliveries; return how many."""

    def counts(self) -> dict[tuple[str, State], int]:
        """Return how many deliveries there are, by channel and state."""

    def prune(self, *, before: float) -> None:
        """Forget what was sent, and links that have ended, before a time."""

    def spend_link(self, link_id: str, *, until: float) -> bool:
        """Use up a link; tell whether it was the first time."""

    def close(self) -> None:
        """Release what it holds. Idempotent."""

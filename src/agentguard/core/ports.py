"""The ports: what a room needs from another without knowing which one answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from agentguard.core.approval import Approval, ApprovalFilter, StoredApproval
    from agentguard.core.approval_move import Move
    from agentguard.core.approval_wire import ApprovalStatus
    from agentguard.core.decision import Decision, Outcome
    from agentguard.core.event import Event, EventFilter, StoredEvent
    from agentguard.core.notice import Notice
    from agentguard.core.observation import Observation
    from agentguard.core.opening import OpenedSession, SessionOpening
    from agentguard.core.principal import Principal
    from agentguard.core.regrade import Regrade, Vouched
    from agentguard.core.request import Context, Request
    from agentguard.core.spend import (
        Bill,
        Booking,
        Claim,
        Hold,
        Level,
        Reservation,
        SpendAnswer,
        SpendEntry,
        SpendFilter,
        SpendQuestion,
    )


class Clock(Protocol):
    """The time, so that tests and replays can set it."""

    def now(self) -> datetime:
        """Return the present time, aware and UTC."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the present time, aware and UTC."""
        return datetime.now(UTC)


class Decider(Protocol):
    """Answers requests: in this process, or across a socket. Safe to call from many threads.

    A decision is returned, never raised: whatever goes wrong on the way is a deny that says why.
    """

    def decide(self, request: Request, *, trace: bool = False) -> Decision:
        """Return the decision, recorded before it is returned. `trace` adds near misses to any effect."""

    def decide_plan(self, requests: Sequence[Request]) -> list[Decision]:
        """Return one decision a step, in order; each step is decided as if the ones before had happened."""

    def record_outcome(self, outcome: Outcome) -> None:
        """Record what came of an action. Raises AuditError if the record could not be written."""

    def observe(self, observation: Observation) -> None:
        """Take in what an action gave back, so that later arguments can be traced to it.

        Raises:
            AgentGuardError: it could not be taken in; what the agent saw is not known then.
        """

    def close(self) -> None:
        """Release what it holds; a later `decide` denies."""


@runtime_checkable
class LabelKeeper(Protocol):
    """Takes people's word on values that sessions have seen; a decision point is one. Safe to call from threads."""

    def regrade(self, regrade: Regrade) -> Decision:
        """Decide on a change of a label, and carry it out if it is allowed, after its record is in the log.

        Any other effect changes nothing. What came of it is recorded.

        Raises:
            RequestError: there is no such session, source or action, or it is not known whether it was done.
        """

    def vouch(self, words: Vouched) -> None:
        """Count a text as trusted in a session, once that is in the log.

        Raises:
            AgentGuardError: it is not recorded, or not for this one to say; it does not count then.
        """


@runtime_checkable
class SessionOpener(Protocol):
    """Opens sessions with an intent; a decision point is one. Safe to call from many threads."""

    def open_session(self, opening: SessionOpening) -> OpenedSession:
        """Open a session, once that is in the log.

        Raises:
            AgentGuardError: its words or tools cannot be used, or it is not for this one to say; there is none then.
        """


@runtime_checkable
class ApprovalWaiter(Protocol):
    """Waits for people; a decision point that asks them is one. Safe to call from many threads."""

    def wait_approval(self, approval_id: str, *, principal: Principal, timeout_s: float) -> ApprovalStatus:
        """Return where an approval of `principal` stands, once it is not pending any more or the time is up.

        Raises:
            AgentGuardError: it is not known, it is not this principal's, or nobody could say.
        """


@runtime_checkable
class SpendAsker(Protocol):
    """Asks people whether spending may go on; a decision point that asks them is one. Safe to call from threads."""

    def ask_spending(
        self, question: SpendQuestion, *, principal: Principal, context: Context, audit_id: str
    ) -> SpendAnswer:
        """Return where a question stands, which is asked if it was not; a yes is on record when this returns.

        `principal` is who would spend, `audit_id` the decision on the call that met the threshold. Wait for people with
        `ApprovalWaiter`, then ask again. Never raises: where nobody can be asked, that is a no.
        """


class AuditLog(Protocol):
    """An append-only log. Appends are totally ordered; safe to call from many threads and processes."""

    def append(self, record: Mapping[str, Any]) -> str:
        """Append one record and return its `event_id`.

        The log adds `prev`, `seq`, `event_id` and `timestamp`. It returns only after the operating system
        has taken the bytes; the adapter says how much longer it waits for the disk.

        Raises:
            AuditError: the record is not in the log. Nothing may be allowed on it.
        """

    def read(self, *, after: int = 0, limit: int | None = None) -> Iterable[Mapping[str, Any]]:
        """Return records with `seq` above `after`, oldest first."""

    def close(self) -> None:
        """Flush and sign what there is. Idempotent."""


class EventBus(Protocol):
    """Hands events on to whoever subscribed.

    Order is kept for each publisher; each event is taken once by each subscriber, or counted as dropped. Nothing
    outlives the process: who must not lose an event subscribes a store.
    """

    def publish(self, events: Sequence[Event], *, droppable: bool = False) -> bool:
        """Hand on all of `events`, or none; never waits.

        False means that a subscriber has no room: keep them and try again. Events that are `droppable` are
        always taken; a subscriber without room counts what it drops, the oldest first.
        """

    def subscribe(self, name: str, *, max_events: int = 65_536) -> Subscription:
        """Return a new place that events are handed to from now on."""


class Subscription(Protocol):
    """A subscriber's place on the bus. One thread takes from it."""

    @property
    def dropped(self) -> int:
        """How many droppable events found no room so far."""

    def take(self, limit: int, *, timeout_s: float) -> list[Event]:
        """Return up to `limit` events, oldest first; none if none came within `timeout_s` seconds."""

    def close(self) -> None:
        """Take no more; what was not taken is gone. Idempotent."""


class EventStore(Protocol):
    """Keeps events. Safe to use from many threads; several processes may use one store on disk."""

    def append(self, events: Sequence[Event]) -> int:
        """Keep events, all or none, and return how many were new: one whose `event_id` is known is kept once.

        They outlive the process when this returns; the adapter says how far they outlive the machine.

        Raises:
            EventError: none of them is kept.
        """

    def read(
        self, wanted: EventFilter, *, after: int = 0, limit: int = 1_000, newest: bool = False
    ) -> list[StoredEvent]:
        """Return up to `limit` events after a place, oldest first: the first that pass, or the `newest`."""

    def prune(self, *, before: datetime, max_events: int) -> int:
        """Forget what happened before a time, and the oldest beyond `max_events`; return how many."""

    def close(self) -> None:
        """Release what it holds. Idempotent."""


class Ledger(Protocol):
    """What is reserved and what is booked. Safe to use from many threads; processes may share one on disk.

    INVARIANT: when a reservation is admitted, what is booked and reserved on each of its meters, itself
    included, is at most the limit of its claim. Each method is atomic and survives the process when it returns.
    """

    def reserve(self, reservation: Reservation) -> Hold:
        """Reserve on all meters, or on none. Asking again for an attempt that is open changes nothing.

        What nobody settled in time is booked at its reserved amount on the way. An attempt that has ended, or
        that was opened with other amounts, is not admitted.

        Raises:
            SpendError: nothing is reserved.
        """

    def settle(self, attempt: str, bill: Bill, *, at: datetime) -> Booking:
        """Book what an attempt cost, all of it, in place of what was reserved. The first bill counts.

        An attempt that has expired, or was released, is corrected to what it cost.

        Raises:
            SpendError: nothing is booked; `attempt_unknown` if nothing was ever reserved under this name.
        """

    def release(self, attempt: str, *, at: datetime) -> Booking:
        """Give back what was reserved: nothing was spent. A bill that was booked stays.

        Raises:
            SpendError: nothing is given back; `attempt_unknown` if nothing was ever reserved under this name.
        """

    def levels(self, claims: Sequence[Claim]) -> list[Level]:
        """Return how far the meters of claims are used, in their order; the amounts of the claims do not count."""

    def close(self) -> None:
        """Release what it holds. Idempotent."""


@runtime_checkable
class Grouping(Protocol):
    """A ledger that can keep several steps at once, for what one step costs on a disk."""

    def together(self) -> AbstractContextManager[None]:
        """Make what this thread asks of the ledger inside one step: all of it is kept when it ends, or nothing.

        Raises:
            SpendError: on leaving it; nothing of it is kept.
        """


@runtime_checkable
class SpendHistory(Protocol):
    """The attempts that a ledger has seen. Safe to use from many threads."""

    def meters(self, prefix: str, *, limit: int) -> list[str]:
        """Return up to `limit` meters whose names begin so, in their order."""

    def entries(self, wanted: SpendFilter, *, after: int = 0, limit: int = 1_000) -> list[SpendEntry]:
        """Return up to `limit` attempts after a place, in the order in which they were opened."""

    def prune(self, *, before: datetime) -> int:
        """Forget attempts that were opened and have ended before a time, and windows that ended before it.

        What counts towards a total stays. Returns how many attempts were forgotten.
        """


class Signer(Protocol):
    """Signs with a key that it keeps to itself."""

    @property
    def key_id(self) -> str:
        """The name of the public key: its RFC 7638 thumbprint."""

    def sign(self, message: bytes) -> bytes:
        """Return the signature over `message` (Ed25519, 64 bytes)."""


class ApprovalStore(Protocol):
    """Keeps approvals. Safe to use from many threads; processes may share one on disk or behind a socket.

    INVARIANT: `swap` is atomic, so of all who have seen one revision at most one changes it. What `add` and `swap`
    have accepted outlives the process and the machine when they return.
    """

    def add(self, approval: Approval) -> Approval:
        """Keep a new approval, and return it; if one with the same `binding` is pending, return that one instead.

        Raises:
            ApprovalError: nothing is kept.
        """

    def swap(self, approval: Approval, *, revision: int) -> bool:
        """Put `approval` in the place of the one with its id if that one has `revision`; tell whether it was so.

        Raises:
            ApprovalError: it is not known whether it was changed; read it again.
        """

    def get(self, approval_id: str) -> Approval | None:
        """Return the approval with this id, or None."""

    def read(
        self, wanted: ApprovalFilter, *, after: int = 0, limit: int = 1_000, newest: bool = False
    ) -> list[StoredApproval]:
        """Return up to `limit` approvals whose last change is after a place, by that place, oldest first.

        They are the first that pass, or the `newest`. Who reads on after the last `seq` misses no change: a change
        that is not to be seen yet gets no place below one that is.
        """

    def close(self) -> None:
        """Release what it holds. Idempotent."""


class ApprovalEngine(Protocol):
    """Runs approvals: opens them, applies moves, keeps their time. Safe to use from many threads.

    Each move is applied wholly or not at all, survives the process when the method returns, and is on record:
    a refused one as well. Deadlines and escalations come without anybody asking.
    """

    def open(self, approval: Approval) -> Approval:
        """Begin a pending approval, and return it; if one with the same `binding` is pending, return that one.

        Raises:
            ApprovalError: there is none; nobody is asked.
        """

    def apply(self, approval_id: str, move: Move) -> Approval:
        """Apply a move and return what became of the approval.

        Raises:
            ApprovalError: it is refused; `code` says why, as `approval_closed`.
        """

    def wait(self, approval_id: str, *, revision: int = -1, timeout_s: float = 0.0) -> Approval:
        """Return the approval as soon as its revision is above `revision`, or as it is when the time is up.

        Raises:
            ApprovalError: there is no such approval (`approval_unknown`), or it cannot be read.
        """

    def find(
        self, wanted: ApprovalFilter, *, after: int = 0, limit: int = 1_000, newest: bool = False
    ) -> list[StoredApproval]:
        """Return approvals as `ApprovalStore.read` does."""

    def close(self) -> None:
        """Stop keeping time and release what it holds; who waits is answered. Idempotent."""


class Notifier(Protocol):
    """Tells people. Safe to call from many threads."""

    def notify(self, notice: Notice) -> None:
        """Take a notice to be delivered, without waiting for any channel; one whose `id` is known is told once.

        It outlives the process when this returns.

        Raises:
            NotifyError: it is not taken; the caller keeps it and tries again.
        """

    def close(self) -> None:
        """Deliver what can be delivered at once, and release what it holds. Idempotent."""

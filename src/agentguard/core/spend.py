"""Spend: what is reserved before a call and booked after it, in whole numbers."""

from __future__ import annotations

import enum
from datetime import datetime

import msgspec

# No single amount is larger; sums of amounts stay far inside 64 bits.
MOST_AMOUNT = 2**53


class Unit(enum.Enum):
    """What a budget counts; money is counted in micro-dollars."""

    USD = "usd"
    TOKENS = "tokens"
    CALLS = "calls"
    TOOL_COST = "tool_cost"

    # By identity, as members are compared: the one of `enum` is a Python function, and amounts are kept by unit.
    __hash__ = object.__hash__


class Spender(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """On whose account something is spent. `key` is the id of the token or virtual key that was used."""

    organisation: str = ""
    project: str = ""
    agent: str = ""
    session: str = ""
    task: str = ""
    key: str = ""


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a call used. Totals include their parts: `input_tokens` counts what the cache gave, as well.

    `cache_write_tokens` includes `cache_write_1h_tokens`; audio and image parts that the cache gave are in both.
    """

    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    input_audio_tokens: int = 0
    cache_audio_read_tokens: int = 0
    input_image_tokens: int = 0
    cache_image_read_tokens: int = 0
    output_tokens: int = 0
    output_reasoning_tokens: int = 0
    output_audio_tokens: int = 0
    output_image_tokens: int = 0
    web_searches: int = 0
    file_searches: int = 0

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


class Claim(msgspec.Struct, frozen=True):
    """One budget's part of a reservation: `amount` more under `meter`, if no more than `limit` comes together.

    What counts is everything under the meter in buckets from `since` on; the amount goes into `bucket`. A
    calendar window has one bucket, a rolling window many.
    """

    meter: str
    unit: Unit
    amount: int
    limit: int
    bucket: int = 0
    since: int = 0


class Reservation(msgspec.Struct, frozen=True):
    """A wish to spend. `attempt` names one attempt: asking again with it changes nothing.

    `amounts` is what the attempt counts as in each unit if nothing is ever heard of it after `expires`.
    `prompt` is a keyed digest, or empty. `kind` is `llm` or `tool`; for a tool, `model` is the action.
    """

    attempt: str
    at: datetime
    expires: datetime
    spender: Spender = Spender()
    kind: str = "llm"
    provider: str = ""
    model: str = ""
    claims: tuple[Claim, ...] = ()
    amounts: dict[Unit, int] = {}
    prompt: str = ""


class Level(msgspec.Struct, frozen=True):
    """How far a meter is used: what is booked, what is reserved, and the most that both may be."""

    meter: str
    spent: int
    reserved: int
    limit: int

    @property
    def used(self) -> int:
        """Booked and reserved together."""
        return self.spent + self.reserved

    @property
    def left(self) -> int:
        """What can still be reserved."""
        return max(self.limit - self.used, 0)


class Rise(msgspec.Struct, frozen=True):
    """What is booked on a meter went from `before` to `after`; each rise is told to one caller alone."""

    meter: str
    limit: int
    before: int
    after: int


class AttemptState(enum.Enum):
    """What became of an attempt."""

    OPEN = "open"
    SETTLED = "settled"
    RELEASED = "released"
    EXPIRED = "expired"


class Hold(msgspec.Struct, frozen=True):
    """A ledger's answer to a reservation.

    Nothing is reserved unless `admitted`. Then `refused` is the level of the first claim that found no room;
    or None, where the attempt's name was used before: `state` says what for.
    """

    admitted: bool
    state: AttemptState = AttemptState.OPEN
    refused: Level | None = None
    rises: tuple[Rise, ...] = ()


class Bill(msgspec.Struct, frozen=True):
    """What an attempt really cost, in each unit. `estimated`: nobody reported it. `model` as the provider says."""

    amounts: dict[Unit, int]
    usage: Usage = Usage()
    model: str = ""
    estimated: bool = False
    unpriced: bool = False


class Booking(msgspec.Struct, frozen=True):
    """What came of settling or releasing an attempt; `repeated` if it was settled or released before.

    `overrun`: more was booked than was reserved for it.
    """

    state: AttemptState
    overrun: bool = False
    repeated: bool = False
    rises: tuple[Rise, ...] = ()


class SpendEntry(msgspec.Struct, frozen=True):
    """One attempt in the history, and its place. `amounts` is what it counts as, reserved or booked."""

    seq: int
    attempt: str
    state: AttemptState
    at: datetime
    spender: Spender
    kind: str
    provider: str
    model: str
    amounts: dict[Unit, int]
    reserved: dict[Unit, int]
    usage: Usage = Usage()
    overrun: bool = False
    estimated: bool = False
    unpriced: bool = False
    prompt: str = ""


class SpendFilter(msgspec.Struct, frozen=True):
    """Which attempts of the history are wanted; what is empty or None does not narrow."""

    spender: Spender = Spender()
    model: str = ""
    kind: str = ""
    since: datetime | None = None
    until: datetime | None = None


class SpendQuestion(msgspec.Struct, frozen=True):
    """What people are asked where a budget says so: may `who` go on until `until` of the budget is used?

    It is about one account (`of`) of a budget with just this `limit`, in one window: `window` names it, `ends` is
    when it does. The window of a rolling budget is as long as an answer to it holds, `lasts_s`. `model` and `estimate`
    are of the call that met it, and `reason` says it in words; these make no other question of it.
    """

    who: str
    budget: str
    scope: str
    of: str
    unit: Unit
    window: str
    percent: int
    used: int
    limit: int
    until: int
    estimate: int
    model: str
    reason: str
    ends: datetime | None = None
    lasts_s: float = 0.0

    @property
    def is_past_limit(self) -> bool:
        """Whether it is about more than the budget's limit."""
        return self.until > self.limit


class SpendAnswer(msgspec.Struct, frozen=True):
    """Where such a question stands. `given_at` is when people said yes to it, None where they did not.

    `is_pending`: they may still say so; otherwise `note` says why not. `approval` is its id, empty where nobody was asked.
    """

    approval: str = ""
    given_at: datetime | None = None
    is_pending: bool = False
    note: str = ""

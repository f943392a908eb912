"""One suite for every `Ledger` and its `SpendHistory`."""

from __future__ import annotations

import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from agentguard.backends import MemoryLedger, SqliteLedger
from agentguard.core import (
    AttemptState,
    Bill,
    Claim,
    Reservation,
    Rise,
    SpendEntry,
    Spender,
    SpendError,
    SpendFilter,
    Unit,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
LEASE = timedelta(minutes=10)
ALL = SpendFilter()
Both = MemoryLedger | SqliteLedger


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Both]:
    made = MemoryLedger() if request.param == "memory" else SqliteLedger(tmp_path / "s" / "ledger.sqlite")
    yield made
    made.close()


def usd(amount: int, *, limit: int = 1_000, meter: str = "m", bucket: int = 0, since: int = 0) -> Claim:
    return Claim(meter, Unit.USD, amount, limit, bucket, since)


def wish(attempt: str, *claims: Claim, at: datetime = START, spender: Spender | None = None) -> Reservation:
    amounts: dict[Unit, int] = {}
    for claim in claims:
        amounts[claim.unit] = max(claim.amount, amounts.get(claim.unit, 0))
    return Reservation(
        attempt, at, at + LEASE, spender or Spender(agent="a"), "llm", "openai", "gpt", claims, amounts
    )


def bill(amount: int) -> Bill:
    return Bill({Unit.USD: amount}, Usage(input_tokens=3, output_tokens=4))


def used(ledger: Both, claim: Claim | None = None) -> tuple[int, int]:
    level = ledger.levels([claim or usd(0)])[0]
    return level.spent, level.reserved


def entry(ledger: Both, attempt: str) -> SpendEntry:
    return next(each for each in ledger.entries(ALL) if each.attempt == attempt)


def test_what_is_reserved_counts_until_it_is_settled_at_its_cost(ledger: Both) -> None:
    assert ledger.reserve(wish("one", usd(600))).admitted
    assert used(ledger) == (0, 600)
    booked = ledger.settle("one", bill(250), at=START)
    assert (booked.state, booked.overrun) == (AttemptState.SETTLED, False)
    assert used(ledger) == (250, 0)


def test_a_reservation_fits_up_to_the_limit_and_not_beyond(ledger: Both) -> None:
    assert ledger.reserve(wish("one", usd(999))).admitted
    refused = ledger.reserve(wish("two", usd(2)))
    assert not refused.admitted
    assert refused.refused is not None
    assert (refused.refused.meter, refused.refused.used, refused.refused.left) == ("m", 999, 1)
    assert ledger.reserve(wish("three", usd(1))).admitted
    assert used(ledger) == (0, 1_000)


def test_one_meter_without_room_leaves_the_others_untouched(ledger: Both) -> None:
    claims = (usd(10, meter="wide"), usd(10, meter="narrow", limit=9))
    refused = ledger.reserve(wish("one", *claims))
    assert refused.refused is not None
    assert refused.refused.meter == "narrow"
    assert [level.used for level in ledger.levels(claims)] == [0, 0]
    assert ledger.entries(ALL) == []
    with pytest.raises(SpendError):
        ledger.release("one", at=START)


def test_asking_again_for_an_open_attempt_reserves_once(ledger: Both) -> None:
    assert ledger.reserve(wish("one", usd(600))).admitted
    assert ledger.reserve(wish("one", usd(600))).admitted
    assert used(ledger) == (0, 600)


def test_an_open_attempt_cannot_be_asked_for_with_another_amount(ledger: Both) -> None:
    ledger.reserve(wish("one", usd(6)))
    again = ledger.reserve(wish("one", usd(7)))
    assert (again.admitted, again.state, again.refused) == (False, AttemptState.OPEN, None)


@pytest.mark.parametrize("end", ["settle", "release"])
def test_an_attempt_that_has_ended_cannot_be_opened_again(ledger: Both, end: str) -> None:
    ledger.reserve(wish("one", usd(6)))
    if end == "settle":
        ledger.settle("one", bill(6), at=START)
    else:
        ledger.release("one", at=START)
    again = ledger.reserve(wish("one", usd(6)))
    assert not again.admitted
    assert again.state is (AttemptState.SETTLED if end == "settle" else AttemptState.RELEASED)


def test_what_is_released_can_be_reserved_again(ledger: Both) -> None:
    ledger.reserve(wish("one", usd(1_000)))
    assert ledger.release("one", at=START).state is AttemptState.RELEASED
    assert ledger.reserve(wish("two", usd(1_000))).admitted
    assert ledger.release("one", at=START).repeated
    assert used(ledger) == (0, 1_000)
    assert entry(ledger, "one").amounts == {}


def test_the_first_bill_counts_and_a_release_does_not_undo_it(ledger: Both) -> None:
    ledger.reserve(wish("one", usd(100)))
    ledger.settle("one", bill(40), at=START)
    assert ledger.settle("one", bill(90), at=START).repeated
    assert ledger.release("one", at=START).repeated
    assert used(ledger) == (40, 0)


def test_a_bill_above_its_reservation_is_booked_whole_and_blocks_what_comes_after(ledger: Both) -> None:
    ledger.reserve(wish("one", usd(900)))
    assert ledger.settle("one", bill(1_500), at=START).overrun
    assert used(ledger) == (1_500, 0)
    assert entry(ledger, "one").overrun
    for amount in (0, 1):
        assert not ledger.reserve(wish(f"next-{amount}", usd(amount))).admitted


def test_a_reservation_that_nobody_settles_is_booked_at_its_amount(ledger: Both) -> None:
    ledger.reserve(wish("lost", usd(400)))
    hold = ledger.reserve(wish("next", usd(1), at=START + LEASE))
    assert hold.admitted
    assert hold.rises == (Rise("m", 1_000, 0, 400),)
    assert used(ledger) == (400, 1)
    assert entry(ledger, "lost").state is AttemptState.EXPIRED
    assert entry(ledger, "lost").amounts == {Unit.USD: 400}
    assert not ledger.reserve(wish("lost", usd(400))).admitted


def test_what_expires_is_told_where_the_next_one_is_refused_too(ledger: Both) -> None:
    ledger.reserve(wish("lost", usd(400)))
    hold = ledger.reserve(wish("next", usd(601), at=START + LEASE))
    assert (hold.admitted, hold.rises) == (False, (Rise("m", 1_000, 0, 400),))
    assert hold.refused == ledger.levels([usd(0)])[0]
    assert used(ledger) == (400, 0)


@pytest.mark.parametrize(("cost", "spent"), [(100, 100), (700, 700)])
def test_a_bill_that_comes_after_the_end_corrects_what_was_booked(
    ledger: Both, cost: int, spent: int
) -> None:
    ledger.reserve(wish("late", usd(400)))
    ledger.reserve(wish("next", usd(0), at=START + LEASE))
    assert ledger.settle("late", bill(cost), at=START + LEASE).overrun is (cost > 400)
    assert used(ledger) == (spent, 0)


def test_a_release_after_the_end_gives_back_what_was_booked(ledger: Both) -> None:
    ledger.reserve(wish("late", usd(400)))
    ledger.reserve(wish("next", usd(0), at=START + LEASE))
    ledger.release("late", at=START + LEASE)
    assert used(ledger) == (0, 0)


def test_a_bill_for_what_was_released_is_booked_whole_and_flagged(ledger: Both) -> None:
    ledger.reserve(wish("one", usd(400)))
    ledger.release("one", at=START)
    assert ledger.settle("one", bill(5), at=START).overrun
    assert used(ledger) == (5, 0)


def test_a_window_counts_its_buckets_from_the_first_that_is_asked_for(ledger: Both) -> None:
    ledger.reserve(wish("old", usd(300, bucket=10)))
    ledger.reserve(wish("new", usd(500, bucket=20)))
    assert used(ledger, usd(0, since=10)) == (0, 800)
    assert used(ledger, usd(0, since=11)) == (0, 500)
    assert not ledger.reserve(wish("third", usd(201, bucket=20, since=10))).admitted
    assert ledger.reserve(wish("fourth", usd(201, bucket=20, since=11))).admitted


def test_each_unit_is_settled_by_its_own_amount(ledger: Both) -> None:
    claims = (usd(100), Claim("t", Unit.TOKENS, 50, 99), Claim("c", Unit.CALLS, 1, 9))
    ledger.reserve(wish("one", *claims))
    done = Bill({Unit.USD: 70, Unit.TOKENS: 60, Unit.CALLS: 1})
    assert ledger.settle("one", done, at=START).overrun
    assert [level.spent for level in ledger.levels(claims)] == [70, 60, 1]


def test_each_rise_is_told_once(ledger: Both) -> None:
    ledger.reserve(wish("one", usd(100)))
    ledger.reserve(wish("two", usd(100)))
    assert ledger.settle("one", bill(60), at=START).rises == (Rise("m", 1_000, 0, 60),)
    assert ledger.settle("two", bill(70), at=START).rises == (Rise("m", 1_000, 60, 130),)
    assert ledger.settle("two", bill(70), at=START).rises == ()


@pytest.mark.parametrize("amount", [-1, 2**53 + 1])
def test_an_amount_beyond_reason_is_refused_and_nothing_is_reserved(ledger: Both, amount: int) -> None:
    with pytest.raises(SpendError) as caught:
        ledger.reserve(wish("one", usd(amount, limit=2**60)))
    assert caught.value.code == "spend_invalid"
    assert used(ledger) == (0, 0)


@pytest.mark.parametrize("end", ["settle", "release"])
def test_an_attempt_that_was_never_opened_cannot_end(ledger: Both, end: str) -> None:
    def ending() -> object:
        if end == "settle":
            return ledger.settle("none", bill(1), at=START)
        return ledger.release("none", at=START)

    with pytest.raises(SpendError) as caught:
        ending()
    assert caught.value.code == "attempt_unknown"


def test_the_history_tells_who_spent_what_on_what(ledger: Both) -> None:
    who = Spender("org", "proj", "agent", "s-1", "t-1", "k-1")
    ledger.reserve(wish("one", usd(100), spender=who))
    done = Bill({Unit.USD: 70}, Usage(input_tokens=5, output_tokens=6), "gpt-2", True, True)
    ledger.settle("one", done, at=START)
    assert ledger.entries(ALL) == [
        SpendEntry(
            seq=1,
            attempt="one",
            state=AttemptState.SETTLED,
            at=START,
            spender=who,
            kind="llm",
            provider="openai",
            model="gpt-2",
            amounts={Unit.USD: 70},
            reserved={Unit.USD: 100},
            usage=Usage(input_tokens=5, output_tokens=6),
            estimated=True,
            unpriced=True,
        )
    ]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (ALL, ["one", "two", "three"]),
        (SpendFilter(spender=Spender(agent="b")), ["two"]),
        (SpendFilter(spender=Spender(agent="b", session="other")), []),
        (SpendFilter(model="gpt"), ["one", "two", "three"]),
        (SpendFilter(model="other"), []),
        (SpendFilter(kind="tool"), []),
        (SpendFilter(since=START + timedelta(seconds=1)), ["two", "three"]),
        (SpendFilter(until=START + timedelta(seconds=1)), ["one"]),
    ],
)
def test_the_history_gives_what_is_asked_for(ledger: Both, wanted: SpendFilter, found: list[str]) -> None:
    for second, (name, agent) in enumerate([("one", "a"), ("two", "b"), ("three", "a")]):
        at = START + timedelta(seconds=second)
        ledger.reserve(wish(name, usd(1), at=at, spender=Spender(agent=agent, session=f"s-{agent}")))
    assert [each.attempt for each in ledger.entries(wanted)] == found


def test_the_history_is_read_page_by_page(ledger: Both) -> None:
    for number in range(5):
        ledger.reserve(wish(f"n-{number}", usd(1)))
    first = ledger.entries(ALL, limit=3)
    rest = ledger.entries(ALL, after=first[-1].seq, limit=3)
    assert [each.attempt for each in [*first, *rest]] == [f"n-{number}" for number in range(5)]


def test_pruning_forgets_what_ended_and_keeps_totals_and_what_is_open(ledger: Both) -> None:
    total, day = usd(10, meter="total"), usd(10, meter="day", bucket=5)
    for name in ("ended", "open"):
        ledger.reserve(wish(name, total, day))
    ledger.settle("ended", bill(7), at=START)
    assert ledger.prune(before=START + timedelta(days=1)) == 1
    assert [each.attempt for each in ledger.entries(ALL)] == ["open"]
    assert used(ledger, total) == (7, 10)
    assert used(ledger, day) == (7, 10)
    ledger.settle("open", bill(7), at=START)
    assert ledger.prune(before=START + timedelta(days=1)) == 1
    assert used(ledger, total) == (14, 0)
    assert used(ledger, day) == (0, 0)


def test_a_bill_for_a_window_that_was_pruned_is_booked_elsewhere(ledger: Both) -> None:
    total, day = usd(10, meter="total"), usd(10, meter="day", bucket=5)
    ledger.reserve(wish("late", total, day))
    # The late one expires, so that its window may go; its attempt is young enough to stay.
    ledger.reserve(wish("next", usd(0, meter="other"), at=START + LEASE))
    ledger.prune(before=START)
    assert used(ledger, day) == (0, 0)
    ledger.settle("late", bill(4), at=START + timedelta(days=1))
    assert used(ledger, total) == (4, 0)


def test_threads_never_admit_more_than_the_limit(ledger: Both) -> None:
    admitted: list[int] = []

    def ask(name: int) -> None:
        holds = [ledger.reserve(wish(f"{name}-{number}", usd(11))) for number in range(30)]
        admitted.extend(11 for hold in holds if hold.admitted)

    threads = [threading.Thread(target=ask, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(admitted) == 990
    assert used(ledger) == (0, 990)


def test_a_closed_ledger_takes_nothing_and_can_be_closed_again(ledger: Both) -> None:
    ledger.close()
    ledger.close()
    with pytest.raises(SpendError) as caught:
        ledger.reserve(wish("one", usd(1)))
    assert caught.value.code == "spend_closed"


def test_steps_inside_one_step_are_kept_together(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.sqlite")
    with ledger.together():
        assert ledger.reserve(wish("one", usd(600))).admitted
        assert not ledger.reserve(wish("two", usd(600))).admitted
        assert ledger.settle("one", bill(250), at=START).state is AttemptState.SETTLED
        assert ledger.reserve(wish("two", usd(600))).admitted
    other = SqliteLedger(tmp_path / "ledger.sqlite")
    assert used(other) == (250, 600)
    ledger.close()
    other.close()


def test_a_step_that_raises_undoes_all_that_are_inside_with_it(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.sqlite")
    with sqlite3.connect(tmp_path / "ledger.sqlite") as base:
        base.execute(
            "CREATE TRIGGER broken BEFORE INSERT ON cells WHEN NEW.meter = 'bad'"
            " BEGIN SELECT RAISE(ABORT, 'broken'); END"
        )
    base.close()

    def both() -> None:
        with ledger.together():
            assert ledger.reserve(wish("one", usd(600))).admitted
            with pytest.raises(SpendError, match="broken"):
                ledger.reserve(wish("two", usd(1), usd(1, meter="bad")))

    with pytest.raises(SpendError, match="cannot write to the ledger"):
        both()
    assert used(ledger) == (0, 0)
    assert ledger.reserve(wish("one", usd(600))).admitted
    ledger.close()


def test_a_claim_without_room_gives_the_claims_before_it_back(ledger: Both) -> None:
    assert ledger.reserve(wish("one", usd(900, meter="b"))).admitted
    refused = ledger.reserve(wish("two", usd(500, meter="a"), usd(500, meter="b"), usd(500, meter="c")))
    assert not refused.admitted
    assert [used(ledger, usd(0, meter=meter)) for meter in "abc"] == [(0, 0), (0, 900), (0, 0)]
    assert [each.attempt for each in ledger.entries(ALL)] == ["one"]


def test_meters_are_found_by_what_their_names_begin_with(ledger: Both) -> None:
    for number, meter in enumerate(("day/b", "day/a", "month/a", "day/\U0010ffff")):
        assert ledger.reserve(wish(f"n-{number}", usd(1, meter=meter))).admitted
    assert ledger.meters("day/", limit=9) == ["day/a", "day/b", "day/\U0010ffff"]
    assert ledger.meters("day/", limit=1) == ["day/a"]
    assert ledger.meters("year/", limit=9) == []

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.policy._sequence_cells import BUCKETS, EXACT, FOREVER, MOST, UNIT, Tally, bound, millionths

WINDOW = 600.0
STEPS = st.lists(st.tuples(st.floats(0, 100), st.integers(0, 1000)), max_size=400)


@given(STEPS)
def test_tally_is_never_too_low_and_never_large(steps: list[tuple[float, int]]) -> None:
    tally, happened, now = Tally(), [], 1.7e9
    for pause, amount in steps:
        now += pause
        tally.expire(now, WINDOW)
        tally.add(now, amount, WINDOW)
        happened.append((now, amount))
        true = sum(amount for at, amount in happened if now - at <= WINDOW)
        above = sum(amount for at, amount in happened if now - at <= WINDOW * (1 + 2 / BUCKETS))
        assert true <= tally.total <= above
        assert tally.total == sum(amount for _, amount in tally.entries)
        assert len(tally.entries) <= EXACT
        if len(happened) <= EXACT:
            assert tally.total == true


@given(STEPS, st.data())
def test_what_is_taken_back_leaves_at_least_the_rest(
    steps: list[tuple[float, int]], data: st.DataObject
) -> None:
    tally, kept, now = Tally(), [], 1.7e9
    for pause, amount in steps:
        now += pause
        tally.expire(now, WINDOW)
        added = tally.add(now, amount, WINDOW)
        if data.draw(st.booleans()):
            tally.remove(now, added, now, WINDOW)
        else:
            kept.append((now, amount))
        assert tally.total >= sum(amount for at, amount in kept if now - at <= WINDOW)


def test_total_for_life_has_no_entries() -> None:
    tally = Tally()
    for now in range(1000):
        tally.add(now, 2, FOREVER)
    tally.remove(5.0, 2, 2000.0, FOREVER)
    tally.expire(1e9, FOREVER)
    assert (tally.total, tally.entries) == (1998, [])


def test_total_stops_growing() -> None:
    tally = Tally()
    for now in range(100):
        tally.add(now, MOST, WINDOW)
    assert tally.total == MOST
    tally.expire(1e6, WINDOW)
    assert tally.total == 0


def test_what_left_the_window_is_not_taken_back_from_others() -> None:
    tally = Tally()
    tally.add(0.0, 5, WINDOW)
    tally.add(500.0, 5, WINDOW)
    tally.expire(700.0, WINDOW)
    tally.remove(0.0, 5, 700.0, WINDOW)
    assert tally.total == 5


@pytest.mark.parametrize(
    ("number", "amount"),
    [(0, 0), (3, 3 * UNIT), (0.1, 100_000), (1e-9, 1), (1.0000001, 1_000_001), (1e300, MOST), (10**18, MOST)],
)
def test_amount_is_read_as_written_and_rounded_up(number: float, amount: int) -> None:
    assert millionths(number) == amount


@given(st.floats(0, 1e12))
def test_amount_is_never_too_low_and_bound_never_too_high(number: float) -> None:
    exact = Decimal(repr(number)) * UNIT
    assert bound(number) <= exact <= millionths(number)

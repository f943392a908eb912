from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from agentguard.approvals import SteadyClock
from approval_scene import START, HandClock


class Machine:
    """A machine whose wall clock somebody sets, and whose seconds go on."""

    def __init__(self) -> None:
        self.wall = HandClock()
        self.elapsed = 100.0
        self.jumps: list[float] = []
        self.clock = SteadyClock(self.wall, elapsed=lambda: self.elapsed, on_jump=self.jumps.append)

    def pass_by(self, seconds: float, *, wall: float | None = None) -> datetime:
        self.elapsed += seconds
        self.wall.advance(seconds if wall is None else wall)
        return self.clock.now()


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 10_000_000.0, -10_000_000.0])
def test_a_clock_that_is_set_moves_no_deadline(jump: float) -> None:
    machine = Machine()
    assert machine.pass_by(5, wall=5 + jump) == START + timedelta(seconds=5)
    assert machine.jumps == [pytest.approx(jump)]
    assert machine.pass_by(5) == START + timedelta(seconds=10)
    assert len(machine.jumps) == 1


def test_small_corrections_are_no_jumps_and_a_clock_that_stands_stops_nothing() -> None:
    machine = Machine()
    assert machine.pass_by(10, wall=11) == START + timedelta(seconds=10)
    assert machine.pass_by(1, wall=-0.5) == START + timedelta(seconds=11)
    assert machine.jumps == []
    assert machine.pass_by(100, wall=0) == START + timedelta(seconds=111)


def test_it_goes_on_from_what_is_written_down() -> None:
    machine = Machine()
    later = START + timedelta(hours=1)
    machine.clock.not_before(later)
    machine.clock.not_before(START)
    assert machine.pass_by(1) == later + timedelta(seconds=1)


def test_the_machines_own_seconds_are_used_where_none_are_given() -> None:
    clock = SteadyClock()
    assert clock.now() <= clock.now()

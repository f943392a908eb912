from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from agentguard.clients._breaker import Breaker


class Ticks:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Ticks) -> Breaker:
    breaker = Breaker(failures=2, open_s=5.0, clock=clock)
    for _ in range(2):
        assert breaker.admit()
        breaker.failed()
    return breaker


def test_opens_after_failures_in_a_row_only() -> None:
    breaker = Breaker(failures=2, open_s=5.0, clock=Ticks())
    for _ in range(5):
        breaker.failed()
        breaker.succeeded()
    breaker.failed()
    assert breaker.admit()
    breaker.failed()
    assert not breaker.admit()


def test_lets_one_probe_pass_when_its_time_is_over() -> None:
    clock = Ticks()
    breaker = opened(clock)
    clock.now = 4.9
    assert not breaker.admit()
    clock.now = 5.0
    assert [breaker.admit() for _ in range(3)] == [True, False, False]


def test_probe_that_fails_opens_it_again() -> None:
    clock = Ticks()
    breaker = opened(clock)
    clock.now = 5.0
    assert breaker.admit()
    breaker.failed()
    clock.now = 9.9
    assert not breaker.admit()
    clock.now = 10.0
    assert breaker.admit()


def test_probe_that_succeeds_closes_it() -> None:
    clock = Ticks()
    breaker = opened(clock)
    clock.now = 5.0
    assert breaker.admit()
    breaker.succeeded()
    assert all(breaker.admit() for _ in range(3))


def test_probe_that_is_given_up_leaves_room_for_another() -> None:
    clock = Ticks()
    breaker = opened(clock)
    clock.now = 5.0
    assert breaker.admit()
    breaker.abandoned()
    assert breaker.admit()


def test_of_many_threads_one_probes() -> None:
    clock = Ticks()
    breaker = opened(clock)
    clock.now = 5.0
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: breaker.admit(), range(100))) == 1

from __future__ import annotations

from agentguard.server._sessions import (
    ABSOLUTE_S,
    IDLE_S,
    MAX_SESSIONS,
    LoginThrottle,
    Sessions,
    set_cookie,
)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def cookie(secret: str) -> bytes:
    return b"theme=dark; agentguard_session=" + secret.encode()


def test_a_session_ends_when_it_is_idle() -> None:
    clock = Clock()
    sessions = Sessions(clock=clock)
    secret = sessions.start()
    clock.now += IDLE_S - 1
    assert sessions.find(cookie(secret))
    clock.now += IDLE_S - 1
    assert sessions.find(cookie(secret))
    clock.now += IDLE_S + 1
    assert sessions.find(cookie(secret)) is None


def test_a_session_ends_however_busy_it_is() -> None:
    clock = Clock()
    sessions = Sessions(clock=clock)
    secret = sessions.start()
    session = sessions.find(cookie(secret))
    assert session
    for _ in range(int(ABSOLUTE_S // (IDLE_S / 2))):
        assert sessions.is_open(session)
        clock.now += IDLE_S / 2
    clock.now += 1
    assert not sessions.is_open(session)


def test_sessions_are_bounded_and_the_one_unused_for_longest_goes() -> None:
    clock = Clock()
    sessions = Sessions(clock=clock)
    first, second = sessions.start(), sessions.start()
    clock.now += 1
    sessions.find(cookie(first))
    for _ in range(MAX_SESSIONS - 1):
        sessions.start()
    assert sessions.find(cookie(first))
    assert sessions.find(cookie(second)) is None


def test_no_cookie_is_nobodys() -> None:
    sessions = Sessions()
    sessions.start()
    for header in (b"", b"agentguard_session=", b"agentguard_session", b"x=y"):
        assert sessions.find(header) is None


def test_the_cookie_is_secure_where_the_connection_is() -> None:
    assert b"; Secure" in set_cookie("x", is_secure=True)[1]
    assert b"; Secure" not in set_cookie("x", is_secure=False)[1]


def test_the_throttle_lets_one_more_try_after_a_while_and_forgets_the_oldest_peer() -> None:
    clock = Clock()
    throttle = LoginThrottle(attempts=2, refill_s=10, clock=clock)
    for _ in range(2):
        assert throttle.wait_s("a") == 0
        throttle.failed("a")
    assert throttle.wait_s("a") == 10
    assert throttle.wait_s("b") == 0
    clock.now += 10
    assert throttle.wait_s("a") == 0
    for number in range(1000):
        throttle.failed(f"peer {number}")
    assert len(throttle._failed) == 1000

from __future__ import annotations

import logging

import pytest

from agentguard.core import Decision, Effect, Obligation
from agentguard.enforcement import log_decision


def logged(caplog: pytest.LogCaptureFixture, effect: Effect, *levels: str) -> logging.LogRecord:
    caplog.set_level(logging.DEBUG, logger="agentguard.pep")
    log_decision(
        Decision(
            effect=effect,
            reason="because",
            principal="p",
            action="a@1",
            resource="b/c",
            params={"password": "hunter2"},
            correlation_id="corr",
            obligations=tuple(Obligation("log_level", level) for level in levels),
        )
    )
    return caplog.records[-1]


@pytest.mark.parametrize(
    ("effect", "levels", "expected"),
    [
        (Effect.ALLOW, (), logging.DEBUG),
        (Effect.TRANSFORM, (), logging.DEBUG),
        (Effect.DENY, (), logging.INFO),
        (Effect.REQUIRE_APPROVAL, (), logging.INFO),
        (Effect.ALLOW, ("warning",), logging.WARNING),
        (Effect.ALLOW, ("warning", "error", "debug"), logging.ERROR),
        (Effect.DENY, ("debug",), logging.DEBUG),
        (Effect.DENY, ("nonsense",), logging.INFO),
    ],
)
def test_decision_is_logged_at_the_level_it_asks_for(
    caplog: pytest.LogCaptureFixture, effect: Effect, levels: tuple[str, ...], expected: int
) -> None:
    assert logged(caplog, effect, *levels).levelno == expected


def test_record_has_the_facts_and_no_parameter(caplog: pytest.LogCaptureFixture) -> None:
    record = logged(caplog, Effect.DENY)
    assert (record.__dict__["effect"], record.__dict__["correlation_id"]) == ("deny", "corr")
    assert record.getMessage() == "decided deny"
    assert "hunter2" not in str(record.__dict__)


def test_disabled_level_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, logger="agentguard.pep")
    log_decision(Decision(effect=Effect.DENY, reason="r", principal="p", action="a@1", resource="b/c"))
    assert caplog.records == []

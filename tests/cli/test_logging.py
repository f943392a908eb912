from __future__ import annotations

import io
import json
import logging
import sys
from typing import TYPE_CHECKING, Any

import pytest

from agentguard.cli._logging import redact, set_up

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "eyJhbGciOiJFZDI1NTE5In0.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"
ADMIN = "agadm_y8wmqkoYfrsMghpF2NcD1w"


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    names = ("agentguard", "uvicorn")
    before = [(logging.getLogger(name), list(logging.getLogger(name).handlers)) for name in names]
    levels = [(logger, logger.level, logger.propagate) for logger, _ in before]
    yield
    for logger, handlers in before:
        logger.handlers = handlers
    for logger, level, propagate in levels:
        logger.level, logger.propagate = level, propagate


class Stream(io.StringIO):
    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def _stream(monkeypatch: pytest.MonkeyPatch, *, terminal: bool, level: str = "info") -> Stream:
    stream = Stream(terminal=terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    set_up(level)
    return stream


@pytest.mark.parametrize("secret", [TOKEN, ADMIN, f"Bearer {TOKEN}", "bearer opaque-token"])
def test_tokens_are_redacted(secret: str) -> None:
    assert redact(f"before {secret} after") == "before [redacted] after"
    assert redact("nothing to hide") == "nothing to hide"


def test_a_file_gets_json_with_level_and_correlation_id(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = _stream(monkeypatch, terminal=False)
    log = logging.getLogger("agentguard.test")
    log.warning("refused %s", TOKEN, extra={"correlation_id": "c-1", "given": ADMIN, "other": {ADMIN}})
    line: dict[str, Any] = json.loads(stream.getvalue())
    assert (line["level"], line["logger"], line["correlation_id"]) == ("warning", "agentguard.test", "c-1")
    assert line["message"] == "refused [redacted]"
    assert TOKEN not in stream.getvalue()
    assert ADMIN not in stream.getvalue()


def test_json_holds_a_redacted_traceback_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = _stream(monkeypatch, terminal=False)
    try:
        int(TOKEN)
    except ValueError:
        logging.getLogger("agentguard.test").exception("failed")
    assert stream.getvalue().count("\n") == 1
    assert TOKEN not in stream.getvalue()
    assert "ValueError: invalid literal" in json.loads(stream.getvalue())["traceback"]


@pytest.mark.parametrize("no_color", ["", "1"])
def test_a_terminal_gets_a_line_without_a_traceback(monkeypatch: pytest.MonkeyPatch, no_color: str) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    stream = _stream(monkeypatch, terminal=True)
    try:
        _ = dict[str, str]()[f"\x1b[2J {TOKEN}"]
    except KeyError:
        logging.getLogger("agentguard.test").exception("failed", extra={"correlation_id": "c-1\x1b"})
    text = stream.getvalue()
    assert "test: failed (KeyError: '\\x1b[2J [redacted]') [c-1\\x1b]" in text
    assert text.count("\n") == 1
    assert ("\x1b" in text) is not bool(no_color)


def test_the_level_is_the_least_that_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = _stream(monkeypatch, terminal=True, level="error")
    logging.getLogger("agentguard.test").warning("not this")
    logging.getLogger("agentguard.test").info("nor this")
    assert stream.getvalue() == ""

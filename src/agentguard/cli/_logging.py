"""Diagnostic messages: a line for people in a terminal, JSON otherwise. The audit log is another thing."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any

from agentguard.cli._output import colour, plain

# Whatever looks like a token, wherever it comes from, is not for a log.
_SECRET = re.compile(
    r"agadm_[A-Za-z0-9_-]{8,}|eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*|(?i:bearer) \S+"
)
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_COLOURS = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[31;1m"}


def redact(text: str) -> str:
    """Return `text` without what looks like a token."""
    return _SECRET.sub("[redacted]", text)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and what the caller added."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for `record`."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        for name, value in vars(record).items():
            if name not in _OWN:
                line[name] = redact(value) if isinstance(value, str) else value
        if record.exc_info:
            line["traceback"] = redact(self.formatException(record.exc_info))
        return json.dumps(line, default=_text)


def _text(value: object) -> str:
    return redact(str(value))


class TerminalFormatter(logging.Formatter):
    """`12:00:01 warning policy: message`, the level in colour; an exception without its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for `record`."""
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        level = record.levelname.lower()
        code = _COLOURS.get(record.levelname, "")
        if code and colour() is None:
            level = f"{code}{level}\x1b[0m"
        name = record.name.removeprefix("agentguard.")
        message = record.getMessage()
        if record.exc_info and record.exc_info[0] is not None:
            message += f" ({record.exc_info[0].__name__}: {record.exc_info[1]})"
        correlation = getattr(record, "correlation_id", "")
        return f"{time} {level} {name}: {plain(redact(message))}" + (
            f" [{plain(str(correlation))}]" if correlation else ""
        )


def set_up(level: str) -> None:
    """Send messages of at least `level` to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(TerminalFormatter() if sys.stderr.isatty() else JsonFormatter())
    root = logging.getLogger("agentguard")
    root.handlers = [handler]
    root.setLevel(level.upper())
    root.propagate = False
    logging.getLogger("uvicorn").setLevel("WARNING")
    logging.getLogger("uvicorn").handlers = [handler]

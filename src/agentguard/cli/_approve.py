"""Asking the person at the terminal about one attempt, or an alert, while the agent is frozen."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from agentguard.cli._output import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentguard.kernel.egress import Answer, Denial

_TERMINAL = "/dev/tty"
_WORDS = {"o": "once", "r": "run", "d": "deny", "k": "kill"}
_TRIES = 3


def ask_on_terminal(denial: Denial, terminal: str = _TERMINAL) -> Answer:
    """Return what the person says; `DENY` where there is no terminal, or no answer that can be understood."""
    from agentguard.kernel.egress import Answer

    who = f" ({plain(denial.program or 'process')} {denial.pid})" if denial.pid else ""
    said = _ask(
        terminal,
        f"it wants {plain(denial.target)}{who}: {plain(denial.reason)}",
        "allow [o]nce, for this [r]un, [d]eny, or [k]ill the agent? ",
        _WORDS,
    )
    return Answer(said or "deny")


def goes_on(reason: str, terminal: str = _TERMINAL) -> bool:
    """Tell whether the person lets a frozen agent go on after an alert; not where nobody can be asked."""
    said = _ask(terminal, plain(reason), "let it [g]o on, or [k]ill it? ", {"g": "go", "k": "kill"})
    return said == "go"


def _ask(terminal: str, why: str, question: str, words: Mapping[str, str]) -> str | None:
    with contextlib.suppress(OSError), open(terminal, "r+b", buffering=0) as stream:  # noqa: PTH123 - unbuffered, as a terminal cannot seek
        stream.write(f"\nagentguard: the agent is frozen: {why}\n".encode())
        for _ in range(_TRIES):
            stream.write(question.encode())
            line = _read_line(stream)
            if line is None:
                break
            found = words.get(line.strip().lower()[:1])
            if found is not None:
                return found
    return None


def _read_line(stream: object) -> str | None:
    text = b""
    while not text.endswith(b"\n"):
        piece = stream.read(1)  # type: ignore[attr-defined]  # a raw file: one that is buffered cannot seek on a terminal
        if not piece:
            return None
        text += piece
    return text.decode("utf-8", "replace")

"""Asking the person at the terminal about one attempt, while the agent is frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentguard.cli._output import plain

if TYPE_CHECKING:
    from agentguard.kernel.egress import Answer, Denial

_TERMINAL = "/dev/tty"
_WORDS = {"o": "once", "r": "run", "d": "deny", "k": "kill"}
_TRIES = 3


def ask_on_terminal(denial: Denial, terminal: str = _TERMINAL) -> Answer:
    """Return what the person says; `DENY` where there is no terminal, or no answer that can be understood."""
    from agentguard.kernel.egress import Answer

    try:
        with open(terminal, "r+b", buffering=0) as stream:  # noqa: PTH123 - unbuffered, as a terminal cannot seek
            who = f" ({plain(denial.program or 'process')} {denial.pid})" if denial.pid else ""
            stream.write(
                f"\nagentguard: the agent is frozen: it wants {plain(denial.target)}{who}: {plain(denial.reason)}\n".encode()
            )
            for _ in range(_TRIES):
                stream.write(b"allow [o]nce, for this [r]un, [d]eny, or [k]ill the agent? ")
                line = _read_line(stream)
                if line is None:
                    break
                found = _WORDS.get(line.strip().lower()[:1])
                if found is not None:
                    return Answer(found)
    except OSError:
        pass
    return Answer.DENY


def _read_line(stream: object) -> str | None:
    text = b""
    while not text.endswith(b"\n"):
        piece = stream.read(1)  # type: ignore[attr-defined]  # a raw file: one that is buffered cannot seek on a terminal
        if not piece:
            return None
        text += piece
    return text.decode("utf-8", "replace")

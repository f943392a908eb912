"""Asking a person: the agent is frozen meanwhile, so that nothing happens behind the question."""

from __future__ import annotations

import enum
import threading
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.kernel.egress._denial import Denial

ONCE_S = 30.0
_MOST_QUESTIONS = 1000


class Answer(enum.StrEnum):
    """What a person says. `ONCE` holds for half a minute, as a name and then its address are asked for.

    `LOOKUP` lets a name be looked up for as long, and each port of it is asked about when it is connected to.
    """

    DENY = "deny"
    ONCE = "once"
    LOOKUP = "lookup"
    RUN = "run"
    KILL = "kill"


_SHORT = frozenset((Answer.ONCE, Answer.LOOKUP))


class Ask(Protocol):
    """Asks whoever may approve. Blocks until there is an answer; raising counts as `DENY`."""

    def __call__(self, denial: Denial, /) -> Answer:
        """Return the answer."""
        ...


class Holds(Protocol):
    """What can hold the agent: a `Freezer`."""

    def freeze(self, seconds: float = ...) -> None:
        """Stop it."""
        ...

    def thaw(self) -> None:
        """Let it go on."""
        ...

    def kill(self) -> None:
        """End it."""
        ...


class Approvals:
    """Freezes, asks, and thaws or kills. One question at a time, and each only once a run, so that nobody is worn out.

    For any number of threads.
    """

    def __init__(self, holds: Holds, ask: Ask, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._holds, self._ask, self._clock = holds, ask, clock
        self._lock = threading.Lock()
        self._answers: dict[str, tuple[Answer, float]] = {}
        self.killed = False

    def decide(self, denial: Denial) -> Answer:
        """Return the answer about what was denied, asking for it where that was not done yet."""
        with self._lock:
            if self.killed:
                return Answer.KILL
            known = self._answers.get(denial.target)
            if known is not None and (known[0] not in _SHORT or self._clock() < known[1]):
                return known[0]
            if len(self._answers) >= _MOST_QUESTIONS and known is None:
                return Answer.DENY
            answer = self._frozen_ask(denial)
            self._answers[denial.target] = (answer, self._clock() + ONCE_S)
            return answer

    def _frozen_ask(self, denial: Denial) -> Answer:
        answer = Answer.DENY
        self._holds.freeze()
        try:
            answer = self._ask(denial)
        except Exception:  # noqa: BLE001 - whoever asks may fail in any way, and then it stays denied
            answer = Answer.DENY
        finally:
            if answer is Answer.KILL:
                self.killed = True
                self._holds.kill()
            else:
                self._holds.thaw()
        return answer

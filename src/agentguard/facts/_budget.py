"""The limits of a parser: size before it starts, CPU time while it runs."""

from __future__ import annotations

import threading
from time import thread_time

MAX_BYTES = 65_536
MAX_SECONDS = 0.005
_EVERY = 32


class UnparsedError(Exception):
    """A text cannot be read, or not within the limits. Never leaves the room."""


class SlowError(UnparsedError):
    """The time is up."""


class Budget(threading.local):
    """CPU time of this thread that is left to the parser at work; other threads do not eat into it."""

    def __init__(self) -> None:
        self._end = 0.0
        self._countdown = 0

    def start(self, seconds: float = MAX_SECONDS) -> None:
        """Begin to count."""
        self._end = thread_time() + seconds
        self._countdown = _EVERY

    def spend(self) -> None:
        """Note one step of work.

        Raises:
            SlowError: the time is up.
        """
        self._countdown -= 1
        if self._countdown <= 0:
            self._countdown = _EVERY
            self.check()

    def check(self) -> None:
        """Look at the clock.

        Raises:
            SlowError: the time is up.
        """
        if thread_time() > self._end:
            raise SlowError("takes too long to read")


budget = Budget()


def check_nulls(text: str) -> None:
    """Check that a text means the same to all who read it: a null ends it for some, and others drop it.

    Raises:
        UnparsedError: it holds a null.
    """
    if "\0" in text:
        raise UnparsedError("holds a null")


def check_size(text: str) -> None:
    """Check that a text is small enough to be parsed at all.

    Raises:
        UnparsedError: it is not, or it is no Unicode text, or holds a null.
    """
    check_nulls(text)
    if len(text) > MAX_BYTES:
        raise UnparsedError("is too long to be read")
    try:
        if len(text.encode()) > MAX_BYTES:
            raise UnparsedError("is too long to be read")
    except UnicodeEncodeError:
        raise UnparsedError("is no text") from None

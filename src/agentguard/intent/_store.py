"""All sessions with an intent, bounded in number and time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

S = TypeVar("S")
Key = tuple[str, str]

MAX_SESSIONS = 256
MAX_ENDED = 65_536
TTL_S = 86_400.0


class IntentStore(Generic[S]):
    """Sessions by (principal id, session id). Safe to use from many threads.

    A session ends a day after it was last used, or when there are too many: the one unused for longest goes. What
    has ended is remembered as such, so that its name is no session without an intent all at once; `on_end` is told.
    """

    def __init__(
        self,
        *,
        max_sessions: int = MAX_SESSIONS,
        ttl_s: float = TTL_S,
        on_end: Callable[[Key], None] = lambda _key: None,
    ) -> None:
        self._on_end = on_end
        self.max_sessions = max_sessions
        self.ttl_s = ttl_s
        self._lock = threading.Lock()
        self._sessions: OrderedDict[Key, tuple[S, float]] = OrderedDict()
        self._ended: OrderedDict[Key, None] = OrderedDict()

    def open(self, key: Key, session: S, now: float) -> bool:
        """Add a session; False if one with this name is or was there."""
        with self._lock:
            if key in self._sessions or key in self._ended:
                return False
            self._sessions[key] = (session, now)
            while len(self._sessions) > self.max_sessions:
                self._end(next(iter(self._sessions)))
            return True

    def find(self, key: Key, now: float) -> S | None:
        """Return the session and mark it as used; None if there is none."""
        if not self._sessions:
            return None
        with self._lock:
            found = self._sessions.get(key)
            if found is None:
                return None
            session, used = found
            if now - used > self.ttl_s:
                self._end(key)
                return None
            self._sessions[key] = (session, max(now, used))
            self._sessions.move_to_end(key)
            return session

    def all(self) -> list[tuple[Key, S, float]]:
        """Return the sessions that are there, each with its key and when it was used last."""
        with self._lock:
            return [(key, session, used) for key, (session, used) in self._sessions.items()]

    def end(self, key: Key) -> None:
        """End a session, if there is one of this name."""
        with self._lock:
            if key in self._sessions:
                self._end(key)

    def knows(self, key: Key) -> bool:
        """Tell whether a session of this name is or was there."""
        return key in self._sessions or key in self._ended

    def has_ended(self, key: Key) -> bool:
        """Tell whether a session of this name was there and is no more."""
        return key in self._ended

    def _end(self, key: Key) -> None:
        del self._sessions[key]
        self._ended[key] = None
        while len(self._ended) > MAX_ENDED:
            self._ended.popitem(last=False)
        self._on_end(key)

"""The label store: all sessions, bounded in number, memory and time."""

from __future__ import annotations

import math
import secrets
import threading
from collections import OrderedDict
from functools import reduce
from operator import or_
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from agentguard.core import Integrity, Label, Match, Provenance, RequestError, Sensitivity
from agentguard.flow._packed import MILDEST, RESTRICTED, UNTRUSTED, UNVERIFIED, LabelTable
from agentguard.flow._prints import Printer
from agentguard.flow._regrade import MAX_GRANTS, Grant, Regraded
from agentguard.flow._session import Session
from agentguard.flow._trace import Traced, Tracer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentguard.core import Regrade

Key = tuple[str, str]

DAY_S = 86_400.0
# What an ended session had seen is remembered so long, in case that its name is used again.
MEMORY_S = 30 * DAY_S
MAX_ENDED = 65_536
MAX_FLOORS = 4_096
LOST = UNTRUSTED | RESTRICTED

_FRESH = Provenance(Label(Integrity.UNVERIFIED, Sensitivity.PUBLIC), Match.SESSION)
# The provenance of every argument where nothing has been seen: a model wrote it, out of nothing.
NOTHING_SEEN: Mapping[str, Provenance] = MappingProxyType({"": _FRESH})


class FlowStore:
    """The labels of what each session has seen. Safe to use from many threads.

    A session is known by (principal id, session id), so no principal reads or taints another's. The empty
    session id stands for all sessions of its principal. Times are seconds since any fixed moment, best of
    the wall clock so that they survive a restart; a clock that goes back is taken to stand still.

    A session ends after `ttl_s` without use, or when there are too many (`max_sessions`, of one principal
    `max_each`). Its label is remembered for 30 days and counts for a session that takes its name.
    """

    def __init__(
        self,
        *,
        ttl_s: float = DAY_S,
        max_sessions: int = 1_024,
        max_each: int = 128,
        max_prints: int = 131_072,
        max_total: int = 4_194_304,
        key: bytes | None = None,
    ) -> None:
        self.ttl_s = ttl_s
        self.max_sessions = max_sessions
        self.max_each = max_each
        self.max_prints = max_prints
        self.max_total = max_total
        self.table = LabelTable()
        self.printer = Printer(key or secrets.token_bytes(32))
        self.lock = threading.RLock()
        self.now = 0.0
        # The moment until which every new session counts as having seen everything.
        self.lost_until = 0.0
        self.sessions: OrderedDict[Key, Session] = OrderedDict()
        self.of_principal: dict[str, OrderedDict[str, Session]] = {}
        self.ended: OrderedDict[Key, tuple[int, float]] = OrderedDict()
        self.floors: dict[str, int] = {}
        self.prints = 0

    def observe(self, key: Key, value: Any, label: Label, source: str, now: float) -> None:
        """Take in a value that the session has seen: JSON, a text, or bytes.

        `source` names where it came from, as `tool:mail.read` or `net:host`. Kept are its label and
        fingerprints, never the value. Whatever the value is, its label counts.
        """
        packed = self.table.pack(label)
        prints = self.printer.value(value)
        with self.lock:
            session = self._open(key, now)
            before = len(session)
            session.observe(prints, packed, source)
            self.prints += len(session) - before
            self._bound()

    def vouch(self, key: Key, value: str, source: str, now: float, label: Label | None = None) -> None:
        """Register words of the user, or a constant of policy or inventory, as trusted.

        An argument that is one of these words, or up to four in a row, or all of them, is theirs, whatever
        else it resembles. Only for what no model wrote.
        """
        label = label or Label(Integrity.TRUSTED, Sensitivity.INTERNAL)
        packed = self.table.pack(label)
        phrases, prints = self.printer.phrases(value), self.printer.value(value)
        with self.lock:
            session = self._open(key, now)
            before = len(session)
            session.vouch(phrases, packed, source)
            session.observe(prints, packed, source)
            self.prints += len(session) - before
            self._bound()

    def trace(
        self, key: Key, params: dict[str, Any], action: str = "", now: float | None = None
    ) -> Mapping[str, Provenance]:
        """Return the provenance of each argument by JSON pointer; `""` stands for all that is not named.

        Worked out when it is first looked at: `params` must not change before.
        `action` is the action's name, for which labels may have been changed. `now` keeps the session alive.
        """
        principal, name = key
        sessions = self.of_principal.get(principal)
        if sessions is None and self.lost_until <= self.now and not self.ended and not self.floors:
            return NOTHING_SEEN
        session = sessions.get(name) if sessions is not None else None
        if session is None or now is not None or not name:
            session = self._revive(key, now)
            if session is None:
                return NOTHING_SEEN
        tracer = Tracer(session, self.printer, self.table, action)
        if not name:
            tracer.ambient |= self._packed(key)
        return Traced(tracer, params)

    def label(self, key: Key) -> Label:
        """Return the label of all that the session has seen; of a new one, of what a model writes."""
        return self.table.unpack(self._packed(key) | UNVERIFIED)

    def find_subject(self, regrade: Regrade, now: float) -> None:
        """Return if there is what `regrade` speaks of.

        Raises:
            RequestError: as `regrade` does.
        """
        with self.lock:
            self.tick(now)
            self._subject(regrade)

    def regrade(self, regrade: Regrade, now: float) -> Regraded:
        """Change the label of a source or of one value, for one action and argument of one session.

        It is for who calls to decide on it and to record it.

        Raises:
            RequestError: the session has ended or never was (`session_unknown`), has not seen the source
                (`source_unknown`), or has too many changes (`flow_limit`).
        """
        with self.lock:
            self.tick(now)
            session, grant, before = self._subject(regrade)
            if grant not in session.grants:
                session.grants = (*session.grants, grant)
        return Regraded(self.table.unpack(before), self.table.unpack(grant.regrade(before)))

    def end(self, key: Key) -> None:
        """End a session: its fingerprints go, its label is remembered."""
        with self.lock:
            if key in self.sessions:
                self._drop(key)

    def tick(self, now: float) -> float:
        """Take in the time, end what is over, and return the time as it counts here: it never goes back."""
        with self.lock:
            if math.isfinite(now) and now > self.now:
                self.now = now
            while self.sessions:
                key, session = next(iter(self.sessions.items()))
                if self.now - session.seen <= self.ttl_s:
                    break
                self._drop(key)
            return self.now

    def declare_lost(self, now: float) -> None:
        """Count every session that begins or goes on within the next `ttl_s` as having seen everything."""
        with self.lock:
            self.lost_until = self.tick(now) + self.ttl_s
            for session in self.sessions.values():
                taint(session)

    def _subject(self, regrade: Regrade) -> tuple[Session, Grant, int]:
        """Return the session, what is to be granted, and the label as it is; the lock is held."""
        session = self.sessions.get((regrade.principal, regrade.session))
        if session is None:
            raise RequestError(
                f"`{regrade.principal}` has no session `{regrade.session}` that has seen anything",
                code="session_unknown",
                hint="it may have ended; name one that was observed within a day",
            )
        grant = self._grant(regrade)
        if len(session.grants) >= MAX_GRANTS and grant not in session.grants:
            raise RequestError(f"the session has {MAX_GRANTS} changed labels already", code="flow_limit")
        if grant.value is not None:
            origin = session.find(grant.value)
            return session, grant, session.label | UNVERIFIED if origin is None else origin.packed
        seen = [each.packed for each in session.origins if grant.source in each.sources]
        if not seen:
            raise RequestError(
                f"the session has seen nothing from `{grant.source}`",
                code="source_unknown",
                hint="a decision's reason names the sources, as `tool:mail.read`",
            )
        return session, grant, reduce(or_, seen)

    def _grant(self, regrade: Regrade) -> Grant:
        param = regrade.param
        if not regrade.action or (param != "*" and not param.startswith("/")):
            raise RequestError(
                "a label is changed for one action and one argument",
                code="flow_invalid",
                hint="give the action's name and a JSON pointer, as `/body`, or `*`",
            )
        value = None if regrade.value is None else self.printer.short(regrade.value).key
        return Grant(regrade.action, param, regrade.source, value, regrade.integrity, regrade.confidentiality)

    def _packed(self, key: Key) -> int:
        principal, name = key
        session = self.sessions.get(key)
        if session is not None and name:
            return session.label
        with self.lock:
            session = self.sessions.get(key)
            packed = self._inherited(key) if session is None else session.label
            if not name:
                for each in self.of_principal.get(principal, {}).values():
                    packed |= each.label
        return packed

    def _inherited(self, key: Key) -> int:
        packed = self.floors.get(key[0], MILDEST) | self.floors.get("", MILDEST)
        packed |= self.ended.get(key, (MILDEST, 0.0))[0]
        return packed | LOST if self.now < self.lost_until else packed

    def _revive(self, key: Key, now: float | None) -> Session | None:
        """Return the session as it counts for a request; None if it has seen nothing."""
        with self.lock:
            if now is not None:
                self.tick(now)
            session = self.sessions.get(key)
            if session is not None:
                session.seen = self.now
                self._touch(key)
                return session
            packed = self._packed(key)
        if packed == MILDEST:
            return None
        return Session(max_prints=2, label=packed, lost=self.now < self.lost_until)

    def _open(self, key: Key, now: float) -> Session:
        self.tick(now)
        session = self.sessions.get(key)
        if session is None:
            lost = self.now < self.lost_until
            session = Session(max_prints=self.max_prints, label=self._inherited(key), lost=lost)
            self.add(key, session)
            self._make_room(key)
        session.seen = self.now
        self._touch(key)
        return session

    def add(self, key: Key, session: Session) -> None:
        """Put a session in its places (for restoring a snapshot; the lock is held)."""
        principal, name = key
        self.sessions[key] = session
        self.of_principal.setdefault(principal, OrderedDict())[name] = session
        self.prints += len(session)

    def _touch(self, key: Key) -> None:
        self.sessions.move_to_end(key)
        self.of_principal[key[0]].move_to_end(key[1])

    def _make_room(self, key: Key) -> None:
        """End the session that was used longest ago: of this principal if it has its share, else of all."""
        principal = key[0]
        own = self.of_principal[principal]
        while len(own) > self.max_each:
            self._drop((principal, next(iter(own))))
        while len(self.sessions) > self.max_sessions:
            self._drop(next(iter(self.sessions)))

    def _drop(self, key: Key) -> None:
        principal, name = key
        session = self.sessions.pop(key)
        own = self.of_principal[principal]
        del own[name]
        if not own:
            del self.of_principal[principal]
        self.prints -= len(session)
        self.ended[key] = (session.label | self.ended.pop(key, (MILDEST, 0.0))[0], self.now)
        while len(self.ended) > MAX_ENDED or self._outlived():
            self._forget_oldest()

    def _outlived(self) -> bool:
        return bool(self.ended) and self.now - next(iter(self.ended.values()))[1] > MEMORY_S

    def _forget_oldest(self) -> None:
        (principal, _), (packed, since) = self.ended.popitem(last=False)
        if self.now - since > MEMORY_S:
            return
        # Its name may come back: all new sessions of its principal have its label instead.
        known = principal in self.floors or len(self.floors) < MAX_FLOORS
        name = principal if known else ""
        self.floors[name] = self.floors.get(name, MILDEST) | packed

    def _bound(self) -> None:
        """Drop the fingerprints of the sessions that were used longest ago until all fit."""
        if self.prints <= self.max_total:
            return
        for session in list(self.sessions.values()):
            before = len(session)
            session.forget()
            self.prints += len(session) - before
            if self.prints <= self.max_total:
                return


def taint(session: Session) -> None:
    """Count a session as having seen everything, because part of what it saw is lost."""
    session.label |= LOST
    session.lossy |= LOST
    session.lost = True

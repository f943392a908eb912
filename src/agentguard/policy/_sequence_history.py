"""What happened before: asked before an effect, and noted so that no two requests share one last unit.

Conditions are tested before the lock is taken; under it there is only arithmetic of constant size, so that one
lock for all scopes costs no more than one for each, and a request that concerns three scopes is still atomic.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import Context, Effect, Principal, Severity
from agentguard.policy._facts import Facts
from agentguard.policy._sequence_cells import Cell, Mark, Tally
from agentguard.policy._sequence_compile import (
    CUMULATIVE_RISK,
    SEQUENCE,
    CompiledRisk,
    CompiledSequence,
    Entry,
)
from agentguard.policy._sequence_note import Undo, note, problem
from agentguard.policy._sequence_scope import (
    KEY_OF,
    MAX_SCOPES,
    BranchedScopes,
    Key,
    Scopes,
    ScopeState,
    prune,
)
from agentguard.policy._sequence_set import Matched, SequenceSet

if TYPE_CHECKING:
    from datetime import datetime

    from agentguard.policy._sequence_measure import Measured
    from agentguard.policy._sequence_set import Counted

_APPROVAL = Effect.REQUIRE_APPROVAL.rank
_PAUSE = "/pause"


class SequenceRuling(msgspec.Struct, frozen=True):
    """What the rules about more than one request say of one; `rule` is None where the table is full."""

    effect: Effect
    stage: str
    reason: str
    rule: str | None
    severity: Severity = Severity.HIGH


class Reservation(msgspec.Struct):
    """What was noted for a request before its decision was final: to be settled with the final effect."""

    ruling: SequenceRuling | None
    principal: Principal
    context: Context
    at: float = 0.0
    undo: list[Undo] = []
    risk_undo: Undo | None = None
    frees: list[tuple[CompiledSequence, int]] = []


class _Ask(msgspec.Struct):
    """A request as it is asked about: `matched` is what it means to the rules, `score` its risk."""

    sequences: SequenceSet
    matched: Matched | None
    facts: Facts
    now: float
    score: int


class History:
    """What happened before, by scope. Safe to use from many threads; `limit` bounds the number of scopes.

    When it is full of scopes that rules may still ask for, a request that would need a new one is denied.
    """

    def __init__(self, *, limit: int = MAX_SCOPES) -> None:
        self._scopes = Scopes(limit)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return the number of scopes."""
        return len(self._scopes.states)

    def evaluate(
        self, sequences: SequenceSet, facts: Facts, *, now: datetime | None = None, score: int = 0
    ) -> SequenceRuling | None:
        """Return what the history says of a request, without noting it; None if nothing.

        `now` is the guard's own time, where the request has another; `score` is the request's risk.
        """
        if sequences.empty:
            return None
        ask = _Ask(sequences, sequences.match(facts), facts, (now or facts.now).timestamp(), score)
        # On a copy: to judge moves time on, and what has left a window is dropped.
        branch = self.branch()
        with self._lock:
            return branch._judge(ask)  # noqa: SLF001 - a copy of this object

    def reserve(
        self,
        sequences: SequenceSet,
        facts: Facts,
        effect: Effect,
        *,
        now: datetime | None = None,
        score: int = 0,
    ) -> Reservation | None:
        """Evaluate a request and note it, in one step; `effect` is what is known of its decision so far.

        What makes later requests stricter is noted now, what frees them when the reservation is settled, so
        that neither can be used in between. None: nothing was said and nothing noted.
        """
        if sequences.empty:
            return None
        matched = sequences.match(facts)
        if matched is None and sequences.breaker is None and sequences.cumulative_risk is None:
            return None
        ask = _Ask(sequences, matched, facts, (now or facts.now).timestamp(), score)
        with self._lock:
            ruling = self._judge(ask)
            final = effect if ruling is None else effect.join(ruling.effect)
            if final is Effect.DENY:
                return None if ruling is None else Reservation(ruling, facts.principal, facts.context)
            return self._note(ask, final, ruling)

    def settle(self, reservation: Reservation, effect: Effect) -> None:
        """Make a reservation final: nothing happened if the decision became stricter than it was thought."""
        if not (reservation.undo or reservation.frees or reservation.risk_undo):
            return
        with self._lock:
            if effect.rank >= _APPROVAL:
                for undo in reversed(reservation.undo):
                    undo()
                if effect is Effect.DENY and reservation.risk_undo is not None:
                    reservation.risk_undo()
            else:
                for entry, order in reservation.frees:
                    self._free(entry, order, reservation)
        reservation.undo = []
        reservation.frees = []
        reservation.risk_undo = None

    def commit(
        self,
        sequences: SequenceSet,
        facts: Facts,
        effect: Effect,
        *,
        now: datetime | None = None,
        score: int = 0,
    ) -> None:
        """Note a request that was decided elsewhere, whatever the rules would have said of it."""
        if sequences.empty:
            return
        now = now or facts.now
        if effect is Effect.DENY:
            self.denied(sequences, facts.principal, facts.context, now)
            return
        ask = _Ask(sequences, sequences.match(facts), facts, now.timestamp(), score)
        with self._lock:
            made = self._note(ask, effect, None)
        if made is not None:
            self.settle(made, effect)

    def denied(self, sequences: SequenceSet, principal: Principal, context: Context, now: datetime) -> None:
        """Note a denial, for the breaker; denials during a pause do not make it longer."""
        breaker = sequences.breaker
        if breaker is None:
            return
        with self._lock:
            state = self._scopes.open(KEY_OF[breaker.scope](principal, context), now.timestamp())
            if state is None:
                return
            moment = state.at(now.timestamp())
            if _paused_until(state, breaker.digest) > moment:
                return
            tally = state.cells.get(breaker.digest)
            if not isinstance(tally, Tally):
                tally = state.cells[breaker.digest] = Tally()
            tally.expire(moment, breaker.window)
            tally.add(moment, 1, breaker.window)
            state.keep_s = max(state.keep_s, breaker.keep_s)
            if tally.total >= breaker.denials:
                state.cells[breaker.digest + _PAUSE] = Mark(moment + breaker.pause_s, 0)
                del state.cells[breaker.digest]

    def branch(self) -> History:
        """Return a copy for what-if questions: what is noted there is not noted here."""
        branch = History(limit=self._scopes.limit)
        # One lock: the copy reads here what it has not copied yet.
        branch._lock = self._lock
        branch._scopes = BranchedScopes(self._scopes)
        return branch

    def _judge(self, ask: _Ask) -> SequenceRuling | None:
        """Return the strictest thing that is said, the first by id among equals; lock held."""
        principal, context, matched, now = ask.facts.principal, ask.facts.context, ask.matched, ask.now
        breaker, risk = ask.sequences.breaker, ask.sequences.cumulative_risk
        if breaker is not None:
            state = self._scopes.get(KEY_OF[breaker.scope](principal, context))
            if state is not None and _paused_until(state, breaker.digest) > _time(state, now):
                return _ruling(breaker)
        found: Counted | None = None
        for entry, measured in matched.stops if matched is not None else ():
            if found is not None and found.effect.rank >= entry.effect.rank:
                continue
            state = self._scopes.get(KEY_OF[entry.scope](principal, context))
            moment = _time(state, now)
            if problem(entry, state.cells.get(entry.digest) if state is not None else None, moment, measured):
                found = entry
                if entry.effect is Effect.DENY:
                    return _ruling(entry)
        if risk is not None:
            state = self._scopes.get(KEY_OF[risk.scope](principal, context))
            ruling = _risk_ruling(risk, state, _time(state, now), ask.score)
            if ruling is not None and (found is None or ruling.effect.rank > found.effect.rank):
                return ruling
        return _ruling(found) if found is not None else None

    def _note(self, ask: _Ask, effect: Effect, ruling: SequenceRuling | None) -> Reservation | None:
        """Note what makes later requests stricter; lock held."""
        principal, context, matched = ask.facts.principal, ask.facts.context, ask.matched
        made = Reservation(ruling, principal, context, ask.now)
        risk = ask.sequences.cumulative_risk
        if risk is not None:
            made.risk_undo = self._note_one(made, ask, risk, ask.score)
            if made.risk_undo is None:
                return self._full(made)
        if effect.rank < _APPROVAL and matched is not None:
            for free in matched.frees:
                state = self._scopes.get(KEY_OF[free.scope](principal, context))
                # A mark that is made from now on, by this request too, is not freed by it.
                made.frees.append((free, state.order if state is not None else 0))
            for entry, measured in matched.marks:
                undo = self._note_one(made, ask, entry, measured)
                if undo is None:
                    return self._full(made)
                made.undo.append(undo)
        if ruling is None and not made.undo and not made.frees and made.risk_undo is None:
            return None
        return made

    def _note_one(
        self, made: Reservation, ask: _Ask, entry: Counted | CompiledRisk, measured: Measured
    ) -> Undo | None:
        state = self._open(entry, made)
        if state is None:
            return None
        state.order += 1
        prune(state, ask.sequences.digests)
        return note(entry, state, measured)

    def _open(self, entry: Entry, made: Reservation) -> ScopeState | None:
        key: Key = KEY_OF[entry.scope](made.principal, made.context)
        state = self._scopes.open(key, made.at)
        if state is not None:
            state.at(made.at)
            state.keep_s = max(state.keep_s, entry.keep_s)
        return state

    def _full(self, made: Reservation) -> Reservation:
        for undo in reversed(made.undo):
            undo()
        if made.risk_undo is not None:
            made.risk_undo()
        limit = self._scopes.limit
        reason = f"the history is full: {limit} sessions and agents that rules may still ask about"
        ruling = SequenceRuling(Effect.DENY, SEQUENCE, reason, None)
        return Reservation(ruling, made.principal, made.context)

    def _free(self, entry: CompiledSequence, order: int, made: Reservation) -> None:
        """Let a request that happened free later ones; lock held."""
        if entry.needs:
            state = self._open(entry, made)
            # Without room it is forgotten that it happened: stricter, not looser.
            if state is not None:
                state.order += 1
                state.cells[entry.digest] = Mark(state.seen, state.order)
            return
        state = self._scopes.get(KEY_OF[entry.scope](made.principal, made.context))
        if state is not None:
            mark = state.cells.get(entry.digest)
            if isinstance(mark, Mark) and mark.order <= order:
                del state.cells[entry.digest]


def _time(state: ScopeState | None, now: float) -> float:
    return now if state is None else state.at(now)


def _paused_until(state: ScopeState, digest: str) -> float:
    cell: Cell | None = state.cells.get(digest + _PAUSE)
    return cell.at if isinstance(cell, Mark) else float("-inf")


def _ruling(entry: Entry) -> SequenceRuling:
    return SequenceRuling(entry.effect, entry.stage, entry.reason, entry.id, entry.severity)


def _risk_ruling(
    risk: CompiledRisk, state: ScopeState | None, now: float, score: int
) -> SequenceRuling | None:
    total = score
    tally = state.cells.get(risk.digest) if state is not None else None
    if isinstance(tally, Tally):
        tally.expire(now, risk.window)
        total += int(tally.total)
    if total < risk.approval_from:
        return None
    effect = Effect.DENY if total >= risk.deny_from else Effect.REQUIRE_APPROVAL
    what = "is too high" if effect is Effect.DENY else "needs a person"
    reason = f"cumulative risk {total} in {risk.rule.window} {what}"
    return SequenceRuling(effect, CUMULATIVE_RISK, reason, risk.id)

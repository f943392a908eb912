"""What happened before: asked before an effect, and noted so that no two requests share one last unit.

Conditions are tested before the lock is taken; under it there is only arithmetic of constant size, so that one
lock for all scopes costs no more than one for each, and a request that concerns three scopes is still atomic.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import Action, Context, Effect, IntegrityError, Location, Principal, Severity
from agentguard.policy._sequence_cells import UNIT, Mark, Tally
from agentguard.policy._sequence_compile import (
    CUMULATIVE_RISK,
    SEQUENCE,
    CompiledRisk,
    CompiledSequence,
    Entry,
)
from agentguard.policy._sequence_explain import paused_text, risk_text, stopped_text
from agentguard.policy._sequence_note import Noted, note, stops, take_back
from agentguard.policy._sequence_scope import (
    KEY_OF,
    MAX_SCOPES,
    BranchedScopes,
    Scopes,
    ScopeState,
    prune,
)
from agentguard.policy._sequence_set import Matched, SequenceSet
from agentguard.policy._sequence_store import decode, encode, save, unreadable

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from agentguard.policy._facts import Facts

_APPROVAL = Effect.REQUIRE_APPROVAL.rank
# An attribute of an enumeration takes as long as a call.
_DENY = Effect.DENY
_PAUSE = "/pause"


class SequenceRuling(msgspec.Struct, frozen=True):
    """What the rules about more than one request say of one; `rule` is None where the table is full.

    `explanation` says what counted: what came when, how much there was, when it will be free again.
    """

    effect: Effect
    stage: str
    reason: str
    rule: str | None
    severity: Severity = Severity.HIGH
    explanation: str = ""


class _Ask(msgspec.Struct):
    """A request as it is asked about: `matched` is what it means to the rules, `score` its risk.

    `states` are those of its scopes that were looked up, brought to the time of the request.
    """

    sequences: SequenceSet
    matched: Matched | None
    action: Action
    principal: Principal
    context: Context
    now: float
    score: int
    states: dict[int, ScopeState | None] = {}


class Reservation(msgspec.Struct):
    """What was noted for a request before its decision was final: to be settled with the final effect."""

    ruling: SequenceRuling | None
    ask: _Ask
    notes: list[Noted] | None = None
    risk_note: Noted | None = None
    frees: list[tuple[CompiledSequence, int]] | None = None


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
        ask = _ask(sequences, sequences.match(facts), facts, now, score)
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
        moment = (now or facts.now).timestamp()
        ask = _Ask(sequences, matched, facts.action, facts.principal, facts.context, moment, score * UNIT, {})
        with self._lock:
            ruling = self._judge(ask)
            final = effect if ruling is None else effect.join(ruling.effect)
            noted = sequences.cumulative_risk is not None or (
                matched is not None and (matched.marks or matched.frees) and final.rank < _APPROVAL
            )
            if final is _DENY or not noted:
                return None if ruling is None else Reservation(ruling, ask)
            return self._note(ask, final, ruling)

    def settle(self, reservation: Reservation, effect: Effect) -> None:
        """Make a reservation final: nothing happened if the decision became stricter than it was thought."""
        frees, notes, stopped = reservation.frees, reservation.notes, effect.rank >= _APPROVAL
        if frees is None and not stopped:
            return
        risk_note = reservation.risk_note if effect is _DENY else None
        reservation.notes = reservation.frees = reservation.risk_note = None
        with self._lock:
            if stopped:
                for each in reversed(notes or ()):
                    take_back(each)
                if risk_note is not None:
                    take_back(risk_note)
                return
            # Time has gone on, and what was looked up then may have been forgotten since.
            ask = msgspec.structs.replace(reservation.ask, states={})
            for entry, order in frees or ():
                self._free(entry, order, ask)

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
        if effect is _DENY:
            self.denied(sequences, facts.principal, facts.context, now)
            return
        ask = _ask(sequences, sequences.match(facts), facts, now, score)
        with self._lock:
            made = self._note(ask, effect, None)
        if made is not None:
            self.settle(made, effect)

    def free(self, sequences: SequenceSet, facts: Facts, whose: Principal, context: Context) -> None:
        """Note what a request frees (`unless`, `requires`) in another one's scopes, at the time of `facts`.

        So a change of a label that one principal asked for counts in the session whose label it is.
        """
        matched = None if sequences.empty else sequences.match(facts)
        if matched is None or not matched.frees:
            return
        ask = _Ask(sequences, matched, facts.action, whose, context, facts.now.timestamp(), 0, {})
        with self._lock:
            for each in matched.frees:
                self._free(each, self._order(each, ask), ask)

    def forget(self, principal: str, session: str) -> None:
        """Forget a session that has ended and whose name nobody can take again."""
        with self._lock:
            self._scopes.forget(("session", principal, session))

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
            tally.add(moment, UNIT, breaker.window)
            state.keep_s = max(state.keep_s, breaker.keep_s)
            if tally.total >= breaker.denials * UNIT:
                state.cells[breaker.digest + _PAUSE] = Mark(moment + breaker.pause_s, 0)
                del state.cells[breaker.digest]

    def branch(self) -> History:
        """Return a copy for what-if questions: what is noted there is not noted here."""
        branch = History(limit=self._scopes.limit)
        # One lock: the copy reads here what it has not copied yet.
        branch._lock = self._lock
        branch._scopes = BranchedScopes(self._scopes)
        return branch

    def snapshot(self) -> bytes:
        """Return all that is remembered, as bytes for `restore`."""
        with self._lock:
            return encode(self._scopes.all())

    def restore(self, data: bytes) -> None:
        """Put what `snapshot` returned in the place of what is remembered.

        Raises:
            IntegrityError: `data` is something else (`history_damaged`); nothing has changed.
        """
        states = decode(data)
        with self._lock:
            self._scopes = Scopes(self._scopes.limit, states)

    def save(self, path: Path) -> None:
        """Write a snapshot to the file at `path`, as a whole.

        Raises:
            IntegrityError: it cannot be written (`history_unavailable`); what was there is unchanged.
        """
        try:
            save(path, self.snapshot())
        except OSError as error:
            raise unreadable(path, error) from None

    def load(self, path: Path) -> bool:
        """Restore the snapshot in the file at `path`; tell whether there is one.

        Raises:
            IntegrityError: it cannot be read (`history_unavailable`) or is no snapshot (`history_damaged`).
        """
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise unreadable(path, error) from None
        try:
            self.restore(data)
        except IntegrityError as error:
            where = Location(str(path))
            raise IntegrityError(error.message, code=error.code, location=where, hint=error.hint) from None
        return True

    def _judge(self, ask: _Ask) -> SequenceRuling | None:
        """Return the strictest thing that is said, the first by id among equals; lock held."""
        matched, sequences = ask.matched, ask.sequences
        breaker, risk = sequences.breaker, sequences.cumulative_risk
        if breaker is not None:
            state = self._state(ask, breaker.scope)
            if state is not None and _paused_until(state, breaker.digest) > state.seen:
                until = _paused_until(state, breaker.digest)
                return _ruling(breaker, paused_text(breaker, until, state.seen))
        found: SequenceRuling | None = None
        if matched is not None:
            for entry, measured in matched.stops:
                if found is not None and found.effect.rank >= entry.effect.rank:
                    continue
                state = self._state(ask, entry.scope)
                cell, now = (None, ask.now) if state is None else (state.cells.get(entry.digest), state.seen)
                if stops(entry, cell, now, measured):
                    found = _ruling(entry, stopped_text(entry, cell, now, measured, ask.action))
                    if entry.effect is _DENY:
                        return found
        if risk is not None:
            ruling = _risk_ruling(risk, self._state(ask, risk.scope), ask.score)
            if ruling is not None and (found is None or ruling.effect.rank > found.effect.rank):
                return ruling
        return found

    def _state(self, ask: _Ask, scope: int) -> ScopeState | None:
        """Return the state of one of the request's scopes, None if nothing is remembered; lock held."""
        states = ask.states
        if scope in states:
            return states[scope]
        state = states[scope] = self._scopes.get(KEY_OF[scope](ask.principal, ask.context))
        if state is not None and ask.now > state.seen:
            state.seen = ask.now
        return state

    def _note(self, ask: _Ask, effect: Effect, ruling: SequenceRuling | None) -> Reservation | None:
        """Note what makes later requests stricter; lock held."""
        matched, risk = ask.matched, ask.sequences.cumulative_risk
        made = Reservation(ruling, ask)
        if risk is not None:
            state = self._open(risk, ask)
            if state is None:
                return self._full(made)
            made.risk_note = note(risk, state, ask.score, ask.action.reference)
        if matched is not None and effect.rank < _APPROVAL:
            if matched.frees:
                made.frees = [(free, self._order(free, ask)) for free in matched.frees]
            if matched.marks:
                made.notes = notes = []
                for entry, measured in matched.marks:
                    state = self._open(entry, ask)
                    if state is None:
                        return self._full(made)
                    notes.append(note(entry, state, measured, ask.action.reference))
        if ruling is None and made.notes is None and made.frees is None and risk is None:
            return None
        return made

    def _order(self, free: CompiledSequence, ask: _Ask) -> int:
        # A mark that is made from now on, by this request too, is not freed by it.
        state = self._state(ask, free.scope)
        return state.order if state is not None else 0

    def _open(self, entry: Entry, ask: _Ask) -> ScopeState | None:
        """Return the state in which `entry` notes the next event, None if there is no room; lock held."""
        state = self._state(ask, entry.scope)
        if state is None:
            state = self._scopes.open(KEY_OF[entry.scope](ask.principal, ask.context), ask.now)
            if state is None:
                return None
            # Two scopes may be one: a task that has no name is its session.
            ask.states.clear()
            ask.states[entry.scope] = state
        state.order += 1
        if entry.digest not in state.cells:
            state.keep_s = max(state.keep_s, entry.keep_s)
            prune(state, ask.sequences.digests)
        return state

    def _full(self, made: Reservation) -> Reservation:
        for each in reversed(made.notes or ()):
            take_back(each)
        if made.risk_note is not None:
            take_back(made.risk_note)
        scopes = self._scopes
        reason = (
            f"the history is full: it has room for {scopes.limit} scopes, {scopes.share} of one principal"
        )
        ruling = SequenceRuling(_DENY, SEQUENCE, reason, None)
        return Reservation(ruling, made.ask)

    def _free(self, entry: CompiledSequence, order: int, ask: _Ask) -> None:
        """Let a request that happened free later ones; lock held."""
        if entry.needs:
            state = self._open(entry, ask)
            # Without room it is forgotten that it happened: stricter, not looser.
            if state is not None:
                state.cells[entry.digest] = Mark(state.seen, state.order, ask.action.reference)
            return
        state = self._state(ask, entry.scope)
        if state is not None:
            mark = state.cells.get(entry.digest)
            if isinstance(mark, Mark) and mark.order <= order:
                del state.cells[entry.digest]


def _ask(
    sequences: SequenceSet, matched: Matched | None, facts: Facts, now: datetime | None, score: int
) -> _Ask:
    moment = (now or facts.now).timestamp()
    return _Ask(sequences, matched, facts.action, facts.principal, facts.context, moment, score * UNIT)


def _paused_until(state: ScopeState, digest: str) -> float:
    cell = state.cells.get(digest + _PAUSE)
    return cell.at if isinstance(cell, Mark) else float("-inf")


def _ruling(entry: Entry, explanation: str) -> SequenceRuling:
    return SequenceRuling(entry.effect, entry.stage, entry.reason, entry.id, entry.severity, explanation)


def _risk_ruling(risk: CompiledRisk, state: ScopeState | None, score: int) -> SequenceRuling | None:
    total, tally = score, None
    if state is not None:
        cell = state.cells.get(risk.digest)
        if isinstance(cell, Tally):
            tally = cell
            tally.expire(state.seen, risk.window)
            total += tally.total
    if total < risk.approval_from:
        return None
    effect = _DENY if total >= risk.deny_from else Effect.REQUIRE_APPROVAL
    what = "is too high" if effect is _DENY else "needs a person"
    reason = f"cumulative risk {total // UNIT} in {risk.rule.window} {what}"
    told = risk_text(risk, tally, state.seen if state is not None else 0.0, score)
    return SequenceRuling(effect, CUMULATIVE_RISK, reason, risk.id, explanation=told)

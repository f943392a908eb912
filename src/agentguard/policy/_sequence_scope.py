"""Scopes: whose requests are looked at together, and the bounded table of what is remembered for each."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import PolicyError
from agentguard.policy._sequence_cells import Cell
from agentguard.policy._sequence_rule import Scope

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.core import Context, Principal

# A scope, whose it is, and which of theirs: ("session", "deploy-agent", "s-1").
Key = tuple[str, str, str]

MAX_SCOPES = 100_000
_SHARE = 10  # one principal has at most a tenth of the scopes, so that it cannot lock out the others
_SMALL = 1000  # but that many in any case
_FIRST_SWEEP = 1024
_SPARE_CELLS = 64


def _session(principal: Principal, context: Context) -> Key:
    return ("session", principal.id, context.session)


def _task(principal: Principal, context: Context) -> Key:
    if context.task:
        return ("task", principal.id, context.task)
    return _session(principal, context)


def _agent(principal: Principal, _context: Context) -> Key:
    return ("agent", principal.id, "")


def _delegation(principal: Principal, _context: Context) -> Key:
    return ("delegation", principal.on_behalf_of[-1] if principal.on_behalf_of else principal.id, "")


def _all(_principal: Principal, _context: Context) -> Key:
    return ("all", "", "")


_KEYS: dict[Scope, Callable[[Principal, Context], Key]] = {
    Scope.SESSION: _session,
    Scope.TASK: _task,
    Scope.AGENT: _agent,
    Scope.DELEGATION: _delegation,
    Scope.ALL: _all,
}
# By the number that a compiled rule has for its scope.
KEY_OF = tuple(_KEYS[scope] for scope in Scope)


class ScopeState(msgspec.Struct):
    """What is remembered of one scope: a cell for each rule, by the rule's digest.

    `seen` is the latest time that was ever seen here: a clock that goes back stands still instead. `order`
    numbers what happened. It may be forgotten when it was silent for longer than `keep_s`.
    """

    seen: float
    order: int = 0
    keep_s: float = 0.0
    cells: dict[str, Cell] = {}

    def at(self, now: float) -> float:
        """Return the time here, and remember it."""
        seen = self.seen
        if now > seen:
            self.seen = now
            return now
        return seen


class Scopes:
    """A table of scopes that refuses to grow beyond its bound, and forgets only what no rule can ask for."""

    def __init__(self, limit: int = MAX_SCOPES, states: dict[Key, ScopeState] | None = None) -> None:
        if limit < 1:
            raise PolicyError("a history needs room for one scope")
        self.limit = limit
        self.share = max(limit // _SHARE, min(limit, _SMALL))
        self.states = {} if states is None else states
        self._held = Counter(principal for _, principal, _ in self.states)
        self._sweep_at = min(_FIRST_SWEEP, limit)
        self._swept = float("-inf")

    def get(self, key: Key) -> ScopeState | None:
        """Return the scope's state, None if nothing is remembered."""
        return self.states.get(key)

    def all(self) -> dict[Key, ScopeState]:
        """Return every scope's state."""
        return self.states

    def open(self, key: Key, now: float) -> ScopeState | None:
        """Return the scope's state, a new one if there is none; None if there is no room for one."""
        state = self.get(key)
        if state is not None:
            return state
        if not self._has_room(key[1], now):
            return None
        state = self.states[key] = ScopeState(now)
        self._held[key[1]] += 1
        return state

    def forget(self, key: Key) -> None:
        """Forget a scope of which no request will come any more."""
        if self.states.pop(key, None) is not None:
            self._held[key[1]] -= 1

    def _has_room(self, principal: str, now: float) -> bool:
        crowded = self._held[principal] >= self.share or len(self.states) >= self.limit
        # Swept when the table has doubled, so that it costs little for each new scope; when there is no room, once
        # a second at most.
        if crowded or len(self.states) >= self._sweep_at:
            if not (crowded and 0 <= now - self._swept < 1):
                self._sweep(now)
            return self._held[principal] < self.share and len(self.states) < self.limit
        return True

    def _sweep(self, now: float) -> None:
        self._swept = now
        for key in [key for key, state in self.states.items() if now - state.seen > state.keep_s]:
            del self.states[key]
        self._held = Counter(principal for _, principal, _ in self.states)
        self._sweep_at = min(max(_FIRST_SWEEP, 2 * len(self.states)), self.limit)


class BranchedScopes(Scopes):
    """A copy that is made as it is written to; the table that it began with stays as it is."""

    def __init__(self, below: Scopes) -> None:
        super().__init__(below.limit)
        self._below = below

    def get(self, key: Key) -> ScopeState | None:
        """Return the scope's state here, copied on first use."""
        state = self.states.get(key)
        if state is None:
            original = self._below.get(key)
            if original is not None:
                state = self.states[key] = copied(original)
        return state

    def all(self) -> dict[Key, ScopeState]:
        """Return every scope's state, as it is here."""
        return {**self._below.all(), **self.states}


def copied(state: ScopeState) -> ScopeState:
    """Return a deep copy."""
    return msgspec.convert(msgspec.to_builtins(state), ScopeState)


def prune(state: ScopeState, digests: frozenset[str]) -> None:
    """Drop cells of rules that are no longer in force, when there are many of them."""
    if len(state.cells) > 2 * len(digests) + _SPARE_CELLS:
        for name in [name for name in state.cells if name.partition("/")[0] not in digests]:
            del state.cells[name]

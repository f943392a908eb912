"""The rules about more than one request, compiled: which of them a request concerns, found by hashing.

For each action the steps that name it are found once and kept, so that the cost of a request grows with the
rules that its action can trigger, and with nothing else.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.policy._selectors import action_vector
from agentguard.policy._sequence_compile import (
    CompiledBreaker,
    CompiledLimit,
    CompiledRisk,
    CompiledSequence,
    Entry,
    compile_breaker,
    compile_limit,
    compile_risk,
    compile_sequence,
)
from agentguard.policy._sequence_measure import Measured

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agentguard.core import Action
    from agentguard.documents import Document
    from agentguard.policy._conditions import Test
    from agentguard.policy._facts import Facts
    from agentguard.policy._sequence_rule import SequenceRules
    from agentguard.policy._sequence_step import CompiledStep

Counted = CompiledSequence | CompiledLimit


class Part(enum.Enum):
    """What a step of a rule does with a request that it is about."""

    STOPS = "stops"
    MARKS = "marks"
    FREES = "frees"
    COUNTS = "counts"


_STOPS, _MARKS, _FREES, _COUNTS = Part  # an enumeration's attributes are slow to look up


class Matched(msgspec.Struct):
    """What a request means to the rules: it may be stopped, makes later ones stricter, or frees them."""

    stops: list[tuple[Counted, Measured]]
    marks: list[tuple[Counted, Measured]]
    frees: list[CompiledSequence]


class SequenceSet:
    """Compiled rules about more than one request, immutable. `entries` are sorted by id."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.entries = tuple(sorted(entries, key=lambda each: each.id))
        # A fixed id each, of which a policy set has one.
        self.breaker = next((each for each in self.entries if isinstance(each, CompiledBreaker)), None)
        self.cumulative_risk = next((each for each in self.entries if isinstance(each, CompiledRisk)), None)
        self.empty = not self.entries
        self.digests = frozenset(each.digest for each in self.entries)
        self._parts: dict[str, tuple[tuple[tuple[Test, ...], Part, Any], ...]] = {}

    def match(self, facts: Facts) -> Matched | None:
        """Return what the request means to the rules; None where it means nothing."""
        part = self._parts.get(facts.action.reference)
        if part is None:
            part = self._parts[facts.action.reference] = tuple(self._concerned(facts.action))
        if not part:
            return None
        matched: Matched | None = None
        for tests, role, entry in part:
            for test in tests:
                if not test(facts):
                    break
            else:
                if matched is None:
                    matched = Matched([], [], [])
                if role is _STOPS:
                    matched.stops.append((entry, None))
                elif role is _MARKS:
                    matched.marks.append((entry, None))
                elif role is _FREES:
                    matched.frees.append(entry)
                else:
                    both = entry, entry.measure(facts.params, facts.resource)
                    matched.stops.append(both)
                    matched.marks.append(both)
        return matched

    def _concerned(self, action: Action) -> Iterator[tuple[tuple[Test, ...], Part, Entry]]:
        for entry in self.entries:
            for role, step in _roles(entry):
                if action_vector(step.written.actions, action) is not None:
                    yield step.tests, role, entry


def _roles(entry: Entry) -> Iterator[tuple[Part, CompiledStep]]:
    if isinstance(entry, CompiledLimit):
        yield _COUNTS, entry.of
    elif isinstance(entry, CompiledSequence):
        yield _STOPS, entry.then
        yield (_FREES if entry.needs else _MARKS), entry.first
        if entry.cancel is not None:
            yield _FREES, entry.cancel


def compile_sequences(written: SequenceRules, document: Document | None = None) -> Iterator[Entry]:
    """Yield what `written`, which may stand in `document`, says, compiled.

    Raises:
        PolicyError: an entry cannot be compiled; says where it stands.
    """

    def where(*field: str | int) -> Any:
        return document.location(*field) if document is not None else None

    for place, sequence in enumerate(written.sequences):
        yield compile_sequence(sequence, where("sequences", place))
    for place, limit in enumerate(written.limits):
        yield compile_limit(limit, where("limits", place))
    if written.breaker is not None:
        yield compile_breaker(written.breaker, where("breaker"))
    if written.cumulative_risk is not None:
        yield compile_risk(written.cumulative_risk, where("cumulative_risk"))

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
    steps_of,
)
from agentguard.policy._sequence_measure import Measured
from agentguard.policy._sequence_measure import asks_facts as measures_facts

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


# What must hold besides the action's name, what the step then does, of which rule, the family of facts it needs.
_Concern = tuple[tuple["Test", ...], Part, Any, str | None]
# Each set of tests once; and for each step the number of its set, what it does, of which rule.
_Asked = tuple[list[tuple["Test", ...]], list[tuple[int, Part, Any]]]


class _Concerned:
    """The steps that an action can be, and what is to be asked where something may be known of some families."""

    __slots__ = ("asked", "steps")

    def __init__(self, steps: list[_Concern]) -> None:
        self.steps = steps
        self.asked: dict[tuple[str, ...], _Asked] = {}

    def of_families(self, families: tuple[str, ...]) -> _Asked:
        """Return what a request of these families can be: what needs a fact of another one costs nothing."""
        steps = [each for each in self.steps if each[3] is None or each[3] in families]
        sets = list(dict.fromkeys(tests for tests, *_ in steps))
        asked = sets, [(sets.index(tests), role, entry) for tests, role, entry, _ in steps]
        self.asked[families] = asked
        return asked


_STOPS, _MARKS, _FREES, _COUNTS = Part  # an enumeration's attributes are slow to look up


class Matched(msgspec.Struct):
    """What a request means to the rules: it may be stopped, makes later ones stricter, or frees them."""

    stops: list[tuple[Counted, Measured]]
    marks: list[tuple[Counted, Measured | str]]
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
        self.asks_facts = any(_asks_facts(each) for each in self.entries)
        self._parts: dict[str, _Concerned] = {}

    def match(self, facts: Facts) -> Matched | None:
        """Return what the request means to the rules; None where it means nothing."""
        concerned = self._parts.get(facts.action.reference)
        if concerned is None:
            concerned = self._parts[facts.action.reference] = self._concerned(facts.action)
        families = facts.facts.families
        sets, steps = concerned.asked.get(families) or concerned.of_families(families)
        if not steps:
            return None
        held: list[bool | None] = [None] * len(sets)
        matched: Matched | None = None
        for number, role, entry in steps:
            holds = held[number]
            if holds is None:
                holds = held[number] = _hold(sets[number], facts)
            if holds:
                if matched is None:
                    matched = Matched([], [], [])
                if role is _STOPS:
                    matched.stops.append((entry, None))
                elif role is _MARKS:
                    matched.marks.append((entry, None))
                elif role is _FREES:
                    matched.frees.append(entry)
                else:
                    measured = entry.measure(facts)
                    matched.stops.append((entry, measured))
                    if type(measured) is tuple:
                        matched.marks += [(entry, each) for each in measured]
                    else:
                        matched.marks.append((entry, measured))
        return matched

    def _concerned(self, action: Action) -> _Concerned:
        return _Concerned(
            [
                (step.tests, role, entry, step.family)
                for entry in self.entries
                for role, step in _roles(entry)
                if action_vector(step.written.actions, action) is not None
            ]
        )


def _hold(tests: tuple[Test, ...], facts: Facts) -> bool:
    for test in tests:  # noqa: SIM110 - a generator costs more than the tests
        if not test(facts):
            return False
    return True


def _asks_facts(entry: Entry) -> bool:
    if isinstance(entry, CompiledLimit) and measures_facts(entry.rule):
        return True
    steps = (step.written.when for _, step in steps_of(entry))
    return any(when is not None and when.facts for when in steps)


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

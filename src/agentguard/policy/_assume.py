"""What a witness assumes of its arguments: which facts they state, and where they came from.

For each fact and each argument that conditions name, values are proposed that differ in what the conditions say
of them; of those that say the same, one stands for all. So what is tried is little, and still all there is.
"""

from __future__ import annotations

from itertools import chain, combinations, islice, product
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import FACTS, ArgumentFacts, FactKind, Integrity, Label, Match, Provenance, Sensitivity
from agentguard.policy._conditions import ABSENT
from agentguard.policy._pointer import pointer
from agentguard.policy._provenance import ANY_ARGUMENT, origin_test, path_of
from agentguard.policy._rule import ProvenanceCondition
from agentguard.policy._sample import sample_condition, sample_globs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from agentguard.core import FactSpec
    from agentguard.policy._compile import CompiledRule
    from agentguard.policy._facts import Facts
    from agentguard.policy._rule import ParamCondition, Scalar, Unless, When

    Written = ParamCondition | Scalar | tuple[Scalar, ...]

MAX_ASSUMED = 64
_MAX_MEMBERS = 8
_MAX_TOGETHER = 3
_MAX_ORIGINS = 4096
# What a model writes after having seen nothing.
FRESH = Provenance(Label(Integrity.UNVERIFIED, Sensitivity.PUBLIC), Match.SESSION)

Rules = tuple["CompiledRule", ...]


def parts_of(rules: Rules) -> list[When | Unless]:
    """Return the conditions of the rules as they are written."""
    return [part for rule in rules for part in (rule.rule.when, rule.rule.unless) if part is not None]


def assumed_facts(rules: Rules, facts: Facts, stated: frozenset[str]) -> list[dict[str, Any]]:
    """Return what the arguments may state so that each condition on one fact holds; none: that cannot be.

    `stated` are the facts that such a request can state at all.
    """
    conditions: dict[str, list[Written]] = {}
    for part in parts_of(rules):
        for name, written in part.facts.items():
            conditions.setdefault(name, []).append(written)
    choices = []
    for name, about in conditions.items():
        values = [*fact_values(FACTS[name], about)] if name in stated else []
        found = _telling(
            [*values, ABSENT],
            rules,
            f"facts.{name}",
            lambda value, name=name: _stating(facts, {name: value}),  # type: ignore[misc]  # mypy takes the default for a parameter
        )
        choices.append([(name, each) for each in found])
    made = ({name: value for name, value in chosen if value is not ABSENT} for chosen in product(*choices))
    return list(islice(made, MAX_ASSUMED))


def fact_values(spec: FactSpec, about: Iterable[Written]) -> Iterator[Any]:
    """Yield values of a fact in, at and outside of what conditions ask for, lists with up to three members."""
    if spec.kind is FactKind.BOOLEAN:
        yield from (True, False)
        return
    members = [each for condition in about for each in sample_condition(condition)]
    if spec.values:
        members = [each for each in members if each in spec.values]
        members += [each for each in spec.values if each not in members]
    elif spec.kind in (FactKind.NUMBER, FactKind.NUMBERS):
        members = [each for each in members if type(each) in (int, float) and each >= 0]
        members += [0, max(members, default=0) + 1]
    else:
        members = [each for each in members if type(each) is str]
    distinct = list(dict.fromkeys(members))
    if spec.kind in (FactKind.NUMBER, FactKind.TEXT):
        yield from distinct
        return
    for size in range(1, _MAX_TOGETHER + 1):
        yield from combinations(distinct if size == 1 else distinct[: 2 * _MAX_MEMBERS // size], size)
    yield ()


def _stating(facts: Facts, known: Mapping[str, Any]) -> Facts:
    found = {name: value for name, value in known.items() if value is not ABSENT}
    return with_facts(facts, found)


def with_facts(facts: Facts, known: Mapping[str, Any]) -> Facts:
    """Return the request as one whose arguments state `known`."""
    families = tuple(dict.fromkeys(FACTS[name].family for name in known))
    return msgspec.structs.replace(facts, facts=ArgumentFacts(families, lambda: known))


def _telling(values: list[Any], rules: Rules, name: str, asked: Callable[[Any], Facts]) -> list[Any]:
    """Return the values for which all predicates called `name` hold, one for each answer of the exemptions."""
    wanted = [each.test for rule in rules for each in rule.predicates if each.name == name]
    exempting = [each.test for rule in rules for each in rule.exemption if each.name == name]
    found: dict[tuple[bool, ...], Any] = {}
    for value in values:
        facts = asked(value)
        if all(test(facts) for test in wanted):
            found.setdefault(tuple(test(facts) for test in exempting), value)
    # Those that exempt from least come first.
    return [found[answer] for answer in sorted(found)]


def asks_all(rules: Rules) -> bool:
    """Tell whether a rule has a condition on where any argument came from."""
    return any(ANY_ARGUMENT in part.provenance for part in parts_of(rules))


def asks_origins(rules: Rules) -> bool:
    """Tell whether a rule has a condition on where an argument came from."""
    return any(part.provenance for part in parts_of(rules))


def named_arguments(rules: Rules) -> list[str]:
    """Return the arguments about whose provenance the rules say something."""
    names = [name for part in parts_of(rules) for name in part.provenance if name != ANY_ARGUMENT]
    return list(dict.fromkeys(names))


def assumed_origins(
    rules: Rules, params: dict[str, Any], origins: list[Provenance]
) -> Iterator[dict[str, Provenance]]:
    """Yield where the arguments may have come from, by JSON pointer; one entry for each that has no parts.

    `origins` are those to choose from (`all_origins`).
    """
    slots = _slots(rules, list(_leaves(params, ())))
    fixed = () if asks_all(rules) else (ANY_ARGUMENT,)
    choices = [[FRESH] if slot in fixed else origins for slot in slots]
    for chosen in product(*choices):
        yield {path: origin for paths, origin in zip(slots.values(), chosen, strict=True) for path in paths}


def _slots(rules: Rules, leaves: list[tuple[str, ...]]) -> dict[str, list[str]]:
    """Return by argument that is named the leaves that are its own; those of no other are under `*`."""
    names = {pointer(name): name for name in named_arguments(rules)}
    slots: dict[str, list[str]] = {}
    for leaf in leaves:
        over = (leaf[:size] for size in range(len(leaf), 0, -1))
        name = next((names[steps] for steps in over if steps in names), ANY_ARGUMENT)
        slots.setdefault(name, []).append(path_of(leaf))
    return slots


def _leaves(value: Any, steps: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, (*steps, name))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _leaves(inner, (*steps, str(place)))
    else:
        yield steps


def _covers(one: str, other: str) -> bool:
    over, under = pointer(one), pointer(other)
    return under[: len(over)] == over


def all_origins(rules: Rules) -> list[Provenance]:
    """Return origins of which each differs from the others in what the conditions say of it."""
    conditions = [each for part in parts_of(rules) for each in part.provenance.values()]
    named = named_arguments(rules)
    # Where one is a part of the other their origins are joined, so that no origin stands for another one.
    nested = any(one != other and _covers(one, other) for one in named for other in named)
    found: dict[object, Provenance] = {}
    for label, sources in islice(_labels(conditions, nested=nested), _MAX_ORIGINS):
        how = Match.EXACT if sources else Match.SESSION
        origin = Provenance(label, how, sources, 1.0 if sources else 0.0)
        found.setdefault(origin if nested else _answers(conditions, label, sources), origin)
    return list(found.values())


def _answers(
    conditions: list[ProvenanceCondition], label: Label, sources: tuple[str, ...]
) -> tuple[bool, ...]:
    """Return what the conditions say of an origin, of a ban and of a permit."""
    return tuple(
        test(label, sources)
        for each in conditions
        for forbids in (True, False)
        if (test := origin_test(each, forbids=forbids)) is not None
    )


def _labels(
    conditions: list[ProvenanceCondition], *, nested: bool
) -> Iterator[tuple[Label, tuple[str, ...]]]:
    """Yield every combination of what the conditions look at, and something else.

    Each thing that they look at is sorted out by itself first, unless `nested`.
    """

    def asked(name: str) -> list[Any]:
        given = [wanted for each in conditions if (wanted := getattr(each, name)) is not None]
        return [value for wanted in given for value in (wanted if isinstance(wanted, tuple) else (wanted,))]

    def telling(
        name: str, values: list[Any], made: Callable[[Any], tuple[Label, tuple[str, ...]]]
    ) -> list[Any]:
        if nested or not values:
            return values
        alone = [
            ProvenanceCondition(**{name: wanted})
            for each in conditions
            if (wanted := getattr(each, name)) is not None
        ]
        # The first of those that say the same stands for all.
        by_answer = {_answers(alone, *made(value)): value for value in reversed(values)}
        return list(reversed(by_answer.values()))

    globs: list[str] = list(dict.fromkeys(asked("source")))
    pairs = chain(((each,) for each in globs), combinations(globs, 2))
    sources = [text for pair in pairs for text in sample_globs([*pair], "user")]
    categories = [*asked("category"), "another"] if asked("category") else []
    levels = list(Integrity) if asked("integrity") else [Integrity.UNVERIFIED]
    worth = list(Sensitivity) if asked("confidentiality") else [Sensitivity.PUBLIC]
    for integrity, secrecy, names, came in product(
        telling("integrity", levels, lambda each: (Label(integrity=each), ())),
        telling("confidentiality", worth, lambda each: (Label(confidentiality=each), ())),
        telling("category", _some(categories), lambda each: (Label(categories=each), ())),
        telling("source", _some([*sources, "another"] if globs else []), lambda each: (Label(), each)),
    ):
        yield Label(integrity, secrecy, names), came


def _some(values: list[str]) -> list[tuple[str, ...]]:
    distinct = list(dict.fromkeys(values))
    sizes = range(1, _MAX_TOGETHER + 1)
    return [*chain.from_iterable(combinations(distinct[:_MAX_MEMBERS], size) for size in sizes), ()]

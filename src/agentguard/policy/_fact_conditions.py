"""Conditions on facts about arguments: those of parameters, and what they mean for a list."""

from __future__ import annotations

import difflib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import FACTS, FactKind, PolicyError
from agentguard.policy._conditions import ABSENT, Predicate, as_condition, describe, value_tests
from agentguard.policy._found import fact_found
from agentguard.policy._rule import ParamCondition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentguard.core import FactSpec
    from agentguard.policy._facts import Facts
    from agentguard.policy._rule import Unless, When

_TYPES: dict[FactKind, tuple[type, ...]] = {
    FactKind.TEXT: (str,),
    FactKind.TEXTS: (str,),
    FactKind.NUMBER: (int, float),
    FactKind.NUMBERS: (int, float),
    FactKind.BOOLEAN: (bool,),
}


def compile_facts(part: When | Unless, *, unknown: bool) -> Iterator[Predicate]:
    """Yield a predicate for each condition on a fact; `unknown` is the answer where nothing states it.

    Raises:
        PolicyError: nobody states such a fact, or it is never what the condition asks for.
    """
    for name, written in part.facts.items():
        condition = as_condition(written)
        spec = FACTS.get(name)
        if spec is None:
            near = difflib.get_close_matches(name, FACTS, n=1, cutoff=0.0)[0]
            raise PolicyError(f"there is no fact `{name}`", hint=f"did you mean `{near}`")
        _check(spec, condition)
        yield _shared(name, msgspec.json.encode(condition), unknown)


@lru_cache(maxsize=1024)
def _shared(name: str, condition: bytes, unknown: bool) -> Predicate:  # noqa: FBT001 - a key, which has no names
    """Return one predicate for all conditions that say the same, so that it is asked once for a request.

    As text, since to Python `1` and `true` are the same.
    """
    return _predicate(FACTS[name], msgspec.json.decode(condition, type=ParamCondition), unknown=unknown)


def _predicate(spec: FactSpec, condition: ParamCondition, *, unknown: bool) -> Predicate:
    name = spec.name
    label, text = f"facts.{name}", f"fact {name} {describe(condition)}"
    tests = list(value_tests(condition, unknown=unknown))

    def shown(facts: Facts, conceal: bool) -> str:  # noqa: FBT001 - as a predicate calls it
        return fact_found(name, facts.facts.get(name), condition, conceal=conceal)

    if not tests:
        if condition.present is None:
            raise PolicyError(f"condition on fact `{name}` says nothing")
        wanted = condition.present
        return Predicate(
            label, text, lambda facts: (facts.facts.get(name, ABSENT) is not ABSENT) is wanted, shown
        )
    if condition.present is False:
        raise PolicyError(f"condition on fact `{name}` contradicts itself", hint="drop `present: false`")
    if_absent = unknown and not condition.present
    if spec.kind is FactKind.BOOLEAN and condition.equals is not msgspec.UNSET:
        # The commonest, asked for each request that holds such an argument.
        wanted_value = condition.equals

        def test_boolean(facts: Facts) -> bool:
            stated = facts.facts
            found = stated.found
            value = (stated.all() if found is None else found).get(name)
            return if_absent if value is None else value is wanted_value

        return Predicate(label, text, test_boolean, shown)
    # A ban is for any member that is so, a permit needs all of them: what else is in a list is not permitted.
    quantifier = any if unknown else all

    def holds_all(value: Any) -> bool:
        return all(test(value) for test in tests)

    # Nearly every condition is one test, and a generator costs more than it.
    holds = tests[0] if len(tests) == 1 else holds_all

    def test(facts: Facts) -> bool:
        stated = facts.facts
        found = stated.found
        value = (stated.all() if found is None else found).get(name, ABSENT)
        if value is ABSENT:
            return if_absent
        if type(value) is tuple:
            return bool(value) and quantifier(map(holds, value))
        return holds(value)

    return Predicate(label, text, test, shown)


def _check(spec: FactSpec, condition: ParamCondition) -> None:
    asked = [*(condition.any_of or ())]
    if condition.equals is not msgspec.UNSET:
        asked.append(condition.equals)
    numeric = condition.min is not None or condition.max is not None
    types = _TYPES[spec.kind]
    if (
        any(type(value) not in types for value in asked)
        or (numeric and int not in types)
        or (condition.pattern is not None and str not in types)
    ):
        raise PolicyError(
            f"fact `{spec.name}` is a {spec.kind.value}, and the condition is about another type"
        )

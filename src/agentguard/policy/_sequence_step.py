"""Steps: which requests a rule about more than one request is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agentguard.core import PolicyError
from agentguard.policy._conditions import Predicate, Test, compile_when
from agentguard.policy._fact_conditions import compile_facts
from agentguard.policy._rule import ParamCondition
from agentguard.policy._selectors import ANY, Head, check_action, compile_principal, compile_resource
from agentguard.policy._sequence_rule import Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.policy._facts import Facts
    from agentguard.policy._rule import When


class CompiledStep(msgspec.Struct, frozen=True):
    """A step ready to be asked: `tests` are what must hold besides the name of the action.

    `family`: of the facts without which it cannot be the step; None: it can always be.
    """

    written: Step
    tests: tuple[Test, ...]
    text: str
    family: str | None
    conditions: tuple[str, ...]

    @property
    def told(self) -> str:
        """The step in words: its actions and its conditions."""
        return " with ".join((self.text, " and ".join(self.conditions))) if self.conditions else self.text


def compile_step(name: str, step: Step, *, unknown: bool) -> CompiledStep:
    """Return what tells whether a request is `step`; `unknown` is the answer where that cannot be known.

    Raises:
        PolicyError: a selector is empty, matches nothing, or does not compile.
    """
    if step == Step():
        raise PolicyError(f"`{name}` says nothing", hint="name at least its `actions`")
    for key in ("principals", "actions", "resources"):
        if getattr(step, key) == ():
            raise PolicyError(f"`{name}.{key}` is empty and matches nothing")
    for pattern in step.actions or ():
        check_action(pattern)
    tests: list[Test] = []
    if step.principals is not None:
        tests.append(
            _any_of([_head_test(compile_principal(each), _principal_id) for each in step.principals])
        )
    if step.resources is not None:
        tests.append(
            _any_of(
                [_head_test(compile_resource(each, unknown=unknown), _resource_id) for each in step.resources]
            )
        )
    predicates = _predicates(step.when, unknown=unknown) if step.when is not None else ()
    tests += [predicate.test for predicate in predicates]
    actions = "|".join(step.actions or ("any action",))
    told = tuple(predicate.text for predicate in predicates)
    return CompiledStep(step, tuple(tests), actions, _family(step), told)


def _predicates(when: When, *, unknown: bool) -> tuple[Predicate, ...]:
    return (*compile_when(when, unknown=unknown), *compile_facts(when, unknown=unknown))


def _family(step: Step) -> str | None:
    """Return the family of the first fact that has to be present."""
    for name, condition in step.when.facts.items() if step.when is not None else ():
        if isinstance(condition, ParamCondition) and condition.present:
            return name.partition(".")[0]
    return None


def _any_of(tests: list[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]
    return lambda facts: any(test(facts) for test in tests)


def _head_test(head: Head, id_of: Callable[[Facts], str]) -> Test:
    """Return one test for what the index asks in two steps: a head's keys, and the test for the rest."""
    keyed = _any_of([_key_test(key, id_of) for key in head.keys])
    rest = head.test
    if rest is None:
        return keyed
    # A prefix key files a glob, whose own test says more.
    if head.keys[0] == ANY or head.keys[0][0] == "^":
        return rest
    return lambda facts: keyed(facts) and rest(facts)


def _key_test(key: str, id_of: Callable[[Facts], str]) -> Test:
    kind, value = key[0], key[1:]
    tests: dict[str, Test] = {
        "=": lambda facts: id_of(facts) == value,
        "r": lambda facts: value in facts.principal.roles,
        "g": lambda facts: value in facts.principal.groups,
        "t": lambda facts: facts.resource.type == value,
        "e": lambda facts: facts.resource.environment == value,
        "?": lambda facts: not facts.resource.listed,
        "*": lambda _facts: True,
        "^": lambda facts: facts.resource.id.startswith(value),
    }
    return tests[kind]


def _principal_id(facts: Facts) -> str:
    return facts.principal.id


def _resource_id(facts: Facts) -> str:
    return facts.resource.id

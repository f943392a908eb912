"""What is doubtful about conditions on facts and on origins, and which conditions follow from which."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import FACTS, Action, Effect, Principal, Resource, Risk, Sensitivity
from agentguard.policy._assume import all_origins, assumed_origins, fact_values, named_arguments, with_facts
from agentguard.policy._conditions import as_condition, value_tests
from agentguard.policy._facts import Facts
from agentguard.policy._pointer import pointer
from agentguard.policy._provenance import levels_of
from agentguard.policy._rule import OriginCondition, ParamCondition, ProvenanceCondition, Unless, When
from agentguard.policy._witness import NO_CONTEXT, SOME_TIME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agentguard.policy._compile import CompiledRule
    from agentguard.policy._conditions import Predicate
    from agentguard.policy._world import KnownWorld

_FORBIDS = frozenset((Effect.DENY, Effect.REQUIRE_APPROVAL))
# A resource that states facts of each family that resources can state.
_SCHEMES = ("file", "host", "mailto")
# Of more patterns than two not each combination is tried.
_MAX_PATTERNS = 2
_NOTHING = Facts(
    Principal("anybody"),
    Action(name="any", version=1, description="", risk=Risk.LOW),
    Resource("any", "any"),
    {},
    NO_CONTEXT,
    SOME_TIME,
)


def unstated(rule: CompiledRule, actions: Sequence[Action], world: KnownWorld) -> Iterator[str]:
    """Yield what is wrong with conditions on facts that no request for `actions` states."""
    stated = {
        name
        for action in actions
        for id_ in _resource_ids(rule, action)
        for name in world.facts_stated(action, id_)
    }
    for where, name, predicate in _predicates(rule, "facts."):
        asked = _written(rule, where).facts[name]
        if name in stated or (
            rule.rule.actions is None and isinstance(asked, ParamCondition) and asked.present
        ):
            continue
        answer = "always" if predicate.test(_NOTHING) else "never"
        yield f"no argument of its actions states the fact `{name}`, so its `{where}` {answer} holds there"


def impossible(rule: CompiledRule) -> Iterator[str]:
    """Yield the conditions on facts and origins that nothing can satisfy."""
    for where, name, predicate in _predicates(rule, "facts."):
        condition = as_condition(_written(rule, where).facts[name])
        yield from _misspelt(name, condition)
        if condition.present is False or (condition.pattern is not None and not FACTS[name].values):
            continue
        values = fact_values(FACTS[name], [condition])
        if not any(predicate.test(with_facts(_NOTHING, {name: each})) for each in values):
            yield f"no value of the fact `{name}` satisfies its `{where}`"
    for where, predicates in (("when", rule.predicates), ("unless", rule.exemption)):
        asked = [each for each in predicates if each.name.startswith("provenance.")]
        if asked and not _has_origin(rule, asked):
            yield f"no origin of its arguments satisfies its `{where}`"
    if _exempts_all(rule):
        yield "its `unless` exempts all that its `when` is about"


def follows(narrow: When | None, wide: When | None, *, forbids: bool) -> bool:
    """Tell whether all requests that pass `narrow` surely pass `wide`, the conditions of a ban.

    `forbids`: the narrow ones are of a rule that forbids too.
    """
    if wide is None:
        return True
    if narrow is None:
        return False
    if wide.time not in (None, narrow.time) or wide.action_risk not in (None, narrow.action_risk):
        return False
    if not _session_follows(narrow.origin, wide.origin):
        return False
    sides = ((narrow.params, wide.params), (narrow.facts, wide.facts))
    return (
        all(name in narrow.context and narrow.context[name] == each for name, each in wide.context.items())
        and all(
            name in mine and _value_follows(as_condition(mine[name]), as_condition(each), forbids=forbids)
            for mine, theirs in sides
            for name, each in theirs.items()
        )
        and all(
            name in narrow.provenance and _origin_follows(narrow.provenance[name], each)
            for name, each in wide.provenance.items()
        )
    )


def _session_follows(narrow: OriginCondition | None, wide: OriginCondition | None) -> bool:
    """Tell the same of conditions on sessions with an intent, which ask for one of several values by key."""
    if wide is None:
        return True

    def wanted(condition: OriginCondition, key: str) -> tuple[Any, ...] | None:
        value = getattr(condition, key)
        return value if value is None or isinstance(value, tuple) else (value,)

    for key in OriginCondition.__struct_fields__:
        theirs = wanted(wide, key)
        mine = None if narrow is None else wanted(narrow, key)
        if theirs is not None and (mine is None or not set(mine) <= set(theirs)):
            return False
    return True


def _value_follows(narrow: ParamCondition, wide: ParamCondition, *, forbids: bool) -> bool:
    if narrow == wide:
        return True
    # What is not there passes a ban, unless it asks that it is there.
    if wide.present is not None and not (wide.present and (narrow.present or not forbids)):
        return False
    values = _values(narrow)
    if values:
        # To a ban a value of another type than it asks for is unknown, so both must ask for the same types.
        if forbids and not _types(wide) <= _types(narrow):
            return False
        return all(test(each) for each in values for test in value_tests(wide, unknown=True))
    only_bounds = wide == ParamCondition(min=wide.min, max=wide.max, present=wide.present)
    lower = wide.min is None or (narrow.min is not None and narrow.min >= wide.min)
    return only_bounds and lower and (wide.max is None or (narrow.max is not None and narrow.max <= wide.max))


def _values(condition: ParamCondition) -> tuple[Any, ...]:
    return condition.any_of or (() if condition.equals is msgspec.UNSET else (condition.equals,))


def _types(condition: ParamCondition) -> set[str]:
    """Return the types of values that a condition can judge, as JSON has them."""
    kinds = {"number" if type(each) in (int, float) else type(each).__name__ for each in _values(condition)}
    if condition.min is not None or condition.max is not None:
        kinds.add("number")
    return kinds | ({"str"} if condition.pattern is not None else set())


def _origin_follows(narrow: ProvenanceCondition, wide: ProvenanceCondition) -> bool:
    def within(name: str, many: Callable[[Any], frozenset[Any]]) -> bool:
        mine, theirs = getattr(narrow, name), getattr(wide, name)
        return theirs is None or (mine is not None and many(mine) <= many(theirs))

    def values(wanted: Any) -> frozenset[Any]:
        return frozenset(wanted) if isinstance(wanted, tuple) else frozenset((wanted,))

    levels: Callable[[Any], frozenset[Sensitivity]] = levels_of
    return (
        within("integrity", values)
        and within("confidentiality", levels)
        and within("category", values)
        and within("source", values)
    )


def _predicates(rule: CompiledRule, kind: str) -> Iterator[tuple[str, str, Predicate]]:
    for where, predicates in (("when", rule.predicates), ("unless", rule.exemption)):
        for each in predicates:
            if each.name.startswith(kind):
                yield where, each.name.removeprefix(kind), each


def _written(rule: CompiledRule, where: str) -> When | Unless:
    part = rule.rule.when if where == "when" else rule.rule.unless
    assert part is not None
    return part


def _resource_ids(rule: CompiledRule, action: Action) -> Iterator[str]:
    """Yield ids, of which the scheme counts, of resources that a request for `action` may be about."""
    yield ""
    for pattern in rule.rule.resources or (None,):
        if isinstance(pattern, str) and not pattern.startswith("*"):
            yield pattern
            continue
        types = getattr(pattern, "type", None) or action.resource_types or _SCHEMES
        for each in (types,) if isinstance(types, str) else types:
            yield f"{each}:x"


def _misspelt(name: str, condition: ParamCondition) -> Iterator[str]:
    known = FACTS[name].values
    asked = [*(condition.any_of or ())]
    if condition.equals is not msgspec.UNSET:
        asked.append(condition.equals)
    for each in asked:
        if known and each not in known:
            near = difflib.get_close_matches(str(each), known, n=1, cutoff=0.0)
            yield f"the fact `{name}` is never `{each}`; did you mean `{near[0]}`"


def _has_origin(rule: CompiledRule, asked: list[Predicate]) -> bool:
    """Tell whether arguments that are given can come from where all of `asked` hold."""
    rules = (rule,)
    patterns = {
        each
        for part in (rule.rule.when, rule.rule.unless)
        for condition in (part.provenance.values() if part is not None else ())
        for each in (condition.source if isinstance(condition.source, tuple) else (condition.source,))
    }
    if len(patterns - {None}) > _MAX_PATTERNS:
        return True
    params: dict[str, Any] = {}
    for steps in sorted(map(pointer, named_arguments(rules))):
        inner = params
        for step in steps[:-1]:
            if not isinstance(inner.get(step), dict):
                inner[step] = {"another": "a"}
            inner = inner[step]
        inner.setdefault(steps[-1], "a")
    params = params or {"any": "a"}
    return any(
        all(each.test(msgspec.structs.replace(_NOTHING, params=params, provenance=came)) for each in asked)
        for came in assumed_origins(rules, params, all_origins(rules))
    )


def _exempts_all(rule: CompiledRule) -> bool:
    """Tell whether a permit takes back all that it permits; of a ban that cannot be told so easily."""
    when, unless = rule.rule.when, rule.rule.unless
    if when is None or unless is None or rule.effect in _FORBIDS:
        return False
    if any(each is not None for each in (unless.principals, unless.actions, unless.resources)):
        return False
    same = When(
        unless.action_risk, unless.params, unless.time, unless.context, unless.facts, unless.provenance
    )
    return follows(when, same, forbids=False)

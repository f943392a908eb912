"""A request that two rules both apply to: the proof that they overlap.

Heads are met (ids, globs, selectors), sample values are proposed for what the conditions look at, and the
matcher itself is asked. So what comes out is true; what is not found may still exist.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice, product
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec

from agentguard.core import (
    Action,
    Context,
    Principal,
    PrincipalKind,
    Provenance,
    RequestError,
    Resource,
    Risk,
    normalise_resource_id,
    resource_type_of,
)
from agentguard.policy._assume import (
    MAX_ASSUMED,
    all_origins,
    asks_all,
    asks_origins,
    assumed_facts,
    assumed_origins,
    named_arguments,
    parts_of,
    with_facts,
)
from agentguard.policy._compile import CompiledRule, head_matches
from agentguard.policy._explain import first_failure
from agentguard.policy._facts import Facts
from agentguard.policy._pointer import pointer
from agentguard.policy._rule import PrincipalSelector, ResourceSelector, TimeWindow
from agentguard.policy._sample import sample_condition, sample_globs, sample_params, sample_schema
from agentguard.policy._selectors import principal_keys, resource_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from agentguard.policy._world import KnownWorld

MAX_TRIES = 400
MAX_ORIGINS = 4000
MAX_EACH = 8
SOME_TIME = datetime(2026, 1, 5, 12, tzinfo=UTC)
NO_CONTEXT = Context()
_ANYBODY = Principal("anybody")
_ANY_ACTION = Action(name="any", version=1, description="", risk=Risk.LOW)
_ANY_RESOURCE = Resource("any", "any")
_LEFT_OUT: Any = object()


class Witness(msgspec.Struct, frozen=True):
    """A request that shows something about rules; `resource` carries what the inventory says of it.

    `facts` is what its arguments are taken to state, `provenance` by JSON pointer where they are taken to come
    from; both are empty where no rule asks.
    """

    principal: Principal
    action: str
    resource: Resource
    params: dict[str, Any]
    context: Context
    time: datetime
    facts: dict[str, Any] = {}
    provenance: dict[str, Provenance] = {}


def find_witness(
    rules: tuple[CompiledRule, CompiledRule],
    actions: Iterable[Action],
    world: KnownWorld,
    *,
    principals: Sequence[Principal],
    resources: Sequence[Resource],
) -> Witness | None:
    """Return a request for one of `actions` that both rules apply to, or None if none was found.

    `principals` and `resources` are the listed ones that both match; more are invented where they can exist.

    What each rule says of one thing (its heads, a parameter, the time ...) sorts out values of that thing
    first; only what is left is combined.
    """
    one, other = rules
    who = [*principals] or [each for each in _invented_principals(one, other, world) if _who(rules, each)]
    if not who:
        return None
    what = [*resources, *(each for each in _invented_resources(one, other, world) if _what(rules, each))]
    if not what:
        return None
    origins: list[Provenance] | None = None
    asked = frozenset(name for part in parts_of(rules) for name in part.facts)
    # What is assumed depends on what can be stated and on nothing else of a request.
    nothing = Facts(_ANYBODY, _ANY_ACTION, _ANY_RESOURCE, {}, NO_CONTEXT, SOME_TIME)
    inside = cache(lambda stated: assumed_facts(rules, nothing, stated))
    for action in actions:
        facts = Facts(who[0], action, what[0], {}, NO_CONTEXT, SOME_TIME)
        if not _hold(rules, "action_risk", facts):
            continue
        check = world.check_params(action)
        things = [
            (each, known)
            for each in [each for each in what if _type_fits(action, each)][:MAX_EACH]
            if (known := inside(asked & world.facts_stated(action, each.id)))
        ]
        if not things:
            continue
        if origins is None:
            origins = all_origins(rules) if asks_origins(rules) else []
        given = [
            (each, came)
            for each in islice(filter(check, _params(rules, facts)), MAX_EACH)
            if (came := list(_origins(rules, each, origins)))
        ]
        circumstances = product(
            things,
            who[:MAX_EACH],
            [each for each in _times(one, other) if _hold(rules, "time", _at(facts, now=each))][:MAX_EACH],
            [each for each in _contexts(one, other) if _hold(rules, "context.", _at(facts, context=each))],
            given,
        )
        tried = (
            with_facts(Facts(principal, action, resource, params, context, now, provenance=came), known)
            for (resource, inside), principal, now, context, (params, sources) in circumstances
            for known, came in product(inside, sources)
        )
        for request in islice(tried, MAX_TRIES):
            if all(first_failure(rule, request) is None for rule in rules):
                return _witness(request)
    return None


def _witness(facts: Facts) -> Witness:
    return Witness(
        principal=facts.principal,
        action=facts.action.reference,
        resource=facts.resource,
        params=facts.params,
        context=facts.context,
        time=facts.now,
        facts=dict(facts.facts.all()),
        provenance=dict(facts.provenance or {}),
    )


def _origins(
    rules: tuple[CompiledRule, ...], params: dict[str, Any], origins: list[Provenance]
) -> Iterator[dict[str, Provenance]]:
    """Yield where the arguments may come from so that each condition on that holds."""
    if not origins:
        yield {}
        return
    wanted = [each.test for rule in rules for each in rule.predicates if each.name.startswith("provenance.")]
    facts = Facts(_ANYBODY, _ANY_ACTION, _ANY_RESOURCE, params, NO_CONTEXT, SOME_TIME)
    found = (
        came
        for came in islice(assumed_origins(rules, params, origins), MAX_ORIGINS)
        if all(test(_at(facts, provenance=came)) for test in wanted)
    )
    yield from islice(found, MAX_ASSUMED)


def _who(rules: tuple[CompiledRule, ...], principal: Principal) -> bool:
    keys = principal_keys(principal)
    facts = Facts(principal, _ANY_ACTION, _ANY_RESOURCE, {}, NO_CONTEXT, SOME_TIME)
    return all(any(head_matches(head, keys, facts) for head in rule.principals) for rule in rules)


def _what(rules: tuple[CompiledRule, ...], resource: Resource) -> bool:
    keys = resource_keys(resource)
    facts = Facts(_ANYBODY, _ANY_ACTION, resource, {}, NO_CONTEXT, SOME_TIME)
    met = [[head for head in rule.resources if head_matches(head, keys, facts)] for rule in rules]
    # What is not listed and what no rule names is denied anyway: nothing to disagree about.
    return all(met) and (resource.listed or any(head.names for heads in met for head in heads))


def _hold(rules: tuple[CompiledRule, ...], name: str, facts: Facts) -> bool:
    """Tell whether all predicates that begin with `name` hold."""
    return all(
        predicate.test(facts)
        for rule in rules
        for predicate in rule.predicates
        if predicate.name.startswith(name)
    ) and (name != "time" or all(rule.expires is None or facts.now < rule.expires for rule in rules))


def _at(facts: Facts, **changes: Any) -> Facts:
    return msgspec.structs.replace(facts, **changes)


def _type_fits(action: Action, resource: Resource) -> bool:
    return not action.resource_types or not resource.listed or resource.type in action.resource_types


def _invented_principals(one: CompiledRule, other: CompiledRule, world: KnownWorld) -> Iterator[Principal]:
    for left, right in product(one.rule.principals or (None,), other.rule.principals or (None,)):
        ids = [each for each in (left, right) if isinstance(each, str)]
        selectors = [each for each in (left, right) if isinstance(each, PrincipalSelector)]
        roles = tuple(dict.fromkeys(role for each in selectors for role in _first(each.role)))
        groups = tuple(dict.fromkeys(group for each in selectors for group in _first(each.group)))
        if world.principals and (roles or groups):
            # Roles and groups come from the inventory alone: who is not in it has none.
            continue
        kinds = {each.kind for each in selectors if each.kind is not None}
        for id_ in sample_globs(ids, "some-agent"):
            if id_ and id_ not in world.principals:
                kind = next(iter(kinds), PrincipalKind.AGENT)
                yield Principal(id=id_, kind=kind, roles=roles, groups=groups)


def _first(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value[:1]


def _invented_resources(one: CompiledRule, other: CompiledRule, world: KnownWorld) -> Iterator[Resource]:
    for left, right in product(one.rule.resources or (None,), other.rule.resources or (None,)):
        ids = [normalise_resource_id(each) for each in (left, right) if isinstance(each, str)]
        selectors = [each for each in (left, right) if isinstance(each, ResourceSelector)]
        for id_ in sample_globs(ids, "some/resource"):
            try:
                known = world.resolve(normalise_resource_id(id_))
            except RequestError:
                continue
            yield known
            if not known.listed and (selectors or not world.resources):
                yield _selected(known.id, selectors)


def _selected(id_: str, selectors: list[ResourceSelector]) -> Resource:
    """Return a resource as an inventory could list it, so that the selectors hold."""

    def pick(name: str) -> Any:
        wanted = [getattr(each, name) for each in selectors if getattr(each, name) is not None]
        sets = [set(value) if isinstance(value, tuple) else {value} for value in wanted]
        common = set.intersection(*sets) if sets else set()
        return min(common, key=str) if common else None

    labels = {
        name: value if isinstance(value, str) else value[0]
        for each in selectors
        for name, value in each.labels.items()
    }
    return Resource(
        id=id_,
        type=pick("type") or resource_type_of(id_),
        environment=pick("environment") or "",
        sensitivity=pick("sensitivity"),
        owner=pick("owner") or "",
        labels=labels,
        listed=True,
    )


def _params(rules: tuple[CompiledRule, ...], facts: Facts) -> Iterator[dict[str, Any]]:
    """Yield parameters of which each one, by itself, is what both rules want."""
    schema = facts.action.params
    base = sample_params(schema)
    values: dict[str, list[Any]] = {}
    for part in parts_of(rules):
        for name, condition in part.params.items():
            values.setdefault(name, []).extend(sample_condition(condition))
    properties = schema.get("properties", {})
    asked = named_arguments(rules)
    if asks_all(rules) and not base and not asked:
        asked = list(properties)[:1] or ["any"]
    for name in asked:
        # Only of what is given it is known where it came from, and of a list only if something is in it.
        declared = properties.get(pointer(name)[0])
        items = declared.get("items") if isinstance(declared, dict) else None
        values.setdefault(name, []).extend((*_at_pointer(base, name), "a", [sample_schema(items)]))
    names = list(values)
    choices: list[list[Any]] = []
    for name in names:
        declared = properties.get(name)
        proposed = [_LEFT_OUT, *values[name]]
        if isinstance(declared, dict):
            proposed += [*declared.get("enum", ()), sample_schema(declared)]
        choices.append(
            [each for each in _distinct(proposed) if _suits(rules, facts, name, base, each)][:MAX_EACH]
        )
    for chosen in product(*choices):
        params = msgspec.json.decode(msgspec.json.encode(base))
        for name, value in zip(names, chosen, strict=True):
            _put(params, pointer(name), value)
        yield params


def _at_pointer(params: Any, name: str) -> list[Any]:
    """Return what stands at a parameter's name or pointer: one value or none."""
    for step in pointer(name):
        if not isinstance(params, dict) or step not in params:
            return []
        params = params[step]
    return [params]


def _distinct(values: list[Any]) -> list[Any]:
    """Return the values without repetitions; true is not 1 here."""
    return list({(type(value), repr(value)): value for value in values}.values())


def _suits(
    rules: tuple[CompiledRule, ...], facts: Facts, name: str, base: dict[str, Any], value: Any
) -> bool:
    params = msgspec.json.decode(msgspec.json.encode(base))
    _put(params, pointer(name), value)
    tried = _at(facts, params=params)
    return all(
        predicate.test(tried)
        for rule in rules
        for predicate in rule.predicates
        if predicate.name == f"params.{name}"
    )


def _put(params: dict[str, Any], steps: tuple[str, ...], value: Any) -> None:
    for step in steps[:-1]:
        if value is _LEFT_OUT and not isinstance(params.get(step), dict):
            return
        inner = params.get(step)
        params[step] = dict(inner) if isinstance(inner, dict) else {}
        params = params[step]
    if value is _LEFT_OUT:
        params.pop(steps[-1], None)
    else:
        params[steps[-1]] = value


def _contexts(one: CompiledRule, other: CompiledRule) -> Iterable[Context]:
    found = [Context()]
    for part in parts_of((one, other)):
        for name, wanted in part.context.items():
            values = wanted if isinstance(wanted, tuple) else (wanted,)
            for value in values:
                given = "yes" if value in ("present", "absent") else value
                found += [_with(context, name, given) for context in list(found)]
    return found[:16]


def _with(context: Context, name: str, value: Any) -> Context:
    if name in ("session", "correlation_id", "task", "ticket", "reason"):
        return msgspec.structs.replace(context, **{name: str(value)})
    return msgspec.structs.replace(context, attributes={**context.attributes, name: value})


def _times(one: CompiledRule, other: CompiledRule) -> Iterable[datetime]:
    windows = [part.time for part in parts_of((one, other)) if part.time is not None]
    ends = [end for rule in (one, other) if (end := rule.expires) is not None]
    start = min([SOME_TIME, *[end - timedelta(days=8) for end in ends]])
    if not windows:
        return [start]
    days = [start + timedelta(days=day) for day in range(7)]
    return [moment for day in days for moment in (*_starts(day, windows), *_hours(day))]


def _starts(day: datetime, windows: list[TimeWindow]) -> Iterator[datetime]:
    """Yield the moments at which the windows open on `day`."""
    for window in windows:
        hour, minute = (window.between or ("00:00",))[0].split(":")
        yield day.replace(hour=int(hour), minute=int(minute), tzinfo=ZoneInfo(window.tz)).astimezone(UTC)


def _hours(day: datetime) -> list[datetime]:
    return [day.replace(hour=hour, minute=30) for hour in (0, 3, 6, 9, 12, 15, 18, 21, 23)]

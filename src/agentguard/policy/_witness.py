"""A request that two rules both apply to: the proof that they overlap.

Heads are met (ids, globs, selectors), sample values are proposed for what the conditions look at, and the
matcher itself is asked. So what comes out is true; what is not found may still exist.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, product
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import (
    Context,
    Glob,
    Principal,
    PrincipalKind,
    Resource,
    normalise_resource_id,
    resource_type_of,
)
from agentguard.policy._conditions import pointer
from agentguard.policy._explain import first_failure
from agentguard.policy._facts import Facts
from agentguard.policy._rule import PrincipalSelector, ResourceSelector, TimeWindow, Unless, When
from agentguard.policy._sample import sample_condition, sample_params

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agentguard.core import Action
    from agentguard.policy._compile import CompiledRule
    from agentguard.policy._world import KnownWorld

MAX_TRIES = 400
_MONDAY = datetime(2026, 1, 5, 12, tzinfo=UTC)


class Witness(msgspec.Struct, frozen=True):
    """A request that shows something about rules; `resource` carries what the inventory says of it."""

    principal: Principal
    action: str
    resource: Resource
    params: dict[str, Any]
    context: Context
    time: datetime


def find_witness(one: CompiledRule, other: CompiledRule, action: Action, world: KnownWorld) -> Witness | None:
    """Return a request for `action` that both rules apply to, or None if none was found."""
    check = world.check_params(action)
    principals = list(_principals(one, other, world))
    resources = [each for each in _resources(one, other, world) if _type_fits(action, each)]
    circumstances = product(
        principals, resources, _params(one, other, action), _contexts(one, other), _times(one, other)
    )
    for principal, resource, params, context, now in islice(circumstances, MAX_TRIES):
        facts = Facts(principal, action, resource, params, context, now)
        if first_failure(one, facts) is None and first_failure(other, facts) is None and check(params):
            return Witness(principal, action.reference, resource, params, context, now)
    return None


def _type_fits(action: Action, resource: Resource) -> bool:
    return not action.resource_types or not resource.listed or resource.type in action.resource_types


def _principals(one: CompiledRule, other: CompiledRule, world: KnownWorld) -> Iterator[Principal]:
    yield from world.principals.values()
    for left, right in product(one.rule.principals or (None,), other.rule.principals or (None,)):
        ids = [each for each in (left, right) if isinstance(each, str)]
        selectors = [each for each in (left, right) if isinstance(each, PrincipalSelector)]
        id_ = _common_id(ids, "some-agent")
        if id_ is None or id_ in world.principals:
            continue
        kinds = {each.kind for each in selectors if each.kind is not None}
        yield Principal(
            id=id_,
            kind=next(iter(kinds), PrincipalKind.AGENT),
            roles=tuple(dict.fromkeys(role for each in selectors for role in _first(each.role))),
            groups=tuple(dict.fromkeys(group for each in selectors for group in _first(each.group))),
        )


def _first(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value[:1]


def _common_id(patterns: list[str], default: str) -> str | None:
    if not patterns:
        return default
    if len(patterns) == 1:
        return patterns[0].replace("*", "x")
    return Glob(patterns[0]).overlap(Glob(patterns[1]))


def _resources(one: CompiledRule, other: CompiledRule, world: KnownWorld) -> Iterator[Resource]:
    yield from world.resources
    for left, right in product(one.rule.resources or (None,), other.rule.resources or (None,)):
        ids = [normalise_resource_id(each) for each in (left, right) if isinstance(each, str)]
        selectors = [each for each in (left, right) if isinstance(each, ResourceSelector)]
        id_ = _common_id(ids, "some/resource")
        if id_ is None:
            continue
        known = world.resolve(id_)
        yield known
        if not known.listed and selectors:
            yield _selected(id_, selectors)


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


def _parts(one: CompiledRule, other: CompiledRule) -> list[When | Unless]:
    return [part for rule in (one, other) for part in (rule.rule.when, rule.rule.unless) if part is not None]


def _params(one: CompiledRule, other: CompiledRule, action: Action) -> Iterator[dict[str, Any]]:
    base = sample_params(action.params)
    values: dict[str, list[Any]] = {}
    for part in _parts(one, other):
        for name, condition in part.params.items():
            values.setdefault(name, []).extend(sample_condition(condition))
    yield base
    for chosen in product(*([(name, value) for value in each] for name, each in values.items())):
        params = dict(base)
        for name, value in chosen:
            _put(params, pointer(name), value)
        yield params


def _put(params: dict[str, Any], steps: tuple[str, ...], value: Any) -> None:
    for step in steps[:-1]:
        inner = params.get(step)
        params[step] = dict(inner) if isinstance(inner, dict) else {}
        params = params[step]
    params[steps[-1]] = value


def _contexts(one: CompiledRule, other: CompiledRule) -> Iterable[Context]:
    found = [Context()]
    for part in _parts(one, other):
        for name, wanted in part.context.items():
            values = wanted if isinstance(wanted, tuple) else (wanted,)
            for value in values:
                given = "yes" if value in ("present", "absent") else value
                found += [_with(context, name, given) for context in list(found)]
    return found[:16]


def _with(context: Context, name: str, value: Any) -> Context:
    if name in ("session", "correlation_id", "task", "ticket"):
        return msgspec.structs.replace(context, **{name: str(value)})
    return msgspec.structs.replace(context, attributes={**context.attributes, name: value})


def _times(one: CompiledRule, other: CompiledRule) -> Iterable[datetime]:
    windows = [part.time for part in _parts(one, other) if part.time is not None]
    ends = [end for rule in (one, other) if (end := rule.expires) is not None]
    start = min([_MONDAY, *[end - timedelta(days=8) for end in ends]])
    if not windows:
        return [start]
    return [moment for day in range(7) for moment in _moments(start + timedelta(days=day), windows)]


def _moments(day: datetime, windows: list[TimeWindow]) -> list[datetime]:
    return (
        [day.replace(hour=hour, minute=30) for hour in (0, 3, 6, 9, 12, 15, 18, 21, 23)] if windows else [day]
    )


Check = "Callable[[dict[str, Any]], bool]"

"""Who, what, on what: the three heads of a rule, compiled to keys for the index and to tests.

Each pattern gives the `key` under which the index files it (so that a request reaches it by hashing), a
`test` for what the key leaves open, and its specificity. What the inventory does not know of a resource
counts as unknown: it satisfies the selector of a rule that forbids and not that of a rule that permits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agentguard.core import (
    Action,
    Glob,
    PolicyError,
    Principal,
    RequestError,
    Resource,
    normalise_action,
    normalise_resource_id,
)
from agentguard.policy._conditions import Test
from agentguard.policy._rule import PrincipalSelector, ResourceSelector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentguard.core import Sensitivity
    from agentguard.policy._facts import Facts

ANY = "*"
UNLISTED = "?"


class Head(msgspec.Struct, frozen=True):
    """One compiled pattern. `test` is None where the key says all; `names` = it names its thing."""

    keys: tuple[str, ...]
    vector: tuple[int, int]
    text: str
    test: Test | None = None
    predicates: frozenset[str] = frozenset()
    names: bool = False


ANYONE = Head(keys=(ANY,), vector=(0, 0), text="any principal")
ANYTHING = Head(keys=(ANY,), vector=(0, 0), text="any resource")


def principal_keys(principal: Principal) -> tuple[str, ...]:
    """Return the keys under which rules about this principal are filed."""
    return (
        f"={principal.id}",
        *[f"r{role}" for role in principal.roles],
        *[f"g{group}" for group in principal.groups],
        ANY,
    )


def resource_keys(resource: Resource) -> tuple[str, ...]:
    """Return the keys under which rules about this resource are filed."""
    id_ = resource.id
    prefixes = [f"^{id_[: at + 1]}" for at, char in enumerate(id_) if char in "/:"]
    keys = [f"={id_}", *prefixes, f"t{resource.type}", ANY]
    if resource.environment:
        keys.append(f"e{resource.environment}")
    if not resource.listed:
        keys.append(UNLISTED)
    return tuple(keys)


def compile_principal(pattern: str | PrincipalSelector) -> Head:
    """Return the head for an id, a glob over ids, or a selector.

    Raises:
        PolicyError: the pattern is empty.
    """
    if isinstance(pattern, PrincipalSelector):
        return _principal_selector(pattern)
    if not pattern:
        raise PolicyError("a principal's id is empty")
    if "*" not in pattern:
        return Head(keys=(f"={pattern}",), vector=(5, 0), text=f"principal {pattern}")
    glob = Glob(pattern)
    return Head(
        keys=(ANY,),
        vector=(1, len(glob.prefix)),
        text=f"principal like {pattern}",
        test=lambda facts: glob.matches(facts.principal.id),
    )


def _principal_selector(selector: PrincipalSelector) -> Head:
    roles, groups = _texts(selector.role), _texts(selector.group)
    empty = any(values is not None and not (values and all(values)) for values in (roles, groups))
    if empty or (roles is None and groups is None and selector.kind is None):
        raise PolicyError("a selector of principals is empty", hint="give `role`, `group` or `kind`")
    given = {"role": roles, "group": groups, "kind": selector.kind}
    named = frozenset(f"principal.{key}" for key, value in given.items() if value is not None)
    text = "principal " + " ".join(
        f"{key}={_show(value)}" for key, value in given.items() if value is not None
    )
    if roles is not None:
        keys = tuple(f"r{role}" for role in roles)
    elif groups is not None:
        keys = tuple(f"g{group}" for group in groups)
    else:
        keys = (ANY,)
    kind = selector.kind
    wanted_groups = frozenset(groups or ())
    test: Test | None = None
    if kind is not None or (roles is not None and groups is not None):

        def test(facts: Facts) -> bool:
            principal = facts.principal
            if kind is not None and principal.kind is not kind:
                return False
            return roles is None or groups is None or not wanted_groups.isdisjoint(principal.groups)

    vector = (4, 0) if roles is not None or groups is not None else (2, 0)
    return Head(keys=keys, vector=vector, text=text, test=test, predicates=named)


def action_vector(patterns: tuple[str, ...] | None, action: Action) -> tuple[int, int] | None:
    """Return the best specificity with which one of `patterns` names `action`; None if none does."""
    if patterns is None:
        return (0, 0)
    best: tuple[int, int] | None = None
    for pattern in patterns:
        if pattern == action.reference:
            vector = (2, 1)
        elif pattern == action.name:
            vector = (2, 0)
        elif "*" in pattern and Glob(pattern).matches(action.name):
            vector = (1, len(pattern.partition("*")[0]))
        else:
            continue
        if best is None or vector > best:
            best = vector
    return best


def check_action(pattern: str) -> None:
    """Check the form of a pattern for actions.

    Raises:
        PolicyError: no action can be called that.
    """
    if "*" in pattern and "@" in pattern:
        raise PolicyError(
            f"`{pattern}` is a glob with a version, which matches nothing",
            hint="globs are about names; write a version after a full name",
        )
    try:
        normalise_action(pattern.replace("*", "x").replace("xx", "x") if "*" in pattern else pattern)
    except RequestError:
        if "*" not in pattern or any(char not in _ACTION_CHARACTERS for char in pattern):
            raise PolicyError(
                f"`{pattern}` is no name of an action", hint="write `kebab-case`, `domain.verb` or a glob"
            ) from None


_ACTION_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.*")


def compile_resource(pattern: str | ResourceSelector, *, unknown: bool) -> Head:
    """Return the head for an id, a glob over ids, or a selector.

    Raises:
        PolicyError: the pattern can match no normalised id, or says nothing.
    """
    if isinstance(pattern, ResourceSelector):
        return _resource_selector(pattern, unknown=unknown)
    try:
        text = normalise_resource_id(pattern)
    except RequestError as error:
        raise PolicyError(f"`{pattern}`: {error.message}", hint=error.hint) from None
    if "*" not in text:
        return Head(keys=(f"={text}",), vector=(4, 0), text=f"resource {text}", names=True)
    glob = Glob(text)
    fixed = max(glob.prefix.rfind("/"), glob.prefix.rfind(":")) + 1
    return Head(
        keys=(f"^{glob.prefix[:fixed]}",) if fixed else (ANY,),
        vector=(1, len(glob.prefix)),
        text=f"resource like {text}",
        test=lambda facts: glob.matches(facts.resource.id),
        # `**` names nothing: it would make every unlisted resource a named one.
        names=bool(glob.prefix),
    )


def _resource_selector(selector: ResourceSelector, *, unknown: bool) -> Head:
    types, environments, owners = (
        _texts(selector.type),
        _texts(selector.environment),
        _texts(selector.owner),
    )
    levels = selector.sensitivity
    sensitivities = levels if levels is None or isinstance(levels, tuple) else (levels,)
    labels = {name: frozenset(_texts(value) or ()) for name, value in selector.labels.items()}
    given = {"type": types, "environment": environments, "sensitivity": sensitivities, "owner": owners}
    given = {key: value for key, value in given.items() if value is not None}
    lists = (*given.values(), *labels.values())
    # An empty text is how the inventory says nothing; a selector asks for something.
    if not lists or any(not values or "" in values for values in lists):
        raise PolicyError("a selector of resources is empty", hint="give `type`, `environment`, `labels` ...")
    named = frozenset(f"resource.{key}" for key in given) | {f"resource.labels.{name}" for name in labels}
    shown = {**given, **{f"labels.{name}": tuple(sorted(values)) for name, values in labels.items()}}
    keys, keyed = _selector_keys(types, environments, unknown=unknown)
    more = len(named) > 1
    return Head(
        keys=keys,
        vector=(3 if types is not None and more else 2, 0),
        text="resource " + " ".join(f"{key}={_show(value)}" for key, value in shown.items()),
        test=None
        if len(named) == 1 and keyed and UNLISTED not in keys
        else _selector_test(types, environments, sensitivities, owners, labels, unknown=unknown),
        predicates=named,
    )


def _selector_keys(
    types: tuple[str, ...] | None, environments: tuple[str, ...] | None, *, unknown: bool
) -> tuple[tuple[str, ...], bool]:
    if environments is not None:
        keys = tuple(f"e{each}" for each in environments)
        return ((*keys, UNLISTED) if unknown else keys), True
    if types is not None:
        return tuple(f"t{each}" for each in types), True
    return (ANY,), False


def _selector_test(
    types: tuple[str, ...] | None,
    environments: tuple[str, ...] | None,
    sensitivities: tuple[Sensitivity, ...] | None,
    owners: tuple[str, ...] | None,
    labels: dict[str, frozenset[str]],
    *,
    unknown: bool,
) -> Test:
    wanted = tuple(labels.items())

    def test(facts: Facts) -> bool:
        resource = facts.resource
        if types is not None and resource.type not in types:
            return False
        if sensitivities is not None:
            if resource.sensitivity is None:
                if not unknown:
                    return False
            elif resource.sensitivity not in sensitivities:
                return False
        if not resource.listed:
            # Only the type can be read off an id; the rest is unknown.
            return unknown or (environments is None and owners is None and not labels)
        if environments is not None and resource.environment not in environments:
            return False
        if owners is not None and resource.owner not in owners:
            return False
        for name, values in wanted:  # noqa: SIM110 - hot: a generator costs more than the look-ups
            if resource.labels.get(name) not in values:
                return False
        return True

    return test


def _texts(value: str | tuple[str, ...] | None) -> tuple[str, ...] | None:
    return (value,) if isinstance(value, str) else value


def _show(value: object) -> str:
    values = value if isinstance(value, tuple) else (value,)
    return "|".join(str(getattr(each, "value", each)) for each in values)


def head_tests(heads: tuple[Head, ...]) -> Iterator[Test]:
    """Yield the tests of `heads` that are more than a key."""
    return (head.test for head in heads if head.test is not None)

"""Which people decide on a request: the first route of the settings that fits it."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from agentguard.approvals._rules import Rules
from agentguard.core import Delegation, Escalation, Glob, Quorum, Risk, Role, Route

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agentguard.config import ApprovalSettings, RouteSettings
    from agentguard.core import Action


class Router:
    """Finds the route of a request by the settings."""

    def __init__(self, settings: ApprovalSettings) -> None:
        self._settings = settings
        self._routes = [(name, route, _Fit(route)) for name, route in settings.routes.items()]

    def route(
        self, action: Action, resource: str, params: Mapping[str, Any], *, two_person: bool = False
    ) -> Route:
        """Return the route of a request; with `two_person` it takes two people at least."""
        found = next((each for each in self._routes if each[2].fits(action, resource, params)), None)
        limit_s = self._settings.limit_s(action.risk)
        if found is None:
            return Route(limit_s=limit_s, quorum=Quorum(2 if two_person else 1))
        name, route, _ = found
        quorum = route.quorum
        if two_person and quorum.approve == 1:
            quorum = Quorum(2, quorum.deny)
        return Route(
            name,
            route.people,
            route.groups,
            quorum,
            tuple(Escalation(each.after_s, each.people, each.groups) for each in route.escalate),
            limit_s if route.limit_s is None else route.limit_s,
            # A rule that wants two people is not met by nobody.
            "deny" if two_person else route.at_zero,
        )


def rules_of(settings: ApprovalSettings) -> Rules:
    """Return what the settings say of all approvals."""
    stand_ins = [
        Delegation(
            person,
            each.by,
            None if each.since is None else _day(each.since),
            None if each.until is None else _day(each.until) + timedelta(days=1),
        )
        for person, entries in settings.stand_ins.items()
        for each in entries
    ]
    return Rules(
        tuple(stand_ins),
        frozenset(settings.glass_groups),
        settings.defer_most_s,
        settings.outcome_within_s,
    )


class _Fit:
    """What a route asks of a request."""

    def __init__(self, route: RouteSettings) -> None:
        self._risk = frozenset(route.risk) or frozenset(Risk)
        self._actions = tuple(Glob(each) for each in route.actions)
        self._resources = tuple(Glob(each) for each in route.resources)
        self._amount_from = route.amount_from
        self._amount = route.amount

    def fits(self, action: Action, resource: str, params: Mapping[str, Any]) -> bool:
        names = (action.name, action.reference)
        return (
            action.risk in self._risk
            and (not self._actions or any(each.matches(name) for each in self._actions for name in names))
            and (not self._resources or any(each.matches(resource) for each in self._resources))
            and (self._amount_from is None or self._is_as_much(action, params, self._amount_from))
        )

    def _is_as_much(self, action: Action, params: Mapping[str, Any], least: float) -> bool:
        pointers = [self._amount] if self._amount else _amounts(action)
        found = [value for pointer in pointers for value in _at(params, pointer.split("/")[1:])]
        return any(not _is_number(value) or value >= least for value in found)


def _amounts(action: Action) -> list[str]:
    declared = action.arguments.items()
    return [name for name, each in declared if each.kind == "amount" and each.role is not Role.CONTROL]


def _at(value: Any, steps: list[str]) -> Iterator[Any]:
    """Yield what a JSON pointer (RFC 6901) leads to; `*` is each member."""
    if not steps:
        yield value
        return
    step, rest = steps[0].replace("~1", "/").replace("~0", "~"), steps[1:]
    if isinstance(value, dict):
        members = list(value.values()) if step == "*" else [value[step]] if step in value else []
    elif isinstance(value, list | tuple):
        chosen = value[int(step) : int(step) + 1] if step.isdecimal() and step.isascii() else ()
        members = list(value if step == "*" else chosen)
    else:
        members = []
    for member in members:
        yield from _at(member, rest)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and value == value  # noqa: PLR0124 - no NaN


def _day(day: Any) -> datetime:
    return datetime.combine(day, time.min, tzinfo=UTC)

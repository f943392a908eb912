"""A second implementation of the rule language's semantics, as plain as can be, to hold the first against.

It reads the rules as they are written (`agentguard.policy.Rule`), looks at every one of them for every
request, and shares no code with the index: its own globs, its own conditions, its own order.
"""

from __future__ import annotations

import itertools
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from agentguard.core import Action, Context, Principal, Resource
    from agentguard.policy import (
        Facts,
        PrincipalSelector,
        ResourceSelector,
        Rule,
        TimeWindow,
        Unless,
        When,
    )

Pair = tuple[int, int]
Vector = tuple[Pair, Pair, Pair, int]

STRICTNESS = {"allow": 0, "transform": 1, "require_approval": 2, "deny": 3}
WEEK = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
RISKS = ["low", "medium", "high", "critical"]
UNKNOWN: Any = object()


def glob(pattern: str, text: str) -> bool:
    regex = re.escape(pattern).replace(r"\*\*", "\0").replace(r"\*", "[^/]*").replace("\0", ".*")
    return re.fullmatch(regex, text, re.DOTALL) is not None


def many(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def principal_match(
    pattern: str | PrincipalSelector | None, principal: Principal
) -> tuple[Pair, set[str]] | None:
    """Return (class, length, keys) or None."""
    if pattern is None:
        return (0, 0), set()
    if isinstance(pattern, str):
        if "*" not in pattern:
            return ((5, 0), set()) if pattern == principal.id else None
        return ((1, pattern.index("*")), set()) if glob(pattern, principal.id) else None
    named: set[str] = set()
    if pattern.role is not None:
        named.add("role")
        if not set(many(pattern.role)) & set(principal.roles):
            return None
    if pattern.group is not None:
        named.add("group")
        if not set(many(pattern.group)) & set(principal.groups):
            return None
    if pattern.kind is not None:
        named.add("kind")
        if pattern.kind is not principal.kind:
            return None
    return ((4, 0) if named & {"role", "group"} else (2, 0)), {f"principal.{name}" for name in named}


def action_match(patterns: tuple[str, ...] | None, action: Action) -> Pair | None:
    if patterns is None:
        return (0, 0)
    found = []
    for pattern in patterns:
        if pattern == f"{action.name}@{action.version}":
            found.append((2, 1))
        elif pattern == action.name:
            found.append((2, 0))
        elif "*" in pattern and glob(pattern, action.name):
            found.append((1, pattern.index("*")))
    return max(found, default=None)


def resource_match(
    pattern: str | ResourceSelector | None, resource: Resource, *, strict: bool
) -> tuple[Pair, set[str], bool] | None:
    """Return ((class, length), keys, names) or None; `strict`: the rule forbids."""
    if pattern is None:
        return (0, 0), set(), False
    if isinstance(pattern, str):
        if "*" not in pattern:
            return ((4, 0), set(), True) if pattern == resource.id else None
        if not glob(pattern, resource.id):
            return None
        return (1, pattern.index("*")), set(), pattern.index("*") > 0
    named: set[str] = set()
    for name in ("type", "environment", "sensitivity", "owner"):
        wanted = getattr(pattern, name)
        if wanted is None:
            continue
        named.add(name)
        value = getattr(resource, name)
        unknown = (not resource.listed and name != "type") if name != "sensitivity" else value is None
        holds = strict if unknown else value in many(wanted)
        if not holds:
            return None
    for name, wanted in pattern.labels.items():
        named.add(f"labels.{name}")
        if not (strict if not resource.listed else resource.labels.get(name) in many(wanted)):
            return None
    vector = (3, 0) if "type" in named and len(named) > 1 else (2, 0)
    return vector, {f"resource.{name}" for name in named}, False


def kind_of(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return type(value).__name__


def lookup(params: Any, name: str) -> Any:
    steps = (
        [s.replace("~1", "/").replace("~0", "~") for s in name[1:].split("/")] if name[0] == "/" else [name]
    )
    for step in steps:
        if not isinstance(params, dict) or step not in params:
            return UNKNOWN
        params = params[step]
    return params


def member(value: Any, wanted: tuple[Any, ...]) -> Any:
    """True, False, or UNKNOWN when the value is of no type that is wanted."""
    if kind_of(value) not in {kind_of(each) for each in wanted}:
        return UNKNOWN
    return any(kind_of(value) == kind_of(each) and value == each for each in wanted)


def param_holds(condition: Any, name: str, params: dict[str, Any], *, strict: bool) -> bool:
    value = lookup(params, name)
    if isinstance(condition, tuple):
        answers = [UNKNOWN if value is UNKNOWN else member(value, condition)]
    elif condition is None or isinstance(condition, str | int | float | bool):
        answers = [UNKNOWN if value is UNKNOWN else member(value, (condition,))]
    else:
        answers = []
        if condition.present is not None:
            answers.append((value is not UNKNOWN) is condition.present)
        if condition.min is not None or condition.max is not None:
            if value is UNKNOWN or kind_of(value) != "number":
                answers.append(UNKNOWN)
            else:
                low = condition.min is None or value >= condition.min
                answers.append(low and (condition.max is None or value <= condition.max))
        if condition.equals is not msgspec.UNSET:
            answers.append(UNKNOWN if value is UNKNOWN else member(value, (condition.equals,)))
        if condition.any_of is not None:
            answers.append(UNKNOWN if value is UNKNOWN else member(value, condition.any_of))
        if condition.pattern is not None:
            if not isinstance(value, str):
                answers.append(UNKNOWN)
            else:
                how = re.search if condition.search else re.fullmatch
                answers.append(how(condition.pattern, value, re.DOTALL if strict else 0) is not None)
        if False in answers:
            return False
    return all(strict if answer is UNKNOWN else answer for answer in answers)


def fact_holds(condition: Any, name: str, known: Any, *, strict: bool) -> bool:
    """As for a parameter; of a list, a ban asks for one member and a permit for every one."""
    if not isinstance(known.get(name), tuple):
        return param_holds(condition, name, dict(known), strict=strict)
    if not hasattr(condition, "present"):
        answers = [param_holds(condition, name, {name: each}, strict=strict) for each in known[name]]
    elif condition.present is False:
        return False
    elif condition == type(condition)(present=True):
        return True
    else:
        answers = [param_holds(condition, name, {name: each}, strict=strict) for each in known[name]]
    return bool(answers) and (any(answers) if strict else all(answers))


def minutes(text: str) -> timedelta:
    hours, rest = text.split(":")
    return timedelta(hours=int(hours), minutes=int(rest))


def in_window(window: TimeWindow, now: datetime) -> bool:
    local = now.astimezone(ZoneInfo(window.tz))
    days = window.days or WEEK
    since_midnight = local.replace(tzinfo=None) - local.replace(
        tzinfo=None, hour=0, minute=0, second=0, microsecond=0
    )
    if window.between is None:
        return WEEK[local.weekday()] in days
    start, end = map(minutes, window.between)
    # A window of yesterday may reach into today, one of today begins today.
    for back in (0, 1):
        day = WEEK[(local.weekday() - back) % 7]
        begin, stop = start, end if end > start else end + timedelta(hours=24)
        if day in days and begin <= since_midnight + timedelta(hours=24 * back) < stop:
            return True
    return False


def context_value(context: Context, name: str) -> Any:
    if name in ("session", "correlation_id", "task", "ticket", "reason"):
        return getattr(context, name) or UNKNOWN
    return context.attributes.get(name, UNKNOWN)


def provenance_fits(condition: Any, label: Any, sources: Any, *, strict: bool) -> bool:
    """Return whether one argument is as described."""
    if condition.integrity is not None and label.integrity not in many(condition.integrity):
        return False
    wanted = condition.confidentiality
    if wanted is not None:
        if hasattr(wanted, "min"):
            if wanted.min is not None and label.confidentiality.weight < wanted.min.weight:
                return False
            if wanted.max is not None and label.confidentiality.weight > wanted.max.weight:
                return False
        elif label.confidentiality not in many(wanted):
            return False
    if condition.category is not None:
        had = [name in many(condition.category) for name in label.categories]
        if not (any(had) if strict else had and all(had)):
            return False
    if condition.source is not None:
        had = [any(glob(pattern, source) for pattern in many(condition.source)) for source in sources]
        if not ((any(had) or not had) if strict else had and all(had)):
            return False
    return True


def provenance_holds(name: str, condition: Any, facts: Facts, *, strict: bool) -> bool:
    if facts.provenance is None:
        return strict
    if name != "*" and lookup(facts.params, name) is UNKNOWN:
        return strict
    answers: list[bool] = []
    for argument in facts.params if name == "*" else [name]:
        path = argument if argument.startswith("/") else f"/{argument}"
        found: list[Any] = []
        for at, each in facts.provenance.items():
            if at == path or at.startswith(path + "/") or path.startswith(at + "/"):
                found.append(each)
        if not found:
            answers.append(strict)
            continue
        label = found[0].label
        for each in found:
            label = label.join(each.label)
        answers.append(
            provenance_fits(condition, label, [s for each in found for s in each.sources], strict=strict)
        )
    return any(answers) if strict else bool(answers) and all(answers)


def conditions_hold(part: When | Unless, facts: Facts, *, strict: bool) -> bool:
    if part.action_risk is not None:
        at = RISKS.index(facts.action.risk.value)
        if part.action_risk.min is not None and at < RISKS.index(part.action_risk.min.value):
            return False
        if part.action_risk.max is not None and at > RISKS.index(part.action_risk.max.value):
            return False
    for name, condition in part.params.items():
        if not param_holds(condition, name, facts.params, strict=strict):
            return False
    if part.time is not None and not in_window(part.time, facts.now):
        return False
    for name, condition in part.facts.items():
        if not fact_holds(condition, name, facts.facts.all(), strict=strict):
            return False
    for name, wanted in part.context.items():
        value = context_value(facts.context, name)
        if wanted in ("present", "absent"):
            if (value is not UNKNOWN) is not (wanted == "present"):
                return False
            continue
        answer = UNKNOWN if value is UNKNOWN else member(value, many(wanted))
        if not (strict if answer is UNKNOWN else answer):
            return False
    return all(
        provenance_holds(name, condition, facts, strict=strict) for name, condition in part.provenance.items()
    )


def exempt(unless: Unless, facts: Facts, *, strict: bool) -> bool:
    """An exemption from a ban needs proof, one from a permit does not."""
    doubt = not strict
    if unless.principals is not None and not any(
        principal_match(p, facts.principal) for p in unless.principals
    ):
        return False
    if unless.actions is not None and action_match(unless.actions, facts.action) is None:
        return False
    if unless.resources is not None and not any(
        resource_match(r, facts.resource, strict=doubt) for r in unless.resources
    ):
        return False
    return conditions_hold(unless, facts, strict=doubt)


def names_of(part: When | Unless) -> set[str]:
    found: set[str] = set()
    if part.action_risk is not None:
        found.add("action_risk")
    found |= {f"params.{name}" for name in part.params}
    if part.time is not None:
        found.add("time")
    found |= {f"facts.{name}" for name in part.facts}
    found |= {f"provenance.{name}" for name in part.provenance}
    return found | {f"context.{name}" for name in part.context}


def expired(rule: Rule, now: datetime) -> bool:
    if rule.expires is None:
        return False
    return now.isoformat()[:10] >= rule.expires


def applying(rule: Rule, facts: Facts) -> Iterator[tuple[Vector, bool]]:
    """Yield (vector, names_resource) for each alternative of `rule` that applies."""
    strict = rule.effect.value in ("deny", "require_approval")
    action = action_match(rule.actions, facts.action)
    if action is None or expired(rule, facts.now):
        return
    if rule.when is not None and not conditions_hold(rule.when, facts, strict=strict):
        return
    if rule.unless is not None and exempt(rule.unless, facts, strict=strict):
        return
    named = names_of(rule.when) if rule.when else set()
    if rule.unless is not None:
        extra = {
            name for name in ("principals", "actions", "resources") if getattr(rule.unless, name) is not None
        }
        named |= {f"unless.{name}" for name in names_of(rule.unless) | extra}
    for who, what in itertools.product(rule.principals or (None,), rule.resources or (None,)):
        principal = principal_match(who, facts.principal)
        resource = resource_match(what, facts.resource, strict=strict)
        if principal is not None and resource is not None:
            count = len(named | principal[1] | resource[1])
            yield (principal[0], action, resource[0], count), resource[2]


def rule(rules: Sequence[Rule], facts: Facts) -> tuple[str, set[str], bool]:
    """Return (effect, ids of the rules that joined, names_resource) for a request."""
    mandatory = [r for r in rules if r.tier.value == "mandatory" and any(True for _ in applying(r, facts))]
    if any(r.effect.value == "deny" for r in mandatory):
        return "deny", {r.id for r in mandatory}, False
    found = [(v, r, names) for r in rules if r.tier.value == "policy" for v, names in applying(r, facts)]
    if not found:
        return "deny", set(), False
    best = max(vector for vector, _, _ in found)
    winners = [(r, names) for vector, r, names in found if vector == best]
    joined = [*mandatory, *[r for r, _ in winners]]
    effect = max((r.effect.value for r in joined), key=STRICTNESS.__getitem__)
    return effect, {r.id for r in joined}, any(names for _, names in winners)

"""Conditions of rules, compiled to closures.

A condition is asked with the answer that it shall give when it cannot know (`unknown`): a value is absent, or
of another type than the condition is about. A rule that forbids says true then, a rule that permits false, so
that leaving a value out or misspelling its type never opens a door.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec
import re2

from agentguard.core import PolicyError, Risk
from agentguard.policy._pointer import pointer
from agentguard.policy._provenance import compile_provenance
from agentguard.policy._rule import ParamCondition, RiskRange, Scalar, TimeWindow, Unless, When

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agentguard.policy._facts import Facts

Test = Callable[["Facts"], bool]
Found = Callable[["Facts", bool], str]

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MAX_PATTERN = 4096
ABSENT: Any = object()
_NUMBERS = (int, float)
_DAY_S = 86_400
_CLOCK = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])")
_CONTEXT_FIELDS = frozenset(("session", "correlation_id", "task", "ticket", "reason"))
_ATOMS = (str, int, float, bool, type(None))


class Predicate(msgspec.Struct, frozen=True):
    """One compiled condition: `name` as in `params.replicas`, `text` for people, `test` for requests.

    `found` says of a request what was found in place of what is wanted; its second argument is whether texts
    from inside arguments are left out.
    """

    name: str
    text: str
    test: Test
    found: Found | None = None


def compile_when(when: When | Unless, *, unknown: bool) -> Iterator[Predicate]:
    """Yield a predicate for each condition; `unknown` is the answer where a value cannot be judged.

    Raises:
        PolicyError: a condition can never be judged (bad pattern, unknown zone, no bounds).
    """
    if when.action_risk is not None:
        yield _risk(when.action_risk)
    for name, condition in when.params.items():
        yield _param(name, as_condition(condition), unknown=unknown)
    if when.time is not None:
        yield _window(when.time)
    for name, value in when.context.items():
        yield _context(name, value, unknown=unknown)
    for name, origin in when.provenance.items():
        text, test, found = compile_provenance(name, origin, unknown=unknown)
        yield Predicate(f"provenance.{name}", text, test, found)


def compile_pattern(pattern: str, *, dot_all: bool) -> Any:
    """Return a compiled RE2 pattern.

    Raises:
        PolicyError: it is no RE2 syntax; look-around and back-references are not.
    """
    if len(pattern) > MAX_PATTERN:
        raise PolicyError(f"pattern is longer than {MAX_PATTERN} characters")
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = dot_all
    try:
        return re2.compile(pattern, options)
    except UnicodeEncodeError:
        raise PolicyError("pattern holds half a surrogate pair, which is no text") from None
    except re2.error as error:
        what = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        hint = "patterns are RE2 syntax, which has no look-around and no back-references"
        raise PolicyError(f"pattern `{pattern}` cannot be used: {what}", hint=hint) from None


def _risk(bounds: RiskRange) -> Predicate:
    low = bounds.min.weight if bounds.min else 1
    high = bounds.max.weight if bounds.max else 4
    if (bounds.min is None and bounds.max is None) or low > high:
        raise PolicyError("action_risk needs `min` or `max`, and no `min` above `max`")
    names = "..".join(level.value if level else "" for level in (bounds.min, bounds.max))
    allowed = frozenset(level for level in Risk if low <= level.weight <= high)
    return Predicate("action_risk", f"action risk in {names}", lambda facts: facts.action.risk in allowed)


def as_condition(value: ParamCondition | Scalar | tuple[Scalar, ...]) -> ParamCondition:
    """Return a condition as written in short, at length."""
    if isinstance(value, ParamCondition):
        return value
    if isinstance(value, tuple):
        return ParamCondition(any_of=value)
    return ParamCondition(equals=value)


def _param(name: str, condition: ParamCondition, *, unknown: bool) -> Predicate:
    tests = list(value_tests(condition, unknown=unknown))
    if condition.present is None and not tests:
        raise PolicyError(f"condition on parameter `{name}` says nothing")
    steps = pointer(name)
    read = _reader(steps)
    text = f"{name} {describe(condition)}"
    if condition.present is not None and not tests:
        wanted = condition.present
        return Predicate(f"params.{name}", text, lambda facts: (read(facts.params) is not ABSENT) is wanted)
    if condition.present is False:
        raise PolicyError(f"condition on parameter `{name}` contradicts itself", hint="drop `present: false`")
    # Once presence is asked for, absence is an answer and nothing unknown.
    unknown_if_absent = unknown and not condition.present
    if len(tests) == 1:
        only = tests[0]
        if len(steps) == 1:
            # The common case, one call less.
            key = steps[0]

            def test_named(facts: Facts) -> bool:
                value = facts.params.get(key, ABSENT)
                return unknown_if_absent if value is ABSENT else only(value)

            return Predicate(f"params.{name}", text, test_named)

        def test_one(facts: Facts) -> bool:
            value = read(facts.params)
            return unknown_if_absent if value is ABSENT else only(value)

        return Predicate(f"params.{name}", text, test_one)

    def test_all(facts: Facts) -> bool:
        value = read(facts.params)
        if value is ABSENT:
            return unknown_if_absent
        return all(test(value) for test in tests)

    return Predicate(f"params.{name}", text, test_all)


def _reader(steps: tuple[str, ...]) -> Callable[[Mapping[str, Any]], Any]:
    if len(steps) == 1:
        name = steps[0]
        return lambda params: params.get(name, ABSENT)

    def read(params: Any) -> Any:
        for step in steps:
            if type(params) is not dict or step not in params:
                return ABSENT
            params = params[step]
        return params

    return read


def value_tests(condition: ParamCondition, *, unknown: bool) -> Iterator[Callable[[Any], bool]]:
    """Yield the tests of a value that is there; `unknown` is what they say of one of another type.

    Raises:
        PolicyError: a test can never be judged.
    """
    low, high = condition.min, condition.max
    if low is not None or high is not None:
        yield _between(low, high, unknown=unknown)
    if condition.equals is not msgspec.UNSET:
        yield _one_of((condition.equals,), unknown=unknown)
    if condition.any_of is not None:
        yield _one_of(condition.any_of, unknown=unknown)
    if condition.pattern is not None:
        yield _matching(condition.pattern, search=condition.search, unknown=unknown)
    elif condition.search:
        raise PolicyError("`search` goes with `pattern`")


def check_bounds(*bounds: float | None) -> None:
    """Check that bounds can bound something.

    Raises:
        PolicyError: one is infinite or no number, so that nothing would ever be outside.
    """
    if not all(bound is None or math.isfinite(bound) for bound in bounds):
        raise PolicyError("a bound is not a finite number")


def _between(low: float | None, high: float | None, *, unknown: bool) -> Callable[[Any], bool]:
    check_bounds(low, high)

    def test(value: Any) -> bool:
        if type(value) not in _NUMBERS:
            return unknown
        return (low is None or value >= low) and (high is None or value <= high)

    return test


def _kind(value: Any) -> type:
    return float if type(value) is int else type(value)


def _one_of(wanted: tuple[Scalar, ...], *, unknown: bool) -> Callable[[Any], bool]:
    # Python holds 1 == True == 1.0; JSON tells booleans from numbers.
    values = frozenset((_kind(value), value) for value in wanted)
    kinds = frozenset(kind for kind, _ in values)

    def test(value: Any) -> bool:
        kind = _kind(value)
        if kind not in kinds:
            return unknown
        return (kind, value) in values

    return test


def _matching(pattern: str, *, search: bool, unknown: bool) -> Callable[[Any], bool]:
    # In a rule that forbids, `.` matches a line break too: else a line break walks round it.
    compiled = compile_pattern(pattern, dot_all=unknown)
    match = compiled.search if search else compiled.fullmatch

    def test(value: Any) -> bool:
        if type(value) is not str:
            return unknown
        return match(value) is not None

    return test


def describe(condition: ParamCondition) -> str:
    """Return what a condition asks for, in words."""
    parts = []
    if condition.present is not None:
        parts.append("present" if condition.present else "absent")
    if condition.min is not None or condition.max is not None:
        low = "" if condition.min is None else condition.min
        high = "" if condition.max is None else condition.max
        parts.append(f"in {low}..{high}")
    if condition.equals is not msgspec.UNSET:
        parts.append(f"is {condition.equals!r}")
    if condition.any_of is not None:
        parts.append(f"in {list(condition.any_of)!r}")
    if condition.pattern is not None:
        parts.append(f"{'contains' if condition.search else 'matches'} `{condition.pattern}`")
    return " and ".join(parts)


def _window(window: TimeWindow) -> Predicate:
    if window.days is None and window.between is None:
        raise PolicyError("a time window needs `days` or `between`")
    days = _days(window.days)
    zone = _zone(window.tz)
    text = f"time in {','.join(window.days or DAYS)} {'-'.join(window.between or ())} {window.tz}".replace(
        "  ", " "
    )
    if window.between is None:
        return Predicate("time", text, lambda facts: facts.now.astimezone(zone).weekday() in days)
    start, end = (_clock(each) for each in window.between)
    if start == end or start >= _DAY_S:
        raise PolicyError("a time window is empty", hint="leave `between` out for the whole day")
    is_utc = window.tz == "UTC"

    def test(facts: Facts) -> bool:
        now = facts.now
        local = now if is_utc and now.tzinfo is UTC else now.astimezone(zone)
        # The ends are whole minutes, so parts of a second make no difference.
        passed = local.hour * 3600 + local.minute * 60 + local.second
        if start < end:
            return start <= passed < end and local.weekday() in days
        return (passed >= start and local.weekday() in days) or (
            passed < end and (local.weekday() - 1) % 7 in days
        )

    return Predicate("time", text, test)


def _days(names: tuple[str, ...] | None) -> frozenset[int]:
    if names is None:
        return frozenset(range(7))
    unknown = [name for name in names if name not in DAYS]
    if unknown or not names:
        raise PolicyError(f"days are {', '.join(DAYS)}, not `{', '.join(unknown)}`")
    return frozenset(DAYS.index(name) for name in names)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        raise PolicyError(f"unknown time zone `{name}`", hint="write it as in `Europe/Berlin`") from None


def _clock(text: str) -> int:
    """Return the seconds since midnight."""
    match = _CLOCK.fullmatch(text)
    if match is None or text > "24:00":
        raise PolicyError(f"`{text}` is no time of day", hint='write it as "HH:MM", up to "24:00"')
    return int(match[1]) * 3600 + int(match[2]) * 60


def _context(name: str, wanted: Scalar | tuple[Scalar, ...], *, unknown: bool) -> Predicate:
    if wanted in ("present", "absent"):
        expected = wanted == "present"
        return Predicate(
            f"context.{name}",
            f"context {name} {wanted}",
            lambda facts: (_context_value(facts, name) is not ABSENT) is expected,
        )
    values = wanted if isinstance(wanted, tuple) else (wanted,)
    test = _one_of(values, unknown=unknown)

    def check(facts: Facts) -> bool:
        value = _context_value(facts, name)
        return unknown if value is ABSENT else test(value)

    return Predicate(f"context.{name}", f"context {name} in {list(values)!r}", check)


def _context_value(facts: Facts, name: str) -> Any:
    if name in _CONTEXT_FIELDS:
        return getattr(facts.context, name) or ABSENT
    return facts.context.attributes.get(name, ABSENT)


def expiry(text: str) -> datetime:
    """Return the moment from which a rule no longer holds: a date (its start, UTC) or an aware time.

    Raises:
        PolicyError: it is neither.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise PolicyError(f"`{text}` is no date", hint='write it as "2027-01-31"') from None
    if moment.tzinfo is None:
        if moment.time() != time() or len(text) > len("2027-01-31"):
            raise PolicyError(f"`{text}` has no time zone", hint="end it with Z")
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise PolicyError(f"`{text}` is beyond the calendar", hint='write it as "2027-01-31"') from None

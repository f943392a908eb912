"""From rules about more than one request, as written, to what is asked and noted for each request."""

from __future__ import annotations

import hashlib
import math
import re
from typing import TYPE_CHECKING, TypeVar

import msgspec

from agentguard.core import Effect, Location, PolicyError, Severity
from agentguard.policy._compile import check_id
from agentguard.policy._sequence_cells import FOREVER, MOST, UNIT, bound
from agentguard.policy._sequence_measure import Measure, measure_of
from agentguard.policy._sequence_rule import Breaker, CumulativeRisk, Limit, Scope, Sequence
from agentguard.policy._sequence_step import CompiledStep, compile_step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

W = TypeVar("W")
C = TypeVar("C")

SEQUENCE = "sequence"
BUDGET = "budget"
BREAKER = "breaker"
CUMULATIVE_RISK = "cumulative_risk"
# How long a session or a task may be silent before it has ended, for rules that hold for its whole life.
LIFE_S = 24 * 3600.0
MAX_DISTINCT = 10_000

_SCOPES = tuple(Scope)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SPAN = re.compile(r"([1-9][0-9]{0,8})([smhd])")
_MAX_SPAN_S = 366 * 86400


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What all compiled rules about more than one request have. `keep_s`: how long it must remember."""

    id: str
    effect: Effect
    stage: str
    reason: str
    severity: Severity
    scope: int
    window: float
    keep_s: float
    digest: str
    location: Location | None


class CompiledSequence(Entry, frozen=True, kw_only=True):
    """`then` is stopped by a mark of `first` (after), or by the lack of one (`needs`)."""

    rule: Sequence
    then: CompiledStep
    first: CompiledStep
    cancel: CompiledStep | None
    needs: bool

    @property
    def told(self) -> str:
        """When it stops its last step."""
        within = f" within {self.rule.within}" if self.rule.within else ""
        unless = f", unless {self.cancel.told} came between" if self.cancel is not None else ""
        return f"sequence: {'without' if self.needs else 'only after'} {self.first.told}{within}{unless}"


class CompiledLimit(Entry, frozen=True, kw_only=True):
    """What `measure` gives may come to `ceiling` in `window`, the present request included."""

    rule: Limit
    of: CompiledStep
    ceiling: int
    distinct: bool
    measure: Measure

    @property
    def told(self) -> str:
        """When it stops what it counts."""
        most = self.rule.count if self.rule.max is None else self.rule.max
        return f"limit: only above {most} {_unit(self.rule)}{_every(self.rule)}"


class CompiledBreaker(Entry, frozen=True, kw_only=True):
    """So many `denials` in `window` pause the scope for `pause_s`."""

    rule: Breaker
    denials: int
    pause_s: float


class CompiledRisk(Entry, frozen=True, kw_only=True):
    """Bounds on the sum of risk scores in `window`, in millionths as all amounts are."""

    rule: CumulativeRisk
    approval_from: int
    deny_from: int


def compile_sequence(rule: Sequence, location: Location | None = None) -> CompiledSequence:
    """Return the compiled sequence.

    Raises:
        PolicyError: it contradicts itself or the language; carries `location`.
    """
    return _located(_sequence, rule, f"sequence `{rule.id}`", location)


def compile_limit(rule: Limit, location: Location | None = None) -> CompiledLimit:
    """Return the compiled limit.

    Raises:
        PolicyError: as `compile_sequence`.
    """
    return _located(_limit, rule, f"limit `{rule.id}`", location)


def compile_breaker(rule: Breaker, location: Location | None = None) -> CompiledBreaker:
    """Return the compiled breaker.

    Raises:
        PolicyError: as `compile_sequence`.
    """
    return _located(_breaker, rule, "breaker", location)


def compile_risk(rule: CumulativeRisk, location: Location | None = None) -> CompiledRisk:
    """Return the compiled bounds on cumulative risk.

    Raises:
        PolicyError: as `compile_sequence`.
    """
    return _located(_risk, rule, "cumulative_risk", location)


def span(text: str) -> float:
    """Return a time written as `90s`, `10m`, `1h` or `7d`, in seconds.

    Raises:
        PolicyError: it is none, or longer than 366 days.
    """
    match = _SPAN.fullmatch(text)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 0 < seconds <= _MAX_SPAN_S:
        raise PolicyError(f"`{text}` is no span of time", hint="write `90s`, `10m`, `1h`, `7d`, at most 366d")
    return float(seconds)


def _located(compile_one: Callable[[W, Location | None], C], rule: W, name: str, where: Location | None) -> C:
    try:
        return compile_one(rule, where)
    except PolicyError as error:
        raise PolicyError(f"{name}: {error.message}", location=where, hint=error.hint) from None


def _digest(rule: msgspec.Struct) -> str:
    # The kind is part of it: two kinds of rule may be written with the same keys.
    written = (type(rule).__name__, rule)
    return hashlib.sha256(msgspec.json.encode(written, order="deterministic")).hexdigest()


def _sequence(rule: Sequence, where: Location | None) -> CompiledSequence:
    check_id(rule.id)
    _forbids(rule.effect)
    if (rule.after is None) is (rule.requires is None):
        raise PolicyError("a sequence has either `after` or `requires`")
    if rule.unless is not None and rule.after is None:
        raise PolicyError(
            "`unless` goes with `after`", hint="write a second sequence for what ends the first"
        )
    window = span(rule.within) if rule.within is not None else FOREVER
    then = compile_step("then", rule.then, unknown=True)
    # What may have happened counts where it forbids, and does not where it is asked for.
    if rule.after is not None:
        first = compile_step("after", rule.after, unknown=True)
    else:
        assert rule.requires is not None
        first = compile_step("requires", rule.requires, unknown=False)
    cancel = compile_step("unless", rule.unless, unknown=False) if rule.unless is not None else None
    return CompiledSequence(
        id=rule.id,
        effect=rule.effect,
        stage=SEQUENCE,
        reason=rule.reason or _told(rule, then, first, cancel),
        severity=rule.severity,
        scope=_SCOPES.index(rule.scope),
        window=window,
        keep_s=_keep(rule.scope, window),
        digest=_digest(rule),
        location=where,
        rule=rule,
        then=then,
        first=first,
        cancel=cancel,
        needs=rule.requires is not None,
    )


def _told(rule: Sequence, then: CompiledStep, first: CompiledStep, cancel: CompiledStep | None) -> str:
    within = f" within {rule.within}" if rule.within else ""
    if rule.requires is not None:
        return f"{then.text} needs {first.text} before it{within}"
    return f"{then.text} comes{within} after {first.text}" + (f" without {cancel.text}" if cancel else "")


def _limit(rule: Limit, where: Location | None) -> CompiledLimit:
    check_id(rule.id)
    _forbids(rule.effect)
    given = [name for name in ("count", "sum", "distinct") if getattr(rule, name) is not None]
    if len(given) != 1 or (rule.max is None) is (given != ["count"]):
        raise PolicyError(
            "a limit has one of `count`, `sum` with `max`, `distinct` with `max`",
            hint="as `count: 5`, or `sum: /amount` and `max: 1000`",
        )
    most = rule.count if rule.max is None else rule.max
    assert most is not None
    if not math.isfinite(most) or most <= 0 or (given != ["sum"] and type(most) is not int):
        raise PolicyError("what a limit allows is a whole number above 0", hint="use a rule to allow none")
    if rule.distinct is not None and most > MAX_DISTINCT:
        raise PolicyError(f"a limit tells at most {MAX_DISTINCT} different values apart")
    if most > MOST // UNIT // 2:
        raise PolicyError(f"a limit is at most {MOST // UNIT // 2}")
    window = _per(rule)
    of = compile_step("of", rule.of, unknown=True)
    return CompiledLimit(
        id=rule.id,
        effect=rule.effect,
        stage=BUDGET,
        reason=rule.reason or f"more than {most} {_unit(rule)} of {of.text}" + _every(rule),
        severity=rule.severity,
        scope=_SCOPES.index(rule.scope),
        window=window,
        keep_s=_keep(rule.scope, window),
        digest=_digest(rule),
        location=where,
        rule=rule,
        of=of,
        ceiling=int(most) if rule.distinct is not None else bound(most),
        distinct=rule.distinct is not None,
        measure=measure_of(rule),
    )


def _unit(rule: Limit) -> str:
    if rule.sum is not None:
        return f"in `{rule.sum}`"
    return "times" if rule.count is not None else f"different `{rule.distinct}`"


def _every(rule: Limit) -> str:
    return f" in {rule.per}" if rule.per not in (None, rule.scope.value) else f" in one {rule.scope.value}"


def _per(rule: Limit) -> float:
    if rule.per is None or rule.per == rule.scope.value:
        return FOREVER
    if rule.per in {each.value for each in Scope}:
        raise PolicyError(
            f"`per: {rule.per}` is not its scope", hint=f"write `scope: {rule.per}`, or a span of time"
        )
    return span(rule.per)


def _breaker(rule: Breaker, where: Location | None) -> CompiledBreaker:
    if rule.denials <= 0:
        raise PolicyError("`denials` is a whole number above 0")
    window, pause = span(rule.within), span(rule.pause)
    return CompiledBreaker(
        id=rule.id,
        effect=Effect.DENY,
        stage=BREAKER,
        reason=f"paused for {rule.pause} after {rule.denials} denials in {rule.within}",
        severity=Severity.HIGH,
        scope=_SCOPES.index(rule.scope),
        window=window,
        keep_s=max(window, pause),
        digest=_digest(rule),
        location=where,
        rule=rule,
        denials=rule.denials,
        pause_s=pause,
    )


def _risk(rule: CumulativeRisk, where: Location | None) -> CompiledRisk:
    if not 0 < rule.approval_from <= rule.deny_from:
        raise PolicyError("`approval_from` is above 0 and no more than `deny_from`")
    window = span(rule.window)
    return CompiledRisk(
        id=rule.id,
        effect=Effect.DENY,
        stage=CUMULATIVE_RISK,
        reason="",
        severity=Severity.HIGH,
        scope=_SCOPES.index(rule.scope),
        window=window,
        keep_s=window,
        digest=_digest(rule),
        location=where,
        rule=rule,
        approval_from=rule.approval_from * UNIT,
        deny_from=rule.deny_from * UNIT,
    )


def _keep(scope: Scope, window: float) -> float:
    if window == FOREVER and scope in {Scope.SESSION, Scope.TASK}:
        return LIFE_S
    return window


def _forbids(effect: Effect) -> None:
    if effect not in {Effect.DENY, Effect.REQUIRE_APPROVAL}:
        raise PolicyError(f"its effect cannot be `{effect}`", hint="write `deny` or `require_approval`")


def steps_of(entry: Entry) -> Iterator[tuple[str, CompiledStep]]:
    """Yield the steps of a compiled rule with their names."""
    if isinstance(entry, CompiledSequence):
        yield "then", entry.then
        yield ("requires" if entry.needs else "after"), entry.first
        if entry.cancel is not None:
            yield "unless", entry.cancel
    elif isinstance(entry, CompiledLimit):
        yield "of", entry.of

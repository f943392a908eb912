"""The policy set in force as it is shown: each rule as written, with where it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from agentguard.core import Effect
from agentguard.policy._compile import CompiledRule
from agentguard.policy._rule import ParamCondition, Rule
from agentguard.policy._selectors import action_vector
from agentguard.policy._sequence_compile import (
    CompiledBreaker,
    CompiledLimit,
    CompiledRisk,
    CompiledSequence,
    Entry,
    steps_of,
)
from agentguard.policy._sequence_rule import Breaker, CumulativeRisk, Limit, Sequence

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from agentguard.core import Action
    from agentguard.policy._sequence_rule import Step
    from agentguard.policy._set import PolicySet

S = TypeVar("S", bound=msgspec.Struct)

_SHIPPED = "shipped."


class DescribedRule(Rule, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A rule as written, and where: `file` and `line`, or `shipped` with the package."""

    file: str | None = None
    line: int | None = None
    shipped: bool = False


class DescribedSequence(Sequence, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A sequence as written, and where."""

    file: str | None = None
    line: int | None = None
    shipped: bool = False


class DescribedLimit(Limit, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A limit as written, and where."""

    file: str | None = None
    line: int | None = None
    shipped: bool = False


class DescribedBreaker(Breaker, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """The breaker as written, and where."""

    file: str | None = None
    line: int | None = None


class DescribedRisk(
    CumulativeRisk, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """The bounds on cumulative risk as written, and where."""

    file: str | None = None
    line: int | None = None


class PolicyDescription(msgspec.Struct, frozen=True, kw_only=True):
    """The policy set in force; `problem` is why the files differ from it, None where they do not."""

    version: str
    problem: str | None = None
    rules: tuple[DescribedRule, ...] = ()
    sequences: tuple[DescribedSequence, ...] = ()
    limits: tuple[DescribedLimit, ...] = ()
    breaker: DescribedBreaker | None = None
    cumulative_risk: DescribedRisk | None = None


class PolicyCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many rules of each kind there are."""

    rules: int = 0
    sequences: int = 0
    limits: int = 0
    breaker: int = 0
    cumulative_risk: int = 0


def describe(policies: PolicySet, *, problem: str | None = None) -> PolicyDescription:
    """Return the set as it is shown."""
    entries = policies.sequences.entries
    breaker, risk = policies.sequences.breaker, policies.sequences.cumulative_risk
    return PolicyDescription(
        version=policies.version,
        problem=problem,
        rules=tuple(
            _shown(DescribedRule, rule.rule, rule, shipped=is_shipped(rule)) for rule in policies.rules
        ),
        sequences=tuple(
            _shown(DescribedSequence, each.rule, each, shipped=is_shipped(each), reason=each.reason)
            for each in entries
            if isinstance(each, CompiledSequence)
        ),
        limits=tuple(
            _shown(DescribedLimit, each.rule, each, shipped=is_shipped(each), reason=each.reason)
            for each in entries
            if isinstance(each, CompiledLimit)
        ),
        breaker=None if breaker is None else _shown(DescribedBreaker, breaker.rule, breaker),
        cumulative_risk=None if risk is None else _shown(DescribedRisk, risk.rule, risk),
    )


class Concern(msgspec.Struct, frozen=True, kw_only=True):
    """A rule about more than one request that an action concerns; it is those `steps` of it."""

    id: str
    kind: str
    effect: Effect
    steps: tuple[str, ...]
    reason: str
    file: str | None = None
    line: int | None = None


def concerns(
    policies: PolicySet, action: Action, families: Container[str] | None = None
) -> tuple[Concern, ...]:
    """Return the rules about more than one request that a request for `action` concerns.

    Of steps that ask for the presence of a fact those are meant whose family is in `families`; None means all.
    """
    found = []
    for entry in policies.sequences.entries:
        steps = tuple(
            name
            for name, step in steps_of(entry)
            if action_vector(step.written.actions, action) is not None
            and (families is None or all(each in families for each in _needed(step.written)))
        )
        about_all = isinstance(entry, CompiledBreaker | CompiledRisk)
        if steps or about_all:
            found.append(
                Concern(
                    id=entry.id,
                    kind=kind_of(entry),
                    effect=entry.effect,
                    steps=steps,
                    reason=entry.reason,
                    **_where(entry),
                )
            )
    return tuple(found)


def _needed(step: Step) -> Iterator[str]:
    for name, condition in step.when.facts.items() if step.when is not None else ():
        if isinstance(condition, ParamCondition) and condition.present:
            yield name.partition(".")[0]


def count_policies(policies: PolicySet, *, shipped: bool) -> PolicyCounts:
    """Return how many rules ship with the package, or how many do not."""
    kinds = [kind_of(each) for each in _all(policies) if is_shipped(each) is shipped]
    return PolicyCounts(**{name: kinds.count(kind) for kind, name in _FIELDS.items()})


def is_shipped(rule: CompiledRule | Entry) -> bool:
    """Tell whether a rule ships with the package."""
    return rule.id.startswith(_SHIPPED)


def kind_of(rule: CompiledRule | Entry) -> str:
    """Return `rule`, `sequence`, `limit`, `breaker` or `cumulative_risk`."""
    return _KINDS[type(rule)]


_KINDS: dict[type, str] = {
    CompiledRule: "rule",
    CompiledSequence: "sequence",
    CompiledLimit: "limit",
    CompiledBreaker: "breaker",
    CompiledRisk: "cumulative_risk",
}
_FIELDS = {
    "rule": "rules",
    "sequence": "sequences",
    "limit": "limits",
    "breaker": "breaker",
    "cumulative_risk": "cumulative_risk",
}


def _all(policies: PolicySet) -> Iterator[CompiledRule | Entry]:
    yield from policies.rules
    yield from policies.sequences.entries


def _shown(shape: type[S], written: msgspec.Struct, compiled: CompiledRule | Entry, **more: Any) -> S:
    fields = {name: getattr(written, name) for name in written.__struct_fields__}
    return shape(**{**fields, **_where(compiled), **more})


def _where(rule: CompiledRule | Entry) -> dict[str, Any]:
    place = rule.location
    # What ships stands in no file of the project.
    return {} if place is None or is_shipped(rule) else {"file": place.file, "line": place.line}

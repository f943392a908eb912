"""From a rule as written to a rule as asked: heads, predicates, rewritings, checked once."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

import msgspec

from agentguard.core import Effect, Location, Obligation, PolicyError
from agentguard.policy._conditions import Predicate, Test, compile_when, expiry
from agentguard.policy._fact_conditions import compile_facts
from agentguard.policy._origin_conditions import compile_origin, is_origin
from agentguard.policy._rule import ParamCondition, Rule, Tier, Unless, When
from agentguard.policy._selectors import (
    ANYONE,
    ANYTHING,
    Head,
    action_vector,
    check_action,
    compile_principal,
    compile_resource,
    principal_keys,
    resource_keys,
)
from agentguard.policy._transform import Rewrite, compile_op

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentguard.policy._facts import Facts

P = TypeVar("P")

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_FORBIDS = frozenset((Effect.DENY, Effect.REQUIRE_APPROVAL))


class CompiledRule(msgspec.Struct, frozen=True):
    """A rule ready to be asked. `digest` is the hash of the rule's own content."""

    rule: Rule
    location: Location | None
    principals: tuple[Head, ...]
    resources: tuple[Head, ...]
    predicates: tuple[Predicate, ...]
    exemption: tuple[Predicate, ...]
    rewrites: tuple[Rewrite | None, ...]
    obligations: tuple[Obligation, ...]
    expires: datetime | None
    digest: str

    @property
    def id(self) -> str:
        """The rule's id."""
        return self.rule.id

    @property
    def effect(self) -> Effect:
        """The rule's effect."""
        return self.rule.effect

    @property
    def reason(self) -> str:
        """The rule's reason, in its author's words."""
        return self.rule.reason or f"rule {self.rule.id}"

    @property
    def asks_facts(self) -> bool:
        """Whether a condition is about what is inside an argument."""
        written = (self.rule.when, self.rule.unless)
        return any(part is not None and part.facts for part in written)

    @property
    def needs_family(self) -> str | None:
        """The family of facts without which the rule cannot apply: one of its facts has to be present."""
        when = self.rule.when
        for name, condition in when.facts.items() if when is not None else ():
            if isinstance(condition, ParamCondition) and condition.present:
                return name.partition(".")[0]
        return None

    def predicate_names(self) -> frozenset[str]:
        """Return the distinct things that the conditions look at."""
        named = {predicate.name for predicate in self.predicates}
        return frozenset(named | {f"unless.{predicate.name}" for predicate in self.exemption})

    def tests(self) -> Iterator[Test]:
        """Yield all that must hold besides the heads."""
        yield from self.origin_tests()
        yield from self.other_tests()

    def origin_tests(self) -> Iterator[Test]:
        """Yield those of the tests that look at nothing but `Facts.origins`."""
        return (each.test for each in self.predicates if is_origin(each))

    def other_tests(self) -> Iterator[Test]:
        """Yield the tests besides those on origins."""
        if self.expires is not None:
            end = self.expires
            yield lambda facts: facts.now < end
        for predicate in self.predicates:
            if not is_origin(predicate):
                yield predicate.test
        if self.exemption:
            tests = tuple(predicate.test for predicate in self.exemption)
            only = tests[0]
            # Nearly every exemption is one predicate, and a generator costs more than it.
            yield (
                (lambda facts: not only(facts))
                if len(tests) == 1
                else (lambda facts: not all(test(facts) for test in tests))
            )


def compile_rule(rule: Rule, location: Location | None = None) -> CompiledRule:
    """Return the compiled rule.

    Raises:
        PolicyError: the rule contradicts itself or the language; carries `location`.
    """
    try:
        return _compile(rule, location)
    except PolicyError as error:
        field = error.location.field if error.location else None
        where = Location(location.file, location.line, field) if location else None
        message = f"rule `{rule.id}`: {error.message}"
        raise PolicyError(message, location=where, hint=error.hint) from None


def _compile(rule: Rule, location: Location | None) -> CompiledRule:
    _check(rule)
    forbids = rule.effect in _FORBIDS
    for pattern in rule.actions or ():
        check_action(pattern)
    resources = rule.resources
    return CompiledRule(
        rule=rule,
        location=location,
        principals=_heads(rule.principals, compile_principal, ANYONE),
        resources=_heads(resources, lambda each: compile_resource(each, unknown=forbids), ANYTHING),
        predicates=_predicates(rule.when, unknown=forbids) if rule.when else (),
        exemption=_exemption(rule.unless, forbids=forbids),
        rewrites=tuple(compile_op(op) for op in rule.transform),
        obligations=tuple(_obligation(each) for each in rule.obligations),
        expires=expiry(rule.expires) if rule.expires is not None else None,
        digest=hashlib.sha256(msgspec.json.encode(rule, order="deterministic")).hexdigest(),
    )


def check_id(name: str) -> None:
    """Check the form of a rule's id.

    Raises:
        PolicyError: it has another one.
    """
    if _ID.fullmatch(name) is None:
        raise PolicyError("an id is lower case letters, digits, `.`, `_` and `-`, at most 100")


def _check(rule: Rule) -> None:
    check_id(rule.id)
    for name in ("principals", "actions", "resources"):
        if getattr(rule, name) == ():
            raise PolicyError(f"`{name}` is empty and matches nothing", hint="leave it out to match anything")
    if (rule.effect is Effect.TRANSFORM) is not bool(rule.transform):
        raise PolicyError("`transform` is for the effect `transform`, which needs it")
    if rule.tier is Tier.MANDATORY:
        if rule.effect is Effect.ALLOW:
            raise PolicyError("a mandatory rule cannot allow", hint="take `tier: policy`")
        if rule.expires is not None:
            raise PolicyError(
                "a mandatory rule never expires", hint="take `tier: policy`, or remove `expires`"
            )


def _heads(
    patterns: tuple[P, ...] | None, compile_one: Callable[[P], Head], anything: Head
) -> tuple[Head, ...]:
    return (anything,) if patterns is None else tuple(compile_one(each) for each in patterns)


def _obligation(entry: dict[str, object]) -> Obligation:
    if len(entry) != 1:
        raise PolicyError("an obligation is one key and its value, as `max_bytes: 65536`")
    ((name, value),) = entry.items()
    return Obligation(name=name, value=value)


def _exemption(unless: Unless | None, *, forbids: bool) -> tuple[Predicate, ...]:
    """Compile the exemption: what cannot be known does not exempt from a ban, and does from a permit."""
    if unless is None:
        return ()
    unknown = not forbids
    found = list(_unless_heads(unless, unknown=unknown))
    found += _predicates(unless, unknown=unknown)
    if not found:
        raise PolicyError("`unless` is empty and would exempt everything", hint="leave it out")
    return tuple(found)


def _predicates(part: When | Unless, *, unknown: bool) -> tuple[Predicate, ...]:
    return (
        # First, since nearly every rule on origins fails there.
        *compile_origin(part),
        *compile_when(part, unknown=unknown),
        *compile_facts(part, unknown=unknown),
    )


def _unless_heads(unless: Unless, *, unknown: bool) -> Iterator[Predicate]:
    if unless.principals is not None:
        heads = _heads(unless.principals, compile_principal, ANYONE)
        yield Predicate("principals", _either(heads), _any_head(heads, of_principal=True))
    if unless.actions is not None:
        patterns = unless.actions
        for pattern in patterns:
            check_action(pattern)
        yield Predicate(
            "actions",
            f"action {'|'.join(patterns)}",
            lambda facts: action_vector(patterns, facts.action) is not None,
        )
    if unless.resources is not None:
        heads = _heads(unless.resources, lambda each: compile_resource(each, unknown=unknown), ANYTHING)
        yield Predicate("resources", _either(heads), _any_head(heads, of_principal=False))


def _either(heads: tuple[Head, ...]) -> str:
    return " or ".join(head.text for head in heads)


def _any_head(heads: tuple[Head, ...], *, of_principal: bool) -> Test:
    # Keys are made only where a head needs them: one that is filed under "anything" is its test alone.
    if len(heads) == 1 and heads[0].keys == ANYTHING.keys and heads[0].test is not None:
        return heads[0].test

    def test(facts: Facts) -> bool:
        keys = principal_keys(facts.principal) if of_principal else resource_keys(facts.resource)
        return any(head_matches(head, keys, facts) for head in heads)

    return test


def head_matches(head: Head, keys: tuple[str, ...], facts: Facts) -> bool:
    """Tell whether a head applies to a request whose principal or resource has these keys."""
    return any(key in keys for key in head.keys) and (head.test is None or head.test(facts))

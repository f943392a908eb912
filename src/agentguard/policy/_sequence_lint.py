"""What is wrong, or probably not meant, in rules about more than one request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agentguard.policy._pointer import pointer
from agentguard.policy._provenance import ANY_ARGUMENT
from agentguard.policy._selectors import action_vector
from agentguard.policy._sequence_compile import CompiledLimit, CompiledSequence, Entry, steps_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agentguard.core import Action
    from agentguard.policy._sequence_rule import Step
    from agentguard.policy._sequence_set import SequenceSet
    from agentguard.policy._sequence_step import CompiledStep


SHIPPED = "shipped."


class Doubt(msgspec.Struct, frozen=True):
    """One thing to look at: `kind` is the name of a lint kind."""

    kind: str
    entry: Entry
    message: str
    other: str | None = None


def doubts(sequences: SequenceSet, actions: Sequence[Action]) -> Iterator[Doubt]:
    """Yield what is doubtful, in the order of the rules; `actions` are all that are declared."""
    limits = [each for each in sequences.entries if isinstance(each, CompiledLimit)]
    for entry in sequences.entries:
        if entry.id.startswith(SHIPPED):
            # What ships names actions that a project need not have, and its bounds are no mistake of the project's.
            continue
        for name, step in steps_of(entry):
            yield from _about_step(entry, name, step, actions)
        if isinstance(entry, CompiledLimit):
            yield from _about_limit(entry, limits, actions)
        elif isinstance(entry, CompiledSequence) and entry.rule.unless in _others(entry):
            yield Doubt("vacuous", entry, "its `unless` is one of its other steps")


def _others(entry: CompiledSequence) -> list[Step]:
    return [entry.then.written, entry.first.written]


def _named(step: CompiledStep, actions: Sequence[Action]) -> list[Action]:
    return [each for each in actions if action_vector(step.written.actions, each) is not None]


def _about_step(entry: Entry, name: str, step: CompiledStep, actions: Sequence[Action]) -> Iterator[Doubt]:
    named = _named(step, actions)
    if not named:
        yield Doubt("unreachable", entry, f"no declared action is called as `{name}` says")
        return
    for pattern in step.written.actions or ():
        if not any(action_vector((pattern,), each) for each in actions):
            yield Doubt("unreachable", entry, f"no declared action is called `{pattern}`, as `{name}` says")
    declared = {param for each in named for param in each.params.get("properties", {})}
    when = step.written.when
    written = (*when.params, *when.provenance) if when is not None else ()
    for param in sorted({pointer(each)[0] for each in written if each != ANY_ARGUMENT} - declared):
        yield Doubt(
            "undeclared_parameter", entry, f"no action of its `{name}` declares the parameter `{param}`"
        )


def _about_limit(
    entry: CompiledLimit, limits: list[CompiledLimit], actions: Sequence[Action]
) -> Iterator[Doubt]:
    rule = entry.rule
    path = rule.sum or rule.distinct
    named = _named(entry.of, actions)
    if named and path is not None and path.startswith("/"):
        first = pointer(path)[0]
        lacking = [each.reference for each in named if first not in each.params.get("properties", {})]
        if lacking:
            what = f"`{path}` is no parameter of {', '.join(lacking)}; it stops each of their requests"
            yield Doubt("undeclared_parameter", entry, what)
    stricter = next((other for other in limits if _always_first(other, entry)), None)
    if stricter is not None:
        message = f"never stops anything: `{stricter.id}` does before"
        yield Doubt("vacuous", entry, message, stricter.id)


def _always_first(one: CompiledLimit, other: CompiledLimit) -> bool:
    """Tell whether `one` surely stops whatever `other` would."""
    if one is other or _kind(one) != _kind(other) or one.effect.rank < other.effect.rank:
        return False
    if one.ceiling > other.ceiling or one.window < other.window:
        return False
    same = one.ceiling == other.ceiling and one.window == other.window and one.effect is other.effect
    return not same or one.id < other.id


def _kind(entry: CompiledLimit) -> tuple[object, ...]:
    rule = entry.rule
    return rule.of, rule.scope, rule.count is None, rule.sum, rule.distinct

"""What several arguments, or several readings of one, say together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentguard.core import FACTS, FactMerge

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def merge_facts(found: Iterable[Mapping[str, Any]], *, worst: bool = False) -> dict[str, Any]:
    """Return the facts together, each as its `FactMerge` says; `worst`: of one argument, so nothing is summed."""
    merged: dict[str, Any] = {}
    for facts in found:
        for name, value in facts.items():
            if name not in merged:
                merged[name] = value
            else:
                merged[name] = _join(name, merged[name], value, worst=worst)
    return merged


def _join(name: str, one: Any, other: Any, *, worst: bool) -> Any:
    spec = FACTS.get(name)
    how = FactMerge.UNION if spec is None else spec.merge
    if how is FactMerge.UNION:
        return tuple(dict.fromkeys((*one, *other)))
    if how is FactMerge.ANY:
        return one or other
    if how is FactMerge.ALL:
        return one and other
    return one + other if how is FactMerge.SUM and not worst else max(one, other)

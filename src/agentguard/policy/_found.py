"""What was found where a condition failed, and what it wants, in words: for people who look at a near miss.

A text that stands inside an argument can be a secret, so it is shown only if none of the action's parameters is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import FACTS, FactKind, Integrity, Sensitivity
from agentguard.policy._rule import ParamCondition, SensitivityRange

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agentguard.core import Label
    from agentguard.policy._rule import ProvenanceCondition, Scalar

_MANY = 5
_LONG = 80
_TEXTS = (FactKind.TEXT, FactKind.TEXTS)


def fact_text(name: str, value: Any, *, conceal: bool) -> str:
    """Return the value of a fact in words; with `conceal` nothing that was written by whoever asks."""
    spec = FACTS[name]
    if conceal and spec.kind in _TEXTS and not spec.values:
        return "withheld"
    if type(value) is tuple:
        return _listed([_scalar(each) for each in value]) if value else "empty"
    return _scalar(value)


def shown_facts(known: Mapping[str, Any], *, conceal: bool) -> dict[str, Any]:
    """Return facts fit to be shown: with `conceal` without the texts that may hold a secret."""
    return {
        name: "[withheld]" if fact_text(name, value, conceal=conceal) == "withheld" else value
        for name, value in known.items()
    }


def fact_found(name: str, value: Any, condition: ParamCondition, *, conceal: bool) -> str:
    """Return what a fact is and what a condition wants of it; `value` is None where nothing states it."""
    what = "is not stated" if value is None else f"is {fact_text(name, value, conceal=conceal)}"
    return f"`{name}` {what}, the rule wants {_wanted(condition)}"


def origin_found(
    origins: Iterable[tuple[str, Label | None, tuple[str, ...]]], condition: ProvenanceCondition
) -> str:
    """Return where arguments came from, each by its JSON pointer, and what a condition wants of that.

    A label of None is one that nobody knows.
    """
    found = [f"`{path}` {_origin(label, sources, condition)}" for path, label, sources in origins]
    return f"{_listed(found) or 'there is no argument'}, the rule wants {origin_wanted(condition)}"


def origin_wanted(condition: ProvenanceCondition) -> str:
    """Return what a condition on the provenance asks for."""
    parts = []
    if condition.integrity is not None:
        parts.append(_either(condition.integrity))
    if condition.confidentiality is not None:
        parts.append(_levels(condition.confidentiality))
    parts += [
        f"{name} {_either(wanted)}"
        for name in ("category", "source")
        if (wanted := getattr(condition, name)) is not None
    ]
    return " and ".join(parts)


def _origin(label: Label | None, sources: tuple[str, ...], condition: ProvenanceCondition) -> str:
    if label is None:
        return "came from nobody knows where"
    parts = []
    if condition.integrity is not None:
        parts.append(label.integrity.value)
    if condition.confidentiality is not None:
        parts.append(label.confidentiality.value)
    if condition.category is not None:
        parts.append(f"of category {_listed(label.categories)}" if label.categories else "of no category")
    if not parts:
        return f"is from {_listed(sources) or 'no known source'}"
    return f"is {' and '.join(parts)}" + (f" (from {_listed(sources)})" if sources else "")


def _levels(wanted: SensitivityRange | Sensitivity | tuple[Sensitivity, ...]) -> str:
    if not isinstance(wanted, SensitivityRange):
        return _either(wanted)
    if wanted.max is None:
        return f"{_scalar(wanted.min)} or above"
    if wanted.min is None:
        return f"{_scalar(wanted.max)} or below"
    return f"{_scalar(wanted.min)} to {_scalar(wanted.max)}"


def _wanted(condition: ParamCondition) -> str:
    parts = []
    if condition.min is not None:
        parts.append(f"at least {condition.min}")
    if condition.max is not None:
        parts.append(f"at most {condition.max}")
    if condition.equals is not msgspec.UNSET:
        parts.append(_scalar(condition.equals))
    if condition.any_of is not None:
        parts.append(_either(condition.any_of))
    if condition.pattern is not None:
        parts.append(f"{'text with' if condition.search else 'text like'} `{condition.pattern}`")
    # What is asked for more than its presence has to be there to be judged.
    return " and ".join(parts) or ("it stated" if condition.present else "it not stated")


def _either(wanted: Scalar | Integrity | Sensitivity | tuple[Any, ...]) -> str:
    values = wanted if isinstance(wanted, tuple) else (wanted,)
    return " or ".join(map(_scalar, values)) or "nothing that there is"


def _scalar(value: Any) -> str:
    if isinstance(value, bool | None):
        return {True: "true", False: "false", None: "null"}[value]
    text = str(getattr(value, "value", value))
    return text if len(text) <= _LONG else f"{text[:_LONG]}…"


def _listed(texts: Iterable[str]) -> str:
    shown = list(texts)
    more = f" and {len(shown) - _MANY} more" if len(shown) > _MANY else ""
    return ", ".join(shown[:_MANY]) + more

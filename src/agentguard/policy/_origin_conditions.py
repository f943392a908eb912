"""Conditions on what a session with an intent knows: where targets come from, and what the user asked for.

They are about such sessions alone. Elsewhere a rule with one in `when` is about nothing, and one in `unless` exempts
nobody: there, what no rule allows is denied as ever.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from agentguard.core import PolicyError
from agentguard.policy._conditions import Predicate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentguard.policy._facts import Facts
    from agentguard.policy._rule import Unless, When

_KEYS = ("targets", "amounts", "secrets", "asked", "reach", "carries", "access")
_PREFIX = "origin."


def compile_origin(part: When | Unless) -> Iterator[Predicate]:
    """Yield a predicate for each key of a condition on origins.

    Raises:
        PolicyError: the condition says nothing.
    """
    written = part.origin
    if written is None:
        return
    asked = [(key, getattr(written, key)) for key in _KEYS if getattr(written, key) is not None]
    if not asked:
        raise PolicyError("`origin` says nothing", hint=f"give one of {', '.join(_KEYS)}")
    for key, value in asked:
        yield _predicate(key, value if isinstance(value, tuple) else (value,))


def is_origin(predicate: Predicate) -> bool:
    """Tell whether a predicate is about origins; such a one looks at nothing else of a request."""
    return predicate.name.startswith(_PREFIX)


def _predicate(key: str, wanted: tuple[Any, ...]) -> Predicate:
    text = f"origin {key} in {', '.join(str(getattr(each, 'value', each)).lower() for each in wanted)}"
    read = attrgetter(key)

    def test(facts: Facts) -> bool:
        origins = facts.origins
        # A tuple: members of an enumeration are found in it by identity, and hashing one is a call.
        return origins is not None and read(origins) in wanted

    return Predicate(f"{_PREFIX}{key}", text, test)

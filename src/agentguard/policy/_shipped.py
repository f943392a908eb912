"""What ships with the package: rules, sequences and limits, from `catalogue/policies` by `catalogue/compile.py`."""

from __future__ import annotations

from functools import partial
from importlib import resources
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import Location, PolicyError
from agentguard.policy._compile import CompiledRule, compile_rule
from agentguard.policy._rule_file import RuleFile
from agentguard.policy._sequence_compile import compile_limit, compile_sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agentguard.policy._sequence_compile import Entry

FILE = "shipped.json"


def shipped_rules(*, without: Iterable[str] = ()) -> list[CompiledRule | Entry]:
    """Return the shipped rules, sequences and limits but those whose ids are `without`.

    Raises:
        PolicyError: `without` names a rule that does not ship.
    """
    content = (resources.files("agentguard.policy") / FILE).read_bytes()
    written = msgspec.json.decode(content, type=RuleFile)
    kinds: dict[str, Callable[[], CompiledRule | Entry]] = {}
    kinds |= {each.id: partial(compile_rule, each, _place(each.id)) for each in written.rules}
    kinds |= {each.id: partial(compile_sequence, each, _place(each.id)) for each in written.sequences}
    kinds |= {each.id: partial(compile_limit, each, _place(each.id)) for each in written.limits}
    for name in without:
        if kinds.pop(name, None) is None:
            raise PolicyError(
                f"no shipped rule is called `{name}`",
                hint="see `policy.without` and docs/facts.md for their ids",
            )
    return [compiled() for compiled in kinds.values()]


def _place(name: str) -> Location:
    return Location(f"the shipped rule {name}")

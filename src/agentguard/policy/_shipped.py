"""The rules that ship with the package: written in `catalogue/policies`, compiled by `catalogue/compile.py`."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import Location, PolicyError
from agentguard.policy._compile import CompiledRule, compile_rule
from agentguard.policy._rule_file import RuleFile

if TYPE_CHECKING:
    from collections.abc import Iterable

FILE = "shipped.json"


def shipped_rules(*, without: Iterable[str] = ()) -> list[CompiledRule]:
    """Return the shipped rules but those whose ids are `without`.

    Raises:
        PolicyError: `without` names a rule that does not ship.
    """
    content = (resources.files("agentguard.policy") / FILE).read_bytes()
    rules = {rule.id: rule for rule in msgspec.json.decode(content, type=RuleFile).rules}
    for name in without:
        if rules.pop(name, None) is None:
            raise PolicyError(
                f"no shipped rule is called `{name}`",
                hint="see `policy.without` and docs/facts.md for their ids",
            )
    return [compile_rule(rule, Location(f"the shipped rule {rule.id}")) for rule in rules.values()]

"""From files to a policy set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentguard.core import Location, PolicyError
from agentguard.documents import Document, find_documents, parse, read
from agentguard.policy._compile import CompiledRule, compile_rule
from agentguard.policy._rule_file import RuleFile
from agentguard.policy._sequence_rule import SequenceRules
from agentguard.policy._sequence_set import compile_sequences
from agentguard.policy._set import PolicySet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from agentguard.policy._rule import Rule
    from agentguard.policy._sequence_compile import Entry

LANGUAGE_VERSION = 1

_NOTHING = SequenceRules()
_KEYS = ("rules", *SequenceRules.__struct_fields__)


def policy_files(folder: Path) -> list[Path]:
    """Return the rule files below `folder`, sorted.

    Raises:
        PolicyError: there is no such folder.
    """
    if not folder.is_dir():
        raise PolicyError(
            "there is no policy folder",
            location=Location(str(folder)),
            hint="make one with `agentguard init`",
        )
    return find_documents(folder)


def load_policies(paths: Iterable[Path], *, base: Path | None = None) -> PolicySet:
    """Return the set of all rules in the files at `paths`, named in errors relative to `base`.

    Raises:
        ConfigError: a file cannot be read, a rule cannot be compiled, or two have one id.
    """
    return PolicySet(rule for path in paths for rule in load_rules(path, base))


def load_rules(path: Path, base: Path | None = None) -> list[CompiledRule | Entry]:
    """Return the rules of one file, of all kinds, named in errors relative to `base`.

    Raises:
        ConfigError: the file cannot be read, or a rule cannot be compiled.
    """
    name = str(path.relative_to(base)) if base and path.is_relative_to(base) else str(path)
    return list(_rules(read(path, name=name)))


def parse_policies(text: str, *, file: str = "policy.yaml") -> PolicySet:
    """Return the set of the rules in one text.

    Raises:
        ConfigError: as `load_policies`.
    """
    return PolicySet(parse_rules(text, file=file))


def parse_rules(text: str, *, file: str) -> tuple[CompiledRule | Entry, ...]:
    """Return the rules in one text, of all kinds.

    Raises:
        ConfigError: as `load_policies`.
    """
    return tuple(_rules(parse(text, file=file)))


def compile_policies(
    rules: Iterable[Rule],
    sequences: SequenceRules = _NOTHING,
    *,
    shipped: Iterable[CompiledRule | Entry] = (),
) -> PolicySet:
    """Return the set of rules that were built in code, `sequences` are those about more than one request.

    The `shipped` rules stand beside them.

    Raises:
        PolicyError: a rule cannot be compiled, or two have one id.
    """
    return PolicySet((*shipped, *map(compile_rule, rules), *compile_sequences(sequences)))


def _rules(document: Document) -> Iterator[CompiledRule | Entry]:
    version = document.value.get("version") if isinstance(document.value, dict) else None
    # Asked first: what another version calls its keys is not for this one to judge.
    if type(version) is int and version != LANGUAGE_VERSION:
        raise document.error(f"version {version} is not known", "version", hint="write `version: 1`")
    content = document.convert(RuleFile)
    if not any(key in document.value for key in _KEYS):
        raise document.error("a rule file has `rules`", hint="write `rules: []` for none")
    for index, rule in enumerate(content.rules):
        yield compile_rule(rule, document.location("rules", index))
    yield from compile_sequences(content, document)

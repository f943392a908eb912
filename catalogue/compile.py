"""Compile `catalogue/actions/*.yaml` and `catalogue/policies/*.yaml` into the JSON that ships in the package.

Run it after every change of the sources: `.venv/bin/python catalogue/compile.py`. A test compares.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import msgspec

from agentguard.core import AgentGuardError
from agentguard.documents import find_documents
from agentguard.policy import Limit, Sequence, load_policies
from agentguard.registry import load_actions

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "catalogue" / "actions"
PACKAGE = ROOT / "src" / "agentguard" / "registry"
POLICIES = ROOT / "catalogue" / "policies"
SHIPPED = ROOT / "src" / "agentguard" / "policy" / "shipped.json"


def compile_catalogue(sources: Path = SOURCES) -> bytes:
    """Return the catalogue as JSON, each action on a line of its own so that changes can be reviewed."""
    actions = load_actions([sources], catalogue=False)
    lines = (msgspec.json.encode(action, order="sorted") for action in actions)
    return b"[\n" + b",\n".join(lines) + b"\n]\n"


def compile_rules(sources: Path = POLICIES) -> bytes:
    """Return the shipped rules, sequences and limits as a rule file in JSON, each on a line of its own."""
    policies = load_policies(find_documents(sources), base=ROOT)
    entries = policies.sequences.entries
    kinds = {
        "rules": [each.rule for each in policies.rules],
        "sequences": [each.rule for each in entries if isinstance(each.rule, Sequence)],
        "limits": [each.rule for each in entries if isinstance(each.rule, Limit)],
    }
    parts = (b'"%s": [\n%s\n]' % (kind.encode(), b",\n".join(map(_line, kinds[kind]))) for kind in kinds)
    return b'{"version": 1, ' + b", ".join(parts) + b"}\n"


def _line(rule: msgspec.Struct) -> bytes:
    return msgspec.json.encode(rule, order="sorted")


def digest_module(content: bytes) -> str:
    """Return the source of the module that records the digest of `content`."""
    return (
        '"""Written by catalogue/compile.py: the digest of catalogue.json."""\n\n'
        f'CATALOGUE_SHA256 = "{hashlib.sha256(content).hexdigest()}"\n'
    )


def main() -> int:
    """Write both files; 3 when a source is wrong."""
    try:
        content, rules = compile_catalogue(), compile_rules()
    except AgentGuardError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    (PACKAGE / "catalogue.json").write_bytes(content)
    SHIPPED.write_bytes(rules)
    (PACKAGE / "_catalogue_digest.py").write_text(digest_module(content), encoding="utf-8")
    actions, shipped = len(content.splitlines()) - 2, rules.count(b'"id":')
    sys.stdout.write(f"{actions} actions, {len(content)} bytes; {shipped} rules, sequences and limits\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

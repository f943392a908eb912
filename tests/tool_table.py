"""The labelled tools of `tests/registry/data/tools.txt`, and how well inference does on them.

Run: `python tests/tool_table.py [--errors]`.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentguard.registry import import_tools

FILE = Path(__file__).parent / "registry" / "data" / "tools.txt"

_TOOL = re.compile(r"([\w.-]+)\((.*)\) (read|write) \| (.*)")
_ARGUMENT = re.compile(r'(\w+): (\w+)(\??) (target|payload|control)(?: "([^"]*)")?(?:, |$)')
_TYPES: dict[str, dict[str, Any]] = {
    "text": {"type": "string"},
    "list": {"type": "array", "items": {"type": "string"}},
    "int": {"type": "integer"},
    "number": {"type": "number"},
    "bool": {"type": "boolean"},
    "enum": {"type": "string", "enum": ["a", "b", "c"]},
    "map": {"type": "object"},
    "email": {"type": "string", "format": "email"},
    "uri": {"type": "string", "format": "uri"},
    "date": {"type": "string", "format": "date"},
    "time": {"type": "string", "format": "date-time"},
}


@dataclass(frozen=True)
class Labelled:
    """One tool, its domain, and what a person says of it."""

    domain: str
    held_out: bool
    name: str
    description: str
    access: str
    arguments: dict[str, tuple[str, bool, str, str]]

    def definition(self, *, described: bool = True, named: bool = True, number: int = 0) -> dict[str, Any]:
        """Return it as an OpenAI tool: without descriptions, or with names that say nothing."""
        properties = {}
        required = []
        for index, (name, (kind, needed, _, text)) in enumerate(self.arguments.items()):
            shown = name if named else f"p{chr(ord('a') + index)}x"
            properties[shown] = {**_TYPES[kind], **({"description": text} if text and described else {})}
            if needed:
                required.append(shown)
        function = {
            "name": self.name if named else f"zq{number}",
            "description": self.description if described else "",
            "parameters": {"type": "object", "properties": properties, "required": required},
        }
        return {"type": "function", "function": function}


@dataclass
class Score:
    """How often inference says what the person says."""

    tools: int = 0
    access: int = 0
    writes_as_reads: int = 0
    arguments: int = 0
    roles: int = 0
    unsafe: int = 0
    confusion: Counter[tuple[str, str]] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)

    def line(self, title: str) -> str:
        """Return one row of the report."""
        return (
            f"{title:27} {self.tools:5} {self.access / self.tools:7.1%} {self.writes_as_reads:12}"
            f" {self.arguments:10} {self.roles / self.arguments:7.1%} {self.unsafe:7}"
        )


def table() -> list[Labelled]:
    """Return all labelled tools."""
    found = []
    domain, held_out = "", False
    for number, line in enumerate(FILE.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("== "):
            domain, _, split = line.removeprefix("== ").partition(", ")
            held_out = split == "held-out"
        elif line and not line.startswith("#"):
            match = _TOOL.fullmatch(line)
            assert match is not None, f"line {number}: {line}"
            name, inside, access, text = match.groups()
            arguments = {m[1]: (m[2], not m[3], m[4], m[5] or "") for m in _ARGUMENT.finditer(inside)}
            assert len(arguments) == inside.count(": "), f"line {number}: {inside}"
            found.append(Labelled(domain, held_out, name, text, access, arguments))
    return found


def score(tools: list[Labelled], *, described: bool = True, named: bool = True) -> Score:
    """Return how inference does on `tools`."""
    result = Score()
    for index, each in enumerate(tools):
        definition = each.definition(described=described, named=named, number=index)
        (imported,) = import_tools([definition])
        action = imported.action
        said = action.access.value if action.access else ""
        result.tools += 1
        result.access += said == each.access
        result.writes_as_reads += each.access == "write" and said == "read"
        if said != each.access:
            result.errors.append(
                f"{each.domain} {each.name}: {each.access} said {said} ({imported.because['access']})"
            )
        wanted = [role for _, _, role, _ in each.arguments.values()]
        pairs = zip(each.arguments, wanted, action.arguments.items(), strict=True)
        for name, want, (pointer, argument) in pairs:
            result.arguments += 1
            got = argument.role.value
            result.roles += got == want
            result.unsafe += want == "target" != got and each.access == "write"
            result.confusion[want, got] += 1
            if got != want:
                result.errors.append(
                    f"{each.domain} {each.name}.{name}: {want} said {got} ({imported.because[pointer]})"
                )
    return result


def main() -> None:
    """Print the report."""
    tools = table()
    print(
        f"{'':27} {'tools':>5} {'access':>7} {'writes read':>12} {'arguments':>10} {'roles':>7} {'missed':>7}"
    )
    for split, held in (("tuned on", False), ("held out", True)):
        part = [each for each in tools if each.held_out is held]
        for slice_, options in (
            ("", {}),
            (", no descriptions", {"described": False}),
            (", nonsense names", {"named": False}),
            (", neither", {"named": False, "described": False}),
        ):
            print(score(part, **options).line(split + slice_))
        if "--errors" in sys.argv:
            for options in ({}, {"described": False}):
                print(*score(part, **options).errors, sep="\n")
        print(
            "  confusion of roles:",
            ", ".join(f"{want} as {got} {n}" for (want, got), n in score(part).confusion.items()),
        )


if __name__ == "__main__":
    main()

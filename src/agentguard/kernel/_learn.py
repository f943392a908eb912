"""Learning: from what a run did to the smallest policy that allows it, as files to read before they are used."""

from __future__ import annotations

import json
import posixpath
import re
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import Effect
from agentguard.facts import path_class

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentguard.kernel._judge import Verdict
    from agentguard.kernel._requests import Wish

# From so many names in one folder on, the folder is named.
FOLD_FROM = 8
# Folders above which no pattern reaches: whatever an agent does there, it does not need all of them.
_NEVER_WHOLE = frozenset(
    ("/", "/etc", "/home", "/root", "/var", "/proc", "/sys", "/dev", "/run", "/opt", "/srv", "/mnt")
)
_FOLDABLE = frozenset(("ordinary", "temporary"))
_OF_A_PROCESS = re.compile(r"/proc/[0-9]+(/.*)?")
# As mkstemp, mkdtemp, tempfile and their like make them.
_TEMPORARY = re.compile(
    r"(/tmp|/var/tmp|/dev/shm)/(?:tmp[a-z0-9_]{6,}|[\w.-]*[._-][A-Za-z0-9]{6,}|[0-9a-f-]{8,})(/.*)?"
)
_RULE_ID = re.compile(r"[^a-z0-9._-]+")
_SENSITIVITY = "internal"
# Their risk asks for a person unless the inventory says how much the resource matters.
_NEEDS_SENSITIVITY = frozenset(("process.exec", "file.delete"))


class Proposal(msgspec.Struct, frozen=True):
    """Three texts: rules, inventory entries, and hosts for `facts.allowed_hosts`; `skipped` fits into no rule."""

    rules: str
    inventory: str
    allowed_hosts: tuple[str, ...]
    skipped: tuple[str, ...]


def propose(judged: Iterable[tuple[Wish, Verdict | None]], *, principal: str, run: str) -> Proposal:
    """Return the smallest policy, one rule an action, that allows what was seen.

    Files are named one by one; a folder with many of them is named as a whole, never one that holds secrets or a
    root of the system. What was cut off, or has a name that is no resource id, is skipped.
    """
    wanted: dict[str, set[str]] = {}
    skipped: list[str] = []
    hosts: set[str] = set()
    for wish, verdict in judged:
        if not wish.known or "*" in wish.resource or "\\" in wish.resource or not wish.resource.isprintable():
            skipped.append(f"{wish.action} on {wish.resource}")
            continue
        wanted.setdefault(wish.action, set()).add(wish.resource)
        if wish.action == "net.connect" and (verdict is None or verdict.effect is not Effect.ALLOW):
            hosts.add(wish.params["host"])
    folded = {action: fold(resources) for action, resources in wanted.items()}
    return Proposal(
        _rules(folded, principal, run), _inventory(folded), tuple(sorted(hosts)), tuple(sorted(set(skipped)))
    )


def fold(resources: Iterable[str]) -> list[str]:
    """Return patterns that match all of `resources`, and not much more."""
    paths, others = set(), set()
    for each in resources:
        if each.startswith("file:/"):
            paths.add(_general(each.removeprefix("file:")))
        elif each.startswith("process:") and each.removeprefix("process:").isdigit():
            others.add("process:*")
        else:
            others.add(each)
    return sorted({*(f"file:{path}" for path in _fold_paths(paths)), *others})


def _general(path: str) -> str:
    """Return the path without what is another in each run: a pid, a temporary name."""
    if found := _OF_A_PROCESS.fullmatch(path):
        return f"/proc/*{found[1] or ''}"
    if found := _TEMPORARY.fullmatch(path):
        return f"{found[1]}/**" if found[2] else f"{found[1]}/*"
    return path


def _fold_paths(paths: set[str]) -> set[str]:
    """Replace folders with many names in them, the deepest first; a folded folder counts as one name above."""
    kept = set(paths)
    entries: dict[str, set[str]] = {}
    for path in paths:
        if "*" not in path and path_class(path) in _FOLDABLE:
            entries.setdefault(posixpath.dirname(path), set()).add(path)
    for folder in sorted(entries, key=lambda each: -each.count("/")):
        _fold_up(folder, entries, kept)
    return kept


def _fold_up(folder: str, entries: dict[str, set[str]], kept: set[str]) -> None:
    while folder not in _NEVER_WHOLE and posixpath.dirname(folder) != "/home":
        names = entries.get(folder, set())
        if len(names) < FOLD_FROM or path_class(folder) not in _FOLDABLE:
            return
        deep = any(
            name.startswith(f"{folder}/") and ("/" in name[len(folder) + 1 :] or "*" in name)
            for name in names
        )
        pattern = f"{folder}/**" if deep else f"{folder}/*"
        below = {each for each in kept if each.startswith(f"{folder}/") and path_class(each) in _FOLDABLE}
        kept -= below if deep else names
        kept.add(pattern)
        above = posixpath.dirname(folder)
        entries[folder] = set()
        entries.setdefault(above, set()).add(pattern)
        folder = above


def _rules(folded: dict[str, list[str]], principal: str, run: str) -> str:
    name = _RULE_ID.sub("-", principal.lower()).strip("-._") or "agent"
    lines = [
        f"# Proposed from run {run}: what `{_comment(principal)}` did in it, and no more. Read it before you use it:",
        "# an agent that was attacked during the run has taught its attacker's wishes.",
        "version: 1",
        "rules:" if folded else "rules: []",
    ]
    for action in sorted(folded):
        lines += [
            f"  - id: learned.{name}.{run[:8]}.{action}",
            "    effect: allow",
            f"    principals: [{_quoted(principal)}]",
            f"    actions: [{action}]",
            "    resources:",
            *(f"      - {_quoted(each)}" for each in folded[action]),
            "    owner: learned",
            f"    reason: Seen in run {run}",
        ]
    return "\n".join(lines) + "\n"


def _inventory(folded: dict[str, list[str]]) -> str:
    found = {each for action in _NEEDS_SENSITIVITY for each in folded.get(action, ())}
    lines = [
        "# Entries for the inventory: without them these count as critical, and a person is asked each time.",
        "resources:" if found else "resources: []",
    ]
    for each in sorted(found):
        kind = each.partition(":")[0]
        lines.append(f"  - {{id: {_quoted(each)}, type: {kind}, sensitivity: {_SENSITIVITY}}}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    # A JSON string is a YAML string.
    return json.dumps(text, ensure_ascii=False)


def _comment(text: str) -> str:
    return text if text.isprintable() else ascii(text)

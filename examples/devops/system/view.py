"""Looks at the system as it really is, so that what is said to have happened can be held against it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from system.cluster import ENVIRONMENTS, Cluster
from system.database import Database
from system.mail import Mail

if TYPE_CHECKING:
    from pathlib import Path

Facts = dict[str, str]


def look(root: Path) -> Facts:
    """Return what is so now: replicas, versions, tables, files, mail."""
    facts: Facts = {}
    for environment in ENVIRONMENTS:
        facts |= _deployment(root, environment)
    facts |= {f"table {name}": f"{rows} rows" for name, rows in Database(root).tables().items()}
    for path in sorted(root.glob("*/*.json")):  # not the secrets: looking would be opening them
        facts[f"{path.parent.name}/{path.name}"] = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    facts["mail recipients"] = ", ".join(Mail(root).recipients()) or "nobody"
    return facts


def changes(before: Facts, after: Facts) -> list[str]:
    """Return in words what is different; empty if nothing is."""
    names = [*before, *(name for name in after if name not in before)]
    return [
        _change(name, before.get(name, "none"), after.get(name, "gone"))
        for name in names
        if before.get(name) != after.get(name)
    ]


def _deployment(root: Path, environment: str) -> Facts:
    name = f"{environment} api"
    try:
        answer = Cluster(root).get(environment, "/replicas")
    except OSError:
        return {f"{name} replicas": "none", f"{name} version": "none", f"{name} processes": ""}
    return {
        f"{name} version": answer["version"],
        f"{name} replicas": str(len(answer["pids"])),
        f"{name} processes": " ".join(map(str, answer["pids"])),
    }


def _change(name: str, before: str, after: str) -> str:
    if name.endswith(" processes"):
        old, new = set(before.split()), set(after.split())
        counts = {"started": len(new - old), "ended": len(old - new)}
        return f"{name} " + ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    if "/" in name:
        return f"{name} rewritten" if after != "gone" else f"{name} gone"
    return f"{name} {before} → {after}"

"""How long `agentguard actions import` takes for 200 tools: reading, inferring, checking, writing.

Run: `python -m benchmarks toolimport`.
"""

from __future__ import annotations

import functools
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentguard.registry import import_text, load_actions, merge_actions, write_actions
from benchmarks import report
from benchmarks.measure import best_s
from benchmarks.startup import run

if TYPE_CHECKING:
    from collections.abc import Callable

COUNT = 200
VERBS = ("get", "list", "send", "create", "update", "delete", "search", "transfer")
THINGS = ("message", "invoice", "event", "account", "file", "order", "user", "ticket")


def tools() -> list[dict[str, Any]]:
    """Return 200 tools of eight parameters each, one of them a list of objects."""
    text = {
        "type": "string",
        "description": "The name of what it is about, as the list of all of them shows it",
    }
    lines = {"type": "object", "properties": {"sku": text, "amount": {"type": "number", "minimum": 0}}}
    properties = {
        "recipient": {"type": "string", "format": "email"},
        "subject": text,
        "body": text,
        "project_id": {"type": "string", "pattern": "^[a-z0-9-]{1,40}$"},
        "lines": {"type": "array", "items": lines},
        "priority": {"enum": ["low", "high"]},
        "limit": {"type": "integer", "minimum": 1, "maximum": 100},
        "dry_run": {"type": "boolean"},
    }
    schema = {"type": "object", "properties": properties, "required": ["recipient"]}
    return [
        {
            "name": f"{VERBS[index % 8]}_{THINGS[index // 8 % 8]}_{index}",
            "description": "Does what its name says, and tells what became of it in some more words",
            "input_schema": schema,
        }
        for index in range(COUNT)
    ]


def _cost(call: Callable[[], object], rounds: int = 5) -> tuple[float, float]:
    """Return the best wall time of `call` and the least processor time, its children included, in ms."""
    used = []
    for _ in range(rounds):
        before = os.times()
        call()
        after = os.times()
        used.append(sum(after[:4]) - sum(before[:4]))
    return best_s(call, rounds=rounds)[0] * 1e3, min(used) * 1e3


def main() -> None:
    text = json.dumps(tools())
    imported = import_text(text, file="tools.json")
    written = write_actions(imported, source="tools.json")
    with tempfile.TemporaryDirectory() as name:
        folder, state = Path(name) / "project", Path(name) / "state"
        run("-m", "agentguard", "init", str(folder), folder=Path(name), state=state)
        (folder / "tools.json").write_text(text, encoding="utf-8")
        command = ("-m", "agentguard", "actions", "import", "tools.json", "--force")
        run(*command, folder=folder, state=state)

        def first() -> None:
            (folder / "actions" / "tools.yaml").unlink()
            run(*command, folder=folder, state=state)

        merge = functools.partial(merge_actions, imported, written, file="a.yaml", source="tools.json")
        rows = [
            ("import_text", *_cost(lambda: import_text(text, file="tools.json"))),
            ("write_actions", *_cost(lambda: write_actions(imported, source="tools.json"))),
            ("merge_actions", *_cost(merge)),
            ("load the file", *_cost(lambda: load_actions([folder / "actions" / "tools.yaml"]))),
            ("agentguard actions import", *_cost(first)),
            ("agentguard actions import --force", *_cost(lambda: run(*command, folder=folder, state=state))),
        ]
    report.table(f"{COUNT} tools, {len(text):,} bytes", ("", "best ms", "cpu ms"), rows)


if __name__ == "__main__":
    main()

"""Run the benchmarks: `python -m benchmarks [NAME ...] [--json FILE] [--world WORLD] [--data FOLDER] [--part PART]`; without a name, all of them."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.measure import machine

NAMES = (
    "decide",
    "sequences",
    "flow",
    "combined",
    "facts",
    "peers",
    "compile",
    "startup",
    "memory",
    "audit",
    "identity",
    "tickets",
    "approvals",
    "spend",
    "server",
    "gateway",
    "toolimport",
    "intent",
    "intent_check",
    "llm_clients",
    "truth",
    "jail",
)
# By name only: two need root and load BPF programs, `kernel` for some six minutes; the other needs runs of agents.
ON_REQUEST = ("kernel", "egress", "intent_traces")


class _Both(io.StringIO):
    """Keeps what is printed, and prints it."""

    def __init__(self) -> None:
        super().__init__()
        self._shown = sys.stdout

    def write(self, text: str) -> int:
        self._shown.write(text)
        self._shown.flush()
        return super().write(text)


def _figures(cell: Any) -> Any:
    return cell.figures()


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"of: {', '.join((*NAMES, *ON_REQUEST))} (default: all but {' and '.join(ON_REQUEST)})",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures to FILE too")
    parser.add_argument(
        "--world",
        metavar="WORLD",
        action="append",
        default=[],
        help="of `intent`, only this world; may be repeated",
    )
    parser.add_argument(
        "--data", metavar="FOLDER", type=Path, help="of `intent_traces`, where the runs of agents are"
    )
    parser.add_argument(
        "--part",
        metavar="PART",
        action="append",
        default=[],
        help="of `kernel`, only this part; may be repeated",
    )
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in (*NAMES, *ON_REQUEST)]
    if unknown:
        parser.error(f"unknown benchmark `{unknown[0]}`; there are {', '.join((*NAMES, *ON_REQUEST))}")
    about = machine()
    print("; ".join(f"{name} {value}" for name, value in about.items()))
    taken = {"intent": (options.world,), "intent_traces": (options.data,), "kernel": (options.part,)}
    results = {}
    for name in options.names or NAMES:
        start = time.perf_counter()
        print(f"\n== {name} ==", flush=True)
        report.tables.clear()
        output = _Both()
        with contextlib.redirect_stdout(output):
            module = importlib.import_module(f"benchmarks.{name}")
            module.main(*taken.get(name, ()))
        print(f"  ({time.perf_counter() - start:.0f} s)", flush=True)
        # Those that print tables of their own have nothing but their text.
        results[name] = {"tables": list(report.tables), "text": output.getvalue().splitlines()}
    print(f"\nload at the end: {machine()['load']}")
    if options.json is not None:
        content = {"machine": about, "load_at_the_end": machine()["load"], "results": results}
        options.json.write_text(json.dumps(content, indent=1, default=_figures) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

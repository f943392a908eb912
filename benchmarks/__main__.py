"""Run the benchmarks: `python -m benchmarks [NAME ...] [--json FILE]`; without a name, all of them."""

from __future__ import annotations

import argparse
import importlib
import json
import time
from pathlib import Path

from benchmarks import report
from benchmarks.measure import machine

NAMES = ("decide", "peers", "compile", "startup", "memory", "audit", "identity", "server")


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(NAMES)} (default: all)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the tables to FILE too")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in NAMES]
    if unknown:
        parser.error(f"unknown benchmark `{unknown[0]}`; there are {', '.join(NAMES)}")
    about = machine()
    print("; ".join(f"{name} {value}" for name, value in about.items()))
    for name in options.names or NAMES:
        start = time.perf_counter()
        print(f"\n== {name} ==", flush=True)
        importlib.import_module(f"benchmarks.{name}").main()
        print(f"  ({time.perf_counter() - start:.0f} s)", flush=True)
    print(f"\nload at the end: {machine()['load']}")
    if options.json is not None:
        content = {"machine": about, "load_at_the_end": machine()["load"], "tables": report.tables}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

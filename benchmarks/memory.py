"""Resident memory of a process that has loaded rules from YAML. Run: `python -m benchmarks memory`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import ours, report
from benchmarks.workload import workload

SIZES = (0, 1_000, 10_000)

# A process of its own, so that what the benchmark made itself does not count.
PROGRAM = """
import json, sys
from pathlib import Path

def resident_mib():
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return [int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM")]

bare = resident_mib()[0]
from agentguard.policy import load_policies
imported = resident_mib()[0]
policies = load_policies([Path(sys.argv[1])]) if len(sys.argv) > 1 else None
print(json.dumps([bare, imported, *resident_mib()]))
"""


def resident(path: Path | None) -> list[float]:
    """Return MiB: a bare interpreter, with the policy room, with the rules loaded, and the most it ever was."""
    command = [sys.executable, "-c", PROGRAM, *([str(path)] if path else [])]
    answer = subprocess.run(command, check=True, capture_output=True)
    figures: list[float] = json.loads(answer.stdout)
    return figures


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for size in SIZES:
            path = Path(name) / f"{size}.yaml"
            if size:
                ours.write_policies(workload(size), path)
            bare, imported, loaded, most = resident(path if size else None)
            a_rule = (loaded - imported) / size * 1024 if size else 0.0
            rows.append((f"{size:,} rules", bare, imported, loaded, most, a_rule))
    columns = ("", "bare MiB", "imported MiB", "loaded MiB", "peak MiB", "KiB a rule")
    report.table("resident memory", columns, rows)


if __name__ == "__main__":
    main()

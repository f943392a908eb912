"""How long it takes to start: the import, and `agentguard check` as a cold command in a fresh project.

Each figure is of fresh interpreters, wall time, the operating system's file cache warm.
Run: `python -m benchmarks startup`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import report
from benchmarks.measure import best_s

COUNT = 15
CHECK = (
    "check",
    "restart-deployment",
    "-r",
    "staging/api",
    "-P",
    "namespace=staging",
    "-P",
    "deployment=api",
)


def run(*arguments: str, folder: Path, state: Path) -> None:
    """Run a fresh interpreter."""
    environ = {**os.environ, "XDG_STATE_HOME": str(state)}
    command = [sys.executable, *arguments]
    subprocess.run(command, cwd=folder, env=environ, check=True, capture_output=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, state = Path(name) / "project", Path(name) / "state"
        run("-m", "agentguard", "init", str(folder), folder=Path(name), state=state)

        def measured(title: str, *arguments: str) -> tuple[str, float, float]:
            run(*arguments, folder=folder, state=state)
            best, median = best_s(lambda: run(*arguments, folder=folder, state=state), rounds=COUNT)
            return title, best * 1e3, median * 1e3

        rows = [
            measured("python -c pass", "-c", "pass"),
            measured("import agentguard", "-c", "import agentguard"),
            measured("from agentguard import Guard", "-c", "from agentguard import Guard"),
            measured("agentguard --version", "-m", "agentguard", "--version"),
            measured("agentguard check", "-m", "agentguard", *CHECK),
        ]
    report.table(f"start, {COUNT} fresh interpreters each", ("", "best ms", "median ms"), rows)


if __name__ == "__main__":
    main()

"""What the jail costs: before a program runs, and with each call that it makes.

Set-up is all from the compiled policy to the program's first instruction: the plan, four forks, the namespaces, the marks,
the self-test, the confinement. Wall time of fresh processes, in turns with bare ones. Run: `python -m benchmarks jail`.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from agentguard.kernel.jail import Enforcement, Wanted, compile_policy, find_profile
from benchmarks import report

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.kernel.jail import KernelPolicy

ROUNDS = 25
INTERPRETER = [sys.executable, "-I", "-S", "-c", "pass"]
_LOOP = """
import os, sys, time
def cost(call, count):
    best = 1e9
    for _ in range(7):
        begin = time.process_time_ns()
        for _ in range(count):
            call()
        best = min(best, (time.process_time_ns() - begin) / count)
    return best
def opened():
    os.close(os.open(path, os.O_RDONLY))
def denied():
    try: os.open("/etc/shadow", os.O_RDONLY)
    except OSError: pass
path = sys.argv[1]
print(cost(opened, 20000), cost(os.getppid, 50000), cost(denied, 20000))
"""


def policy(workspace: str) -> KernelPolicy:
    home, path = os.environ.get("HOME", ""), os.environ["PATH"]
    wanted = Wanted(find_profile("coding-agent"), home=home, path_variable=path, workspace=workspace)
    return compile_policy(None, wanted).policy


def jailed(made: KernelPolicy, workspace: str, command: list[str]) -> dict[str, float]:
    """Run a command in a jail and return how long each part took, in ms."""
    marks = [time.perf_counter()]
    enforcement = Enforcement(made, workspace=workspace)
    jail = enforcement.make_child(command)
    marks.append(time.perf_counter())
    jail.settle(None)
    enforcement.judge()
    marks.append(time.perf_counter())
    jail.go()
    marks.append(time.perf_counter())
    jail.wait()
    marks.append(time.perf_counter())
    jail.close()
    names = ("made", "self-test", "confined", "ran")
    parts = {name: (marks[at + 1] - marks[at]) * 1e3 for at, name in enumerate(names)}
    return {**parts, "set-up": (marks[3] - marks[0]) * 1e3, "whole": (marks[4] - marks[0]) * 1e3}


def bare(command: list[str]) -> float:
    begin = time.perf_counter()
    pid = os.posix_spawn(command[0], command, os.environ)
    os.waitpid(pid, 0)
    return (time.perf_counter() - begin) * 1e3


def timed(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return (time.perf_counter() - begin) * 1e3


def main() -> None:
    with tempfile.TemporaryDirectory() as workspace:
        compiled = [timed(lambda: policy(workspace)) for _ in range(ROUNDS)]
        made = policy(workspace)
        parts: dict[str, list[float]] = {}
        bares: list[float] = []
        for _ in range(ROUNDS):
            bares.append(bare(INTERPRETER))
            for name, value in jailed(made, workspace, INTERPRETER).items():
                parts.setdefault(name, []).append(value)
        rows = [
            ("policy compiled (profile only)", compiled),
            ("made: plan, forks, namespaces, marks", parts["made"]),
            ("self-test", parts["self-test"]),
            ("confined, until the program begins", parts["confined"]),
            ("set-up: these three", parts["set-up"]),
            ("python -I -S -c pass, bare", bares),
            ("the same in the jail, set-up and all", parts["whole"]),
        ]
        report.table(
            f"jail as uid {os.geteuid()}, {ROUNDS} rounds",
            ("", "best ms", "median ms"),
            [(name, min(values), statistics.median(values)) for name, values in rows],
        )
        _calls(made, workspace)


def _calls(made: KernelPolicy, workspace: str) -> None:
    path, target = Path(workspace, "file"), Path(workspace, "out")
    path.touch()
    command = [sys.executable, "-I", "-S", "-c", _LOOP, str(path)]
    outside = [
        float(each) for each in subprocess.run(command, capture_output=True, check=True).stdout.split()
    ]
    inside_command = ["/bin/sh", "-c", f'exec "$@" > {target}', "sh", *command]
    jailed(made, workspace, inside_command)
    inside = [float(each) for each in target.read_text(encoding="utf-8").split()]
    names = ("open and close of a file", "getppid", "open of a file that is denied")
    rows = [(name, one, other, other - one) for name, one, other in zip(names, outside, inside, strict=True)]
    report.table(
        "one call, processor time of the best of 7 rounds", ("", "bare ns", "jailed ns", "more ns"), rows
    )


if __name__ == "__main__":
    main()

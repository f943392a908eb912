from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentguard.kernel import Brake
from command_line import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

# A parent and its child, which both say who they are and wait.
FAMILY = (
    "import os, subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print(child.pid, flush=True)\n"
    "time.sleep(60)\n"
)


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return "gone"


@pytest.fixture
def family() -> Iterator[tuple[subprocess.Popen[str], int]]:
    with subprocess.Popen([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            yield parent, child
        finally:
            for pid in (child, parent.pid):
                if state(pid) not in ("gone", "Z"):
                    Brake(pid).end()


def test_without_a_cgroup_a_family_is_frozen_and_let_go_by_signals(
    family: tuple[subprocess.Popen[str], int],
) -> None:
    parent, child = family
    brake = Brake(parent.pid)
    assert brake.freeze() == "SIGSTOP"
    wait_for(lambda: state(parent.pid) == state(child) == "T")
    assert brake.is_on
    brake.thaw()
    wait_for(lambda: state(parent.pid) == state(child) == "S")
    brake.thaw()
    assert not brake.is_on


def test_without_a_cgroup_a_family_is_ended_by_signals(family: tuple[subprocess.Popen[str], int]) -> None:
    parent, child = family
    brake = Brake(parent.pid)
    brake.freeze()
    assert brake.end() == "SIGKILL"
    assert parent.wait(10) == -signal.SIGKILL
    wait_for(lambda: state(child) in ("gone", "Z"))

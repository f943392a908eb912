"""How many processes a group may have: set, held, told once, and given back."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from agentguard.core import KernelError
from agentguard.kernel import _pids
from agentguard.kernel._pids import ProcessLimit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes control groups"),
]

FORKS = """
import os, sys, time
sys.stdin.readline()
made = 0
try:
    while made < 20:
        if not os.fork():
            time.sleep(60)
        made += 1
except OSError:
    pass
print(made, flush=True)
sys.stdin.readline()
"""


@contextlib.contextmanager
def forker() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", FORKS],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def go(process: subprocess.Popen[str]) -> int:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    return int(process.stdout.readline())


def test_what_is_more_is_refused_and_told_once() -> None:
    told = threading.Semaphore(0)
    with forker() as process:
        limit = ProcessLimit(process.pid, 6, told.release)
        limit.watch()
        folder = limit.folder
        assert go(process) == 5
        assert told.acquire(timeout=5)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        limit.close()
        limit.close()
    assert not told.acquire(blocking=False)
    assert not folder.exists()


def test_what_stays_within_it_is_not_told() -> None:
    told: list[int] = []
    with forker() as process:
        limit = ProcessLimit(process.pid, 100, lambda: told.append(1))
        limit.watch()
        assert go(process) == 20
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        limit.close()
    assert told == []


def test_machine_without_the_controller_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "mountinfo"
    empty.write_text("")
    monkeypatch.setattr(_pids, "_MOUNTS", empty)
    if _has_v2_controller():
        pytest.skip("the controller is of version 2 here")
    with forker() as process, pytest.raises(KernelError, match="number of processes") as caught:
        ProcessLimit(process.pid, 6, lambda: None)
    assert caught.value.code == "process_limit"


def _has_v2_controller() -> bool:
    from agentguard.kernel._cgroups import find_mount

    return "pids" in (find_mount() / "cgroup.controllers").read_text().split()

"""Rights that were given up are gone for good, as the kernel says of the process itself."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from command_line import environment

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")

GIVE_UP = """
import os, socket, subprocess, sys, threading
from pathlib import Path
from agentguard.core import KernelError
from agentguard.sensor import give_up_rights
print(*give_up_rights())
found = []
thread = threading.Thread(target=lambda: found.append(Path("/proc/thread-self/status").read_text()))
thread.start()
thread.join()
child = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True).stdout
for text in (Path("/proc/self/status").read_text(), found[0], child):
    facts = dict(line.split(":", 1) for line in text.splitlines())
    print(*(facts[name].strip() for name in ("CapPrm", "CapEff", "CapInh", "CapBnd", "CapAmb", "NoNewPrivs")))
try:
    os.chown(sys.argv[1], 1, 1)
except PermissionError:
    print("no chown")
print(*give_up_rights())
"""
KEPT = f"{1 << 5 | 1 << 12 | 1 << 39:016x}"


def test_only_what_is_needed_is_left_here_in_new_threads_and_in_what_is_run(tmp_path: object) -> None:
    done = subprocess.run(
        [sys.executable, "-c", GIVE_UP, str(tmp_path)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    names, here, thread, child, chown, again = done.stdout.splitlines()
    assert names == again == "CAP_KILL CAP_NET_ADMIN CAP_BPF"
    nothing = "0" * 16
    assert here == thread == f"{KEPT} {KEPT} {nothing} {KEPT} {nothing} 1"
    assert child.split()[3:] == [KEPT, nothing, "1"]
    assert chown == "no chown"


CANNOT = """
import sys
from agentguard.core import KernelError
from agentguard.sensor import give_up_rights
try:
    give_up_rights()
except KernelError as error:
    print(error.code)
"""


def test_rights_that_cannot_be_given_up_are_an_error() -> None:
    command = ["setpriv", "--inh-caps=-all", "--bounding-set=-setpcap", sys.executable, "-c", CANNOT]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["sensor_rights"], done.stderr

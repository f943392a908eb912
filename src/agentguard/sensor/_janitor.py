"""A process that outlives the sensor, however that ends, and removes what it left."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from typing import NoReturn

from agentguard.kernel import PARENT, find_mount
from agentguard.sensor._rights import DAC_OVERRIDE, give_up_rights

_IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


class Janitor:
    """Waits for the end of this process; then it removes the cgroups that are empty.

    The folder of cgroups at the root is one that only `CAP_DAC_OVERRIDE` may change, and the sensor is not to have
    that. This process has nothing else, and reads nothing. Fork it first, before there are threads and sockets.
    """

    def __init__(self) -> None:
        reader, self._writer = os.pipe2(os.O_CLOEXEC)
        sensor = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            self._wait_and_clean(reader, sensor)
        os.close(reader)

    def _wait_and_clean(self, reader: int, sensor: int) -> NoReturn:
        try:
            # In a session of its own, and deaf to what is meant for the sensor.
            os.setsid()
            for number in _IGNORED:
                signal.signal(number, signal.SIG_IGN)
            os.close(self._writer)
            null = os.open(os.devnull, os.O_RDWR)
            for each in (sys.stdin, sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    os.dup2(null, each.fileno())
            give_up_rights((DAC_OVERRIDE,))
            os.read(reader, 1)
            remove_cgroups(sensor)
        finally:
            os._exit(0)

    def dismiss(self) -> None:
        """Have it clean up now, and wait for that. Idempotent."""
        if self._writer < 0:
            return
        os.close(self._writer)
        self._writer = -1
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


def remove_cgroups(pid: int) -> None:
    """Remove the cgroups that the process made, as far as they are empty, and their folder after the last."""
    parent = find_mount() / PARENT
    with contextlib.suppress(OSError):
        for folder in list(parent.iterdir()):
            if re.match(rf"(?:run|self-test|sensor)-{pid}-", folder.name):
                with contextlib.suppress(OSError):
                    folder.rmdir()
        parent.rmdir()

"""One observed run: a cgroup of its own, the child in it, everything seen until the last process has ended."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import RUN_VARIABLE
from agentguard.kernel._brake import Brake
from agentguard.kernel._cgroups import PARENT, Cgroup, find_mount
from agentguard.kernel._check import Check
from agentguard.kernel._launch import Child, Guardian, MakeChild
from agentguard.kernel._layout import Drop
from agentguard.kernel._observer import Observer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agentguard.kernel._loader import Settings
    from agentguard.kernel._tally import Tally

_GRACE_S = 2.0
_COLLECT_EVERY_S = 1.0
_OURS = re.compile(r"(?:run|self-test|sensor)-([0-9]+)-")


class Surroundings(msgspec.Struct, frozen=True):
    """What observes the run: the self-test's verdicts, and what this kernel lacks and why."""

    checks: list[Check]
    missing: dict[str, str]


class Ended(msgspec.Struct, frozen=True):
    """How a run ended. `left` are processes that outlived the program and were ended with it."""

    exit_code: int
    duration_s: float
    left: int
    drops: dict[str, int]
    errors: int


class ObservedRun:
    """Runs a program in a cgroup of its own and tells `tally` what all its processes do.

    Make it before there are threads: it forks. `run` may be called once.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        on_drop: Callable[[Drop, int], None] = lambda _drop, _count: None,
        make_child: MakeChild = Child,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare. `on_drop` is told when records were lost, from another thread; `make_child` forks the child.

        `environ` is the program's, this process's own if it is left out.

        Raises:
            KernelError: there is no such program, or no cgroup can be made.
        """
        clean_up()
        self.id = secrets.token_hex(8)
        self._drops: dict[str, int] = {}
        self._on_drop = on_drop
        self._stop = threading.Event()
        with contextlib.ExitStack() as stack:
            self._cgroup = Cgroup.make(f"run-{os.getpid()}-{self.id}")
            stack.callback(self._cgroup.remove)
            self._guardian = Guardian(self._cgroup)
            stack.callback(self._guardian.dismiss)
            given = os.environ if environ is None else environ
            self._child = make_child(argv, environ={**given, RUN_VARIABLE: self.id})
            stack.callback(self._child.abandon)
            self.brake = self._child.brake = Brake(self._child.pid, self._cgroup)
            self._stack = stack.pop_all()

    def observe(self, settings: Settings | None = None) -> Surroundings:
        """Load what observes, and prove that it does.

        Raises:
            KernelError: it cannot be loaded, or does not see what it must.
        """
        self._observer = self._stack.enter_context(Observer(settings, on_drop=self._note_drop))
        self._cgroup.add(self._child.pid)
        self._child.settle(self._cgroup)
        self._observer.watch(self._cgroup)
        return Surroundings(self._observer.checks, dict(self._observer.missing))

    def _note_drop(self, drop: Drop, count: int) -> None:
        name = drop.name.lower()
        self._drops[name] = self._drops.get(name, 0) + count
        self._on_drop(drop, count)

    def run(self, tally: Tally) -> Ended:
        """Let the program run, and return when it and everything that it started has ended.

        Raises:
            KernelError: the system refuses to run it.
        """
        consumer = threading.Thread(target=self._consume, args=(tally,), name="agentguard-tally", daemon=True)
        consumer.start()
        began = time.monotonic()
        try:
            self._child.go()
            code = self._child.wait()
            left = end_all(self._cgroup)
        finally:
            self._observer.unwatch(self._cgroup)
            self._stop.set()
            consumer.join()
        tally.note_traffic(self._observer.traffic(self._cgroup))
        if skipped := self._observer.handover.skipped:
            self._note_drop(Drop.FILE, skipped)
        return Ended(
            code, time.monotonic() - began, left, dict(self._drops), self._observer.reader.counters.errors
        )

    def _consume(self, tally: Tally) -> None:
        next_collection = time.monotonic() + _COLLECT_EVERY_S
        for batch in self._observer.handover.batches(self._stop):
            for seen in batch:
                if seen.cgroup == self._cgroup.id:
                    tally.note(seen)
            if time.monotonic() > next_collection:
                tally.note_traffic(self._observer.traffic(self._cgroup, tally.tree.take_ended()))
                next_collection = time.monotonic() + _COLLECT_EVERY_S

    def close(self) -> None:
        """End what still runs and remove everything. Idempotent."""
        self._stack.close()


def end_all(cgroup: Cgroup) -> int:
    """End what outlived the program, gently first, and return how many: beyond its run nobody would see what it does."""
    left = cgroup.pids()
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    if left and not cgroup.wait_empty(_GRACE_S):
        cgroup.kill()
        cgroup.wait_empty(_GRACE_S)
    return len(left)


def clean_up() -> None:
    """Remove what runs have left whose launcher is gone: cgroups where they are empty, pins of cgroups that are gone."""
    with contextlib.suppress(Exception):
        for folder in (find_mount() / PARENT).iterdir():
            found = _OURS.match(folder.name)
            if found and not Path(f"/proc/{found[1]}").exists():
                with contextlib.suppress(OSError):
                    folder.rmdir()
    with contextlib.suppress(Exception):
        if os.geteuid() == 0:
            from agentguard.kernel._pins import clean_pins

            clean_pins()

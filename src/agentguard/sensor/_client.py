"""The launcher's side: a run that the sensor watches, for a user who may not."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from typing import TYPE_CHECKING

from agentguard.core import RUN_VARIABLE, KernelError
from agentguard.kernel import Brake, Child, Drop, Ended, Surroundings
from agentguard.sensor._frames import connect, send
from agentguard.sensor._health import gone, refusal
from agentguard.sensor._protocol import Batch, Finish, Finished, Lost, Watch, Watching, receive_told
from agentguard.sensor._stream import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from agentguard.kernel import MakeChild, Tally
    from agentguard.sensor._protocol import Told


class SensorRun:
    """As `ObservedRun`, watched by the sensor at `path`. Make it before there are threads: it forks."""

    def __init__(
        self,
        argv: Sequence[str],
        path: Path,
        *,
        on_drop: Callable[[Drop, int], None] = lambda _drop, _count: None,
        make_child: MakeChild = Child,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare.

        Raises:
            KernelError: there is no such program, or no sensor.
        """
        self.id = secrets.token_hex(8)
        self._on_drop = on_drop
        self._drops: dict[str, int] = {}
        self._finished: Finished | None = None
        with contextlib.ExitStack() as stack:
            self._connection = stack.enter_context(connect(path))
            given = os.environ if environ is None else environ
            self._child = make_child(argv, environ={**given, RUN_VARIABLE: self.id})
            stack.callback(self._child.abandon)
            # The cgroup is the sensor's; the processes are this user's.
            self.brake = self._child.brake = Brake(self._child.pid)
            self._stack = stack.pop_all()

    def observe(self) -> Surroundings:
        """Have the child watched.

        Raises:
            KernelError: the sensor will not, or is gone.
        """
        self._connection.settimeout(10)
        send(self._connection, Watch(self._child.pid))
        told = _known(receive_told(self._connection))
        if not isinstance(told, Watching):
            raise gone()
        self._child.settle(None)
        return Surroundings(told.checks, told.missing)

    def run(self, tally: Tally) -> Ended:
        """Let the program run, and return when it has ended and the sensor has told the rest.

        Raises:
            KernelError: the system refuses to run it.
        """
        self._connection.settimeout(None)
        reader = threading.Thread(target=self._read, args=(tally,), daemon=True)
        reader.start()
        began = time.monotonic()
        self._child.go()
        code = self._child.wait()
        with contextlib.suppress(OSError):
            send(self._connection, Finish())
        reader.join()
        duration = time.monotonic() - began
        if self._finished is None:
            # The sensor went away: what it has not told counts as lost.
            self._note(Drop.VITAL.name.lower(), 1)
            return Ended(code, duration, 0, dict(self._drops), 1)
        tally.note_traffic(self._finished.traffic)
        return Ended(code, duration, self._finished.left, dict(self._drops), self._finished.errors)

    def _read(self, tally: Tally) -> None:
        with contextlib.suppress(KernelError, OSError):
            while (told := receive_told(self._connection)) is not None:
                if isinstance(told, Batch):
                    for seen in told.seen:
                        tally.note(seen)
                elif isinstance(told, Lost):
                    self._note(told.kind, told.count)
                elif isinstance(told, Finished):
                    self._finished = told
                    return

    def _note(self, kind: str, count: int) -> None:
        self._drops[kind] = self._drops.get(kind, 0) + count
        with contextlib.suppress(KeyError):
            self._on_drop(Drop[kind.upper()], count)

    def close(self) -> None:
        """Let go of the sensor, which ends what is left. Idempotent."""
        self._stack.close()


def _known(told: Told | None) -> Told:
    if told is None:
        raise gone()
    if isinstance(told, Refused):
        raise refusal(told)
    return told

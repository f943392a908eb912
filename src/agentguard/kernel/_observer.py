"""The observer: the programs loaded and proven, the rings read, cgroups watched."""

from __future__ import annotations

import contextlib
import stat
from typing import TYPE_CHECKING

import numpy as np

from agentguard.kernel._handover import Handover
from agentguard.kernel._loader import Loaded, Settings
from agentguard.kernel._reader import Reader
from agentguard.kernel._seen import Traffic
from agentguard.kernel._selftest import self_test

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType
    from typing import Any, Self

    from numpy.typing import NDArray

    from agentguard.kernel._cgroups import Cgroup
    from agentguard.kernel._check import Check
    from agentguard.kernel._layout import Drop

    Table = tuple[NDArray[Any], NDArray[Any]]

_PID_BITS = 48


class Observer:
    """Sees what happens in the cgroups that it is told to watch. What it saw is in `handover`.

    `checks` are the self-test's verdicts, `missing` what this kernel does not have and why. `on_drop` is told
    when records found no room, from the reader's thread. `before_reading` is called once all is loaded and proven and
    no thread has been started: the moment to give up rights.

    Raises:
        KernelError: it cannot be loaded, or does not see what it must; says what to do.
        IntegrityError: the BPF objects are not those that were shipped.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        on_drop: Callable[[Drop, int], None] = lambda _drop, _count: None,
        handover: Handover | None = None,
        before_reading: Callable[[], None] = lambda: None,
    ) -> None:
        self.handover = handover or Handover()
        with contextlib.ExitStack() as stack:
            self.loaded = stack.enter_context(Loaded(settings))
            self.reader = Reader(self.loaded, self.handover, on_drop=on_drop)
            stack.callback(self.reader.stop)
            self.checks: list[Check] = self_test(self.loaded, self.reader, self.handover)
            before_reading()
            self._stack = stack.pop_all()
        self.reader.begin_counting()
        self.reader.start()

    @property
    def missing(self) -> dict[str, str]:
        """The objects that could not be loaded, and why; what they would see is not seen."""
        return self.loaded.missing

    def watch(self, cgroup: Cgroup, *, flags: int = 0) -> None:
        """Watch a cgroup and what is below it.

        Raises:
            KernelError: it cannot be watched.
        """
        self.loaded.guard(cgroup.id, cgroup.fd, flags=flags)

    def unwatch(self, cgroup: Cgroup) -> None:
        """Watch it no longer; what was seen until now is handed over before this returns."""
        self.loaded.release(cgroup.id)
        self.reader.drain(everything=True)

    def traffic(self, cgroup: Cgroup, ended: Iterable[tuple[int, int]] | None = None) -> list[Traffic]:
        """Return what processes in the cgroup have moved: all of them, or those that `ended` (pid and start).

        What ended processes had moved is forgotten with this, so that there is room for others.
        """
        found: list[Traffic] = []
        for sums, forget in self._sums():
            keys, values = sums()
            ours = keys["cgroup"] == np.uint64(cgroup.id)
            if ended is not None:
                marks = np.array([start ^ pid << _PID_BITS for pid, start in ended], "<u8")
                ours &= np.isin(keys["start_ns"] ^ keys["pid"].astype("<u8") << np.uint64(_PID_BITS), marks)
            found += self._named(keys[ours], values[ours])
            if ended is not None:
                forget(keys[ours])
        return found

    def forget(self, cgroup: Cgroup, *, unless: Callable[[int], bool] = lambda _pid: False) -> None:
        """Make room: forget what processes of the cgroup have moved, but not those for whose pid `unless` holds."""
        for sums, forget in self._sums():
            keys, _ = sums()
            ours = keys[keys["cgroup"] == np.uint64(cgroup.id)]
            if len(ours):
                forget(ours[[not unless(pid) for pid in ours["pid"].tolist()]])

    def _sums(self) -> tuple[tuple[Callable[[], Table], Callable[[NDArray[Any]], None]], ...]:
        """Return how to get, and to forget, the sums of the kernel and those for which it had no room."""
        return (
            (self.loaded.sums, self.loaded.forget_sums),
            (self.reader.sums, self.reader.forget_sums),
        )

    def _named(self, keys: NDArray[Any], values: NDArray[Any]) -> Iterator[Traffic]:
        for key, value in zip(keys.tolist(), values.tolist(), strict=True):
            _, ino, _, _, dev = key
            reads, read, writes, written, mode, _ = value
            is_socket = stat.S_IFMT(mode) == stat.S_IFSOCK
            path = "" if is_socket else self.reader.decoder.path(dev, ino)
            yield Traffic(ino, path, is_socket, reads, read, writes, written)

    def close(self) -> None:
        """Hand over what there is, then detach and unload. Idempotent."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

"""The observer: the programs loaded and proven, the rings read, cgroups watched."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from agentguard.kernel._handover import Handover
from agentguard.kernel._loader import Loaded, Settings
from agentguard.kernel._reader import Reader
from agentguard.kernel._selftest import Check, self_test

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from agentguard.kernel._cgroups import Cgroup
    from agentguard.kernel._layout import Drop

TIER = "observe"


class Observer:
    """Sees what happens in the cgroups that it is told to watch. What it saw is in `handover`.

    `checks` are the self-test's verdicts, `missing` what this kernel does not have and why. `on_drop` is told
    when records found no room, from the reader's thread.

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
    ) -> None:
        self.handover = handover or Handover()
        with contextlib.ExitStack() as stack:
            self.loaded = stack.enter_context(Loaded(settings))
            self.reader = Reader(self.loaded, self.handover, on_drop=on_drop)
            stack.callback(self.reader.stop)
            self.checks: list[Check] = self_test(self.loaded, self.reader, self.handover)
            self._stack = stack.pop_all()
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
        """Watch it no longer; what was seen until now is handed over first."""
        self.reader.drain(everything=True)
        self.loaded.release(cgroup.id)

    def close(self) -> None:
        """Hand over what there is, then detach and unload. Idempotent."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

"""Holding a cgroup: frozen, nothing in it runs and nothing is lost; thawed, it goes on; killed, it ends at once."""

from __future__ import annotations

import contextlib
import select
import time
from typing import TYPE_CHECKING

from agentguard.core import KernelError

if TYPE_CHECKING:
    from agentguard.kernel._cgroups import Cgroup

DEADLINE_S = 2.0


class Freezer:
    """Freezes, thaws and kills one cgroup and all below it."""

    def __init__(self, cgroup: Cgroup) -> None:
        self._cgroup = cgroup

    def freeze(self, seconds: float = DEADLINE_S) -> None:
        """Return when every process in it has stopped.

        Raises:
            KernelError: it did not within `seconds` (`freeze_failed`); what runs still runs then.
        """
        self._set(frozen=True, seconds=seconds)

    def thaw(self, seconds: float = DEADLINE_S) -> None:
        """Return when its processes may run again.

        Raises:
            KernelError: it cannot be said to the kernel (`freeze_failed`).
        """
        self._set(frozen=False, seconds=seconds)

    def kill(self) -> None:
        """End every process in it, frozen or not. It is thawed, so that it can be removed."""
        self._cgroup.kill()
        with contextlib.suppress(KernelError):
            self.thaw(0)

    def is_frozen(self) -> bool:
        """Tell whether all that is in it has stopped."""
        return "frozen 1" in (self._cgroup.path / "cgroup.events").read_text()

    def _set(self, *, frozen: bool, seconds: float) -> None:
        wanted = f"frozen {int(frozen)}"
        deadline = time.monotonic() + seconds
        try:
            (self._cgroup.path / "cgroup.freeze").write_text(str(int(frozen)))
            with (self._cgroup.path / "cgroup.events").open() as events:
                poller = select.poll()
                poller.register(events, select.POLLPRI)
                while True:
                    events.seek(0)
                    if wanted in events.read():
                        return
                    left = deadline - time.monotonic()
                    if left <= 0:
                        break
                    poller.poll(left * 1000)
        except OSError as error:
            raise _failure((error.strerror or str(error)).lower()) from None
        if frozen or seconds:
            raise _failure("some process did not stop in time" if frozen else "it did not thaw in time")


def _failure(why: str) -> KernelError:
    return KernelError(
        f"the agent cannot be frozen: {why}",
        code="freeze_failed",
        hint="cgroup v2 of Linux 5.2 or newer has a freezer; see `agentguard doctor`",
    )

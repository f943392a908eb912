"""A place to watch real processes in: a cgroup of its own, and what the kernel says of it."""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agentguard.kernel import Observer, Probe, Settings, probe
from agentguard.kernel._cgroups import Cgroup
from agentguard.kernel._layout import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentguard.kernel._seen import Seen

SMALL = Settings(sec_bytes=8 << 20, io_bytes=4 << 20, sums=8192)
_JOIN = 'read -r _ && exec "$@"'


@functools.cache
def _missing() -> list[Probe]:
    return [each for each in probe() if each.needed and not each.ok]


def why_not() -> str:
    """Return what this machine lacks for these tests, or nothing."""
    return "; ".join(f"{each.name}: {each.detail}" for each in _missing())


@dataclass
class Lab:
    """An observer and one cgroup that it watches."""

    observer: Observer
    cgroup: Cgroup
    seen: list[Seen] = field(default_factory=list)

    def run(self, *argv: str, timeout: float = 20, stdin: bytes = b"") -> int:
        """Run a program in the cgroup, its start included, and take in what was seen."""
        code = self.run_unread(*argv, timeout=timeout, stdin=stdin)
        self.collect()
        return code

    def run_unread(self, *argv: str, timeout: float = 20, stdin: bytes = b"") -> int:
        """Run it, and leave what was seen in the ring."""
        command = ["/bin/sh", "-c", _JOIN, "sh", *argv]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            self.cgroup.add(process.pid)
            process.communicate(b"\n" + stdin, timeout=timeout)
        return process.returncode

    def collect(self) -> None:
        self.observer.reader.drain(everything=True)
        while batch := self.observer.handover.take():
            self.seen += [each for each in batch if each.cgroup == self.cgroup.id]

    @property
    def program(self) -> Seen:
        """What `run` ran; of the shell before it the end of its own start may be seen as well."""
        return [each for each in self.seen if each.kind == Kind.EXEC][-1]

    def wait_for(self, condition: Callable[[Seen], bool], seconds: float = 5) -> Seen:
        """Return the first thing of which `condition` holds."""
        deadline = time.monotonic() + seconds
        while True:
            self.collect()
            for each in self.seen:
                if condition(each):
                    return each
            assert time.monotonic() < deadline, "it was not seen"
            time.sleep(0.01)


@contextlib.contextmanager
def lab(observer: Observer, *, flags: int = 0) -> Iterator[Lab]:
    """Watch a new cgroup until the block ends."""
    cgroup = Cgroup.make(f"test-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        observer.watch(cgroup, flags=flags)
        yield Lab(observer, cgroup)
    finally:
        observer.unwatch(cgroup)
        while observer.handover.take():
            pass
        cgroup.remove()

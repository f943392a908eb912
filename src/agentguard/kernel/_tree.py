"""The processes of a run: who started whom, which program, how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agentguard.kernel._layout import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentguard.kernel._seen import Seen

MAX_ENDED = 4096


class Process(msgspec.Struct):
    """One process. Pid and start time name it for ever; a pid alone names many, one after the other."""

    pid: int
    start_ns: int
    parent: tuple[int, int] | None = None
    ppid: int = 0
    program: str = ""
    script: str = ""
    argv: tuple[str, ...] = ()
    cwd: str = ""
    uid: int = 0
    truncated: bool = False
    exit_code: int | None = None
    signal: int | None = None


class ProcessTree:
    """Follows forks, programs and exits. Ended processes are kept for a while, as late records name them."""

    def __init__(self) -> None:
        self._processes: dict[tuple[int, int], Process] = {}
        self._ended: list[tuple[int, int]] = []
        self.started = 0

    def __len__(self) -> int:
        return len(self._processes)

    def __iter__(self) -> Iterator[Process]:
        return iter(list(self._processes.values()))

    def of(self, seen: Seen) -> Process:
        """Return the process that did this, known from now on."""
        key = (seen.pid, seen.start_ns)
        process = self._processes.get(key)
        if process is None:
            process = self._processes[key] = Process(
                seen.pid, seen.start_ns, ppid=seen.ppid, uid=seen.uid, program=seen.comm
            )
            self.started += 1
        return process

    def has_pid(self, pid: int) -> bool:
        """Tell whether some process of the run has, or had, this pid."""
        return any(each[0] == pid for each in self._processes)

    def ancestors(self, process: Process) -> list[Process]:
        """Return its parent, its parent's parent and so on, as far as they are known."""
        found: list[Process] = []
        key = process.parent
        while key is not None and (above := self._processes.get(key)) is not None and len(found) < 64:  # noqa: PLR2004 - deep enough
            found.append(above)
            key = above.parent
        return found

    def note(self, seen: Seen) -> Process:
        """Take in what the record says of processes, and return the one that it is about."""
        process = self.of(seen)
        if seen.kind == Kind.FORK:
            key = (seen.a0, seen.a1)
            self.started += key not in self._processes
            self._processes[key] = Process(
                seen.a0, seen.a1, (process.pid, process.start_ns), process.pid, process.program, process.script,
                process.argv, process.cwd, process.uid,
            )  # fmt: skip
        elif seen.kind == Kind.EXEC:
            process.program, process.script = seen.path or seen.other, seen.other
            process.argv, process.cwd, process.uid = seen.argv, seen.cwd, seen.uid
            process.truncated = seen.truncated
        elif seen.kind == Kind.EXIT:
            # As wait(2) has it: the code above, the signal below.
            process.exit_code, process.signal = (seen.ret >> 8) & 0xFF, seen.ret & 0x7F
            self._ended.append((process.pid, process.start_ns))
            self._forget()
        return process

    def take_ended(self) -> list[tuple[int, int]]:
        """Return those that have ended and are still kept."""
        return list(self._ended)

    def _forget(self) -> None:
        while len(self._ended) > MAX_ENDED:
            self._processes.pop(self._ended.pop(0), None)

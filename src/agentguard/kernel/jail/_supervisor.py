"""The supervisor: the first process of the agent's process namespace. If it dies, the kernel ends all others there.

It holds the descriptors at which the kernel asks: about opens of denied files (fanotify), about refused system calls
(seccomp). It answers each with no, and tells the launcher; when the launcher is gone, it goes too.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

import msgspec

from agentguard.kernel.jail._calls import prctl
from agentguard.kernel.jail._descriptors import close_others
from agentguard.kernel.jail._fanotify import Marks
from agentguard.kernel.jail._namespaces import mask, mount_proc, seal_memory_files
from agentguard.kernel.jail._notify import answer

if TYPE_CHECKING:
    from agentguard.kernel.jail._plan import Plan

_PR_SET_DUMPABLE = 4
_NAME = "agentguard-jail"
AGENT, TESTER = "agent", "tester"
# What is told of one run; the rest is counted.
_MAX_TOLD = 2_000


class Pids(msgspec.Struct, frozen=True, tag="pids"):
    """The processes that were made, as the launcher sees them; `problem` is why there are no namespaces."""

    supervisor: int
    tester: int
    agent: int
    problem: str = ""


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """What the supervisor has put in place: what failed, by protection, and why."""

    failed: dict[str, str]
    sealed: bool
    marks: int


class Denied(msgspec.Struct, frozen=True, tag="denied"):
    """Something that was refused: `by` which layer, `what` (a system call or a file), and who asked."""

    by: Literal["seccomp", "fanotify", "cgroup"]
    what: str
    detail: str
    program: str


Told = Pids | Ready | Denied
_decoder = msgspec.json.Decoder(Told)


def read_told(data: bytes) -> Told:
    """Return what the supervisor said.

    Raises:
        msgspec.DecodeError: it is nothing that a supervisor says.
    """
    told: Told = _decoder.decode(data)
    return told


class Supervisor:
    """Runs in a process of its own until the launcher's end of `channel` is closed."""

    def __init__(self, channel: socket.socket, arrivals: socket.socket, plan: Plan) -> None:
        self._channel, self._arrivals, self._plan = channel, arrivals, plan
        self._failed: dict[str, str] = {}
        self._marks: Marks | None = None
        self._sealed = False
        self._listeners: dict[int, str] = {}
        self._tester = -1
        self._told: set[Denied] = set()

    def serve(self, *, separated: bool, marking: bool) -> NoReturn:
        """Put in place what belongs to the namespaces, then answer until the end."""
        try:
            self._settle()
            if separated:
                self._try("process-namespace", mount_proc)
            if marking:
                # Before the masks: where one lies, a mark would be on what it is made of.
                self._try("fanotify", self._mark)
            if separated:
                self._try("masks", lambda: mask(self._plan.masks))
                self._sealed = seal_memory_files()
            self._leave_streams()
            prctl(_PR_SET_DUMPABLE, 0)
            self._tell(Ready(self._failed, self._sealed, self._marks.count if self._marks else 0))
            self._loop()
        finally:
            os._exit(0)

    def _settle(self) -> None:
        for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
            # What loses its parent becomes our child, and the kernel buries it.
            signal.signal(number, signal.SIG_IGN)
        with contextlib.suppress(OSError):
            Path("/proc/self/comm").write_text(_NAME)

    def _try(self, name: str, step: object) -> None:
        assert callable(step)
        try:
            step()
        except OSError as error:
            what = f" ({error.filename})" if error.filename else ""
            self._failed[name] = (error.strerror or str(error)).lower() + what

    def _mark(self) -> None:
        self._marks = Marks()
        self._marks.add(self._plan.marks)

    def _leave_streams(self) -> None:
        """Hold nothing of the agent's open: who reads its output waits for the last who could write."""
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        kept = {self._channel.fileno(), self._arrivals.fileno()}
        close_others(kept | ({self._marks.fd} if self._marks else set()))

    def _loop(self) -> None:
        poller = select.poll()
        poller.register(self._channel, select.POLLIN)
        poller.register(self._arrivals, select.POLLIN)
        if self._marks is not None:
            poller.register(self._marks.fd, select.POLLIN)
        while True:
            for fd, event in poller.poll():
                if fd == self._channel.fileno():
                    return
                if fd == self._arrivals.fileno():
                    self._take_listener(poller)
                elif self._marks is not None and fd == self._marks.fd:
                    self._refuse_opens(self._marks)
                else:
                    self._refuse(poller, fd, event)

    def _take_listener(self, poller: select.poll) -> None:
        words, descriptors, _, _ = socket.recv_fds(self._arrivals, 32, 1)
        if not descriptors:
            # All who could send have been replaced by their programs.
            poller.unregister(self._arrivals)
        whose, _, pid = words.decode().partition(" ")
        if whose == TESTER:
            self._tester = int(pid)
        for fd in descriptors:
            self._listeners[fd] = whose
            poller.register(fd, select.POLLIN)

    def _refuse_opens(self, marks: Marks) -> None:
        for each in marks.answer():
            if each.pid != self._tester:
                self._note(Denied("fanotify", each.path, "", each.program))

    def _refuse(self, poller: select.poll, fd: int, event: int) -> None:
        try:
            refusal = answer(fd) if event & select.POLLIN else None
        except OSError:
            event = select.POLLHUP
            refusal = None
        if refusal is not None and self._listeners[fd] != TESTER:
            self._note(Denied("seccomp", refusal.name, refusal.detail, refusal.program))
        if event & (select.POLLHUP | select.POLLERR):
            poller.unregister(fd)
            os.close(fd)
            del self._listeners[fd]

    def _note(self, denied: Denied) -> None:
        """Tell of each thing once, however often it is tried."""
        if denied not in self._told and len(self._told) < _MAX_TOLD:
            self._told.add(denied)
            self._tell(denied)

    def _tell(self, told: Told) -> None:
        # A launcher that is slow holds up no answer to the kernel.
        with contextlib.suppress(OSError):
            self._channel.send(msgspec.json.encode(told), socket.MSG_DONTWAIT)

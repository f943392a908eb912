"""The jail: a child that confines itself before its program runs, beside a supervisor, after a self-test.

Four forks of the launcher, which has no threads yet: a middle process that leaves its namespaces and has the other three
as children of the launcher: the supervisor (the first process of the namespaces), the tester, and the agent.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

import msgspec

from agentguard.core import KernelError
from agentguard.kernel._cgroups import Cgroup
from agentguard.kernel._launch import Child
from agentguard.kernel._pids import ProcessLimit
from agentguard.kernel.jail._calls import prctl
from agentguard.kernel.jail._canaries import Canary, Scene, Verdict, attempt, benign, canaries, work
from agentguard.kernel.jail._confine import ConfinementError, Fit, confine, prepare_files
from agentguard.kernel.jail._namespaces import separate, why_not
from agentguard.kernel.jail._supervisor import AGENT, TESTER, Denied, Pids, Ready, Supervisor, read_told

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentguard.kernel.jail._plan import Plan

_PR_SET_CHILD_SUBREAPER = 36
_DEADLINE_S = 10.0
_MAX_MESSAGE = 1 << 16
_REFUSED_STEP = 255


class NoNamespacesError(Exception):
    """This system lets nobody, or not this user, make namespaces; the text says why."""


class Start(msgspec.Struct, frozen=True):
    """How the jail is made: with namespaces, with fanotify, and what else is to be attempted in the self-test.

    `begin` is called with the child's cgroup, None where it has none, before the attempts: it puts on what holds from
    outside, as programs on the cgroup do. `within` is called in the new namespaces, before anything is given up.
    `most_processes` is what a control group holds it to; 0 where it holds itself to that.
    """

    separate: bool
    network: bool
    marking: bool
    fit: Fit
    scene: Scene
    more: tuple[Canary, ...] = ()
    begin: Callable[[Cgroup | None], None] | None = None
    within: Callable[[], None] | None = None
    most_processes: int = 0


class Jail(Child):
    """A child in a jail. Make it before there are threads: it forks.

    `settle` makes the self-test, once; `on_denied` is told from another thread of what is refused while it runs.
    """

    def __init__(
        self,
        argv: Sequence[str],
        plan: Plan,
        start: Start,
        *,
        environ: Mapping[str, str] | None = None,
        on_denied: Callable[[Denied], None] = lambda _denied: None,
    ) -> None:
        """Fork.

        Raises:
            KernelError: there is no such program (`program_missing`), or the jail cannot be made (`jail_failed`).
            NoNamespacesError: it cannot have namespaces. Nothing was started.
        """
        self._plan, self._start, self._on_denied = plan, start, on_denied
        self.verdicts: list[Verdict] = []
        self._reader: threading.Thread | None = None
        self.limit_problem = ""
        self.ready = Ready({}, sealed=False, marks=0)
        super().__init__(argv, environ=environ)

    # Forking.

    def _fork(self, become: Callable[[], NoReturn]) -> int:
        self._channel, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._arrivals, self._supervisor_socket = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._test_go_reader, self._test_go = os.pipe2(os.O_CLOEXEC)
        self._test_reader, self._test_writer = os.pipe2(os.O_CLOEXEC)
        ours, rules = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        prctl(_PR_SET_CHILD_SUBREAPER, 1)
        # A collection in a child would touch, and so copy, all that there is.
        gc.freeze()
        middle = os.fork()
        if middle == 0:
            gc.disable()
            ours.close()
            self._divide(become, rules)
        gc.unfreeze()
        rules.close()
        with ours:
            self._send_ruleset(ours)
        for each in (self._theirs, self._arrivals, self._supervisor_socket):
            each.close()
        for fd in (self._test_go_reader, self._test_writer):
            os.close(fd)
        os.waitpid(middle, 0)
        pids: Pids | None = None
        ready: Ready | None = None
        while pids is None or ready is None:
            # Either may be the first to be heard.
            told = self._receive()
            if isinstance(told, Pids) and not told.problem:
                pids = told
                self._supervisor, self._tester, self._agent = told.supervisor, told.tester, told.agent
            elif isinstance(told, Ready):
                ready = told
            else:
                self.close()
                self._restore()
                if isinstance(told, Pids):
                    raise NoNamespacesError(told.problem)
                raise _failed("its processes do not start")
        self.ready = ready
        return pids.agent

    def _send_ruleset(self, rules: socket.socket) -> None:
        """Make the ruleset for all processes of the jail, beside what they do meanwhile: it is about inodes, not names."""
        try:
            ruleset = prepare_files(self._plan, self._start.fit)
        except OSError:
            # They end, and that is told.
            return
        with contextlib.suppress(OSError):
            socket.send_fds(rules, [b"."], [ruleset] if ruleset >= 0 else [])
        if ruleset >= 0:
            os.close(ruleset)

    def _divide(self, become: Callable[[], NoReturn], rules: socket.socket) -> NoReturn:
        """Leave the namespaces, fork the three, say who they are, and end: they become the launcher's own."""
        try:
            if self._start.separate:
                try:
                    separate(network=self._start.network)
                    if self._start.within is not None:
                        self._start.within()
                except OSError as error:
                    self._theirs.send(msgspec.json.encode(Pids(-1, -1, -1, why_not(error))))
                    os._exit(0)
            supervisor = os.fork()
            if supervisor == 0:
                # No process keeps an end of what another waits for the end of.
                self._channel.close()
                self._supervisor_socket.close()
                rules.close()
                Supervisor(self._theirs, self._arrivals, self._plan).serve(
                    separated=self._start.separate, marking=self._start.marking
                )
            said, given, _, _ = socket.recv_fds(rules, 1, 1)
            if not said:
                os._exit(1)
            rules.close()
            self._ruleset = given[0] if given else -1
            tester = os.fork()
            if tester == 0:
                self._test()
            agent = os.fork()
            if agent == 0:
                self._channel.close()
                for fd in (self._test_go, self._test_writer):
                    os.close(fd)
                become()
            self._theirs.send(msgspec.json.encode(Pids(supervisor, tester, agent)))
        finally:
            os._exit(0)

    def _receive(self) -> object:
        self._channel.settimeout(_DEADLINE_S)
        try:
            data = self._channel.recv(_MAX_MESSAGE)
        except OSError:
            return None
        finally:
            self._channel.settimeout(None)
        return read_told(data) if data else None

    def _has_parent(self) -> bool:
        # From within a process namespace, a parent outside has no pid.
        return os.getppid() in {0, self._parent}

    # In the agent's process.

    def _confine(self, failed: int) -> None:
        try:
            confine(
                self._plan,
                self._start.fit,
                self._supervisor_socket,
                (failed,),
                ruleset=self._ruleset,
                whose=AGENT,
            )
        except ConfinementError as error:
            with contextlib.suppress(OSError):
                os.write(failed, bytes([_REFUSED_STEP]) + str(error).encode())
            os._exit(126)

    # In the tester's process.

    def _test(self) -> NoReturn:
        try:
            # Later nothing can be imported.
            made, ordinary = [*canaries(self._start.scene), *self._start.more], benign(self._start.scene)
            encoder = msgspec.json.Encoder()
            self._channel.close()
            os.close(self._go)
            os.close(self._test_go)
            if not os.read(self._test_go_reader, 1):
                os._exit(1)
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            verdicts = []
            try:
                confine(
                    self._plan,
                    self._start.fit,
                    self._supervisor_socket,
                    (self._test_writer,),
                    ruleset=self._ruleset,
                    whose=TESTER,
                )
                verdicts = [*map(attempt, made), *map(work, ordinary)]
            except ConfinementError as error:
                verdicts = [Verdict(error.step, "be confined", ok=False, detail=os.strerror(error.number))]
            with open(self._test_writer, "wb", closefd=False) as answer:
                answer.write(encoder.encode(verdicts) + b"\n")
        finally:
            os._exit(0)

    # In the launcher.

    @property
    def tester(self) -> int:
        """The pid of the process that makes the self-test's attempts; it waits for `settle`."""
        return self._tester

    def settle(self, cgroup: Cgroup | None) -> None:
        """Make the self-test, in `cgroup` where there is one; `verdicts` has what came of it."""
        # The kernel takes its time for groups, which the attempts need not wait for.
        limiting = threading.Thread(target=self._limit_processes, name="agentguard-pids")
        limiting.start()
        try:
            if self._start.begin is not None:
                self._start.begin(cgroup)
            if cgroup is not None:
                cgroup.add(self._tester)
            self.verdicts = self._prove()
        finally:
            limiting.join()

    def _limit_processes(self) -> None:
        if self._start.most_processes:
            try:
                self._limit = ProcessLimit(self.pid, self._start.most_processes, self._tell_limit)
            except KernelError as error:
                self.limit_problem = error.message

    def _tell_limit(self) -> None:
        self._on_denied(Denied("cgroup", "fork", str(self._start.most_processes), ""))

    def _prove(self) -> list[Verdict]:
        """Have the attempts made, and return their verdicts.

        Raises:
            KernelError: the tester does not answer (`jail_failed`).
        """
        os.write(self._test_go, b"\n")
        data = b""
        deadline = time.monotonic() + _DEADLINE_S
        while select.select([self._test_reader], [], [], max(0.0, deadline - time.monotonic()))[0]:
            piece = os.read(self._test_reader, _MAX_MESSAGE)
            data += piece
            # What the attempts may have left running keeps the pipe open.
            if not piece or data.endswith(b"\n"):
                break
        # It is buried when the agent runs, which need not wait for that.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._tester, signal.SIGKILL)
        if not data.endswith(b"\n"):
            raise _failed("its self-test has not answered")
        return msgspec.json.decode(data, type=list[Verdict])

    def go(self) -> None:
        """Let it run its program, in the jail.

        Raises:
            KernelError: the system refuses to run it (`program_refused`), or to confine it (`jail_failed`).
        """
        super().go()
        self._reader = threading.Thread(target=self._listen, name="agentguard-jail", daemon=True)
        self._reader.start()
        if self._limit is not None:
            self._limit.watch()

    def wait(self) -> int:
        """Pass signals on until it ends, and return its exit code, or 128 and the signal that ended it."""
        try:
            return super().wait()
        finally:
            self._ended = self._waited = True

    def _refused(self, why: bytes) -> KernelError:
        if why[0] != _REFUSED_STEP:
            return super()._refused(why)
        return _failed(why[1:].decode("utf-8", "replace"))

    def _listen(self) -> None:
        self._bury(self._tester)
        self._tester = -1
        with contextlib.suppress(OSError, msgspec.DecodeError):
            while data := self._channel.recv(_MAX_MESSAGE):
                told = read_told(data)
                if isinstance(told, Denied):
                    self._on_denied(told)
        # Without its supervisor the agent does not go on, also where there is no namespace that ends it.
        with contextlib.suppress(ProcessLookupError):
            if not self._ended:
                os.kill(self.pid, signal.SIGKILL)

    def kill(self) -> None:
        """End the agent and all that it started, at once."""
        for pid in (self._supervisor, self._agent):
            if pid > 0 and not self._ended:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """End the supervisor, and with it what is left in its namespace. Idempotent."""
        if self._closed:
            return
        self._closed = self._ended = True
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)
        if self._reader is not None:
            self._reader.join(_DEADLINE_S)
        for pid in (self._tester, self._agent if not self._waited else -1, self._supervisor):
            # The first process of a namespace ends when the last other one is buried: it comes last.
            if pid > 0:
                self._bury(pid)
        self._channel.close()
        for fd in (self._test_reader, self._test_go):
            os.close(fd)
        if self._limit is not None:
            self._limit.close()

    _closed = _ended = _waited = False
    _supervisor = _tester = _agent = _ruleset = -1
    _limit: ProcessLimit | None = None

    def abandon(self) -> None:
        """End it before it has run, and its supervisor in any case. Idempotent."""
        if self._go >= 0:
            super().abandon()
            self._waited = True
        self.close()
        self._restore()

    def _bury(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _failed(why: str) -> KernelError:
    return KernelError(
        f"the jail cannot be made: {why}",
        code="jail_failed",
        hint="`agentguard doctor` shows what is missing",
    )

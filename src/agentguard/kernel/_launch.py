"""Launching: a child that waits until it is watched, and then is as if it had been started without us."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import signal
import sys
from typing import TYPE_CHECKING, NoReturn, Protocol

from agentguard.core import KernelError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agentguard.kernel._brake import Brake
    from agentguard.kernel._cgroups import Cgroup

_FORWARDED = frozenset(
    (
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGCONT,
    )
)
_WAITED = _FORWARDED | {signal.SIGCHLD}
# What a frozen process could not act on.
_THAWING = _FORWARDED - {signal.SIGUSR1, signal.SIGUSR2}
# That a child has ended may be told to a thread that does not care, of a library or a test.
_LOOK_AGAIN_S = 0.5
_SI_KERNEL = 0x80
_PR_SET_PDEATHSIG = 1
NOT_FOUND, NOT_EXECUTABLE = 127, 126
_MAX_WHY = 1024


class Child:
    """A forked process that has not run its program yet. Fork it before there are threads.

    Its signals, streams, folder and terminal are those that this process was given. When this process dies,
    however that comes, so does the child.
    """

    def __init__(self, argv: Sequence[str], *, environ: Mapping[str, str] | None = None) -> None:
        """Fork.

        Raises:
            KernelError: there is no such program (`program_missing`).
        """
        environ = os.environ if environ is None else environ
        self.brake: Brake | None = None
        program = find_program(argv[0], environ)
        self._go_reader, self._go = os.pipe2(os.O_CLOEXEC)
        self._failed, failed_writer = os.pipe2(os.O_CLOEXEC)
        # What is sent from now on waits for `wait`, and reaches the child as it is.
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED)
        self._parent = os.getpid()
        self.pid = self._fork(lambda: self._become(program, argv, environ, failed_writer))
        os.close(failed_writer)
        os.close(self._go_reader)

    def _fork(self, become: Callable[[], NoReturn]) -> int:
        """Return the pid of a new process that does `become`."""
        pid = os.fork()
        if pid == 0:
            become()
        return pid

    def _has_parent(self) -> bool:
        return os.getppid() == self._parent

    def _confine(self, failed: int) -> None:
        """Do what the child does to itself last; `failed` is where it says what went wrong."""

    def _become(self, program: str, argv: Sequence[str], environ: Mapping[str, str], failed: int) -> NoReturn:
        try:
            os.close(self._go)
            if not os.read(self._go_reader, 1):
                os._exit(NOT_EXECUTABLE)
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if not self._has_parent():
                os._exit(NOT_EXECUTABLE)
            # Python ignores these; what we start must not inherit that.
            for number in (signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            self._confine(failed)
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            os.execve(program, list(argv), dict(environ))  # noqa: S606 - it is what we were asked to run
        except OSError as error:
            with contextlib.suppress(OSError):
                os.write(failed, bytes([error.errno or errno.EINVAL]))
        finally:
            os._exit(NOT_EXECUTABLE)

    def settle(self, cgroup: Cgroup | None) -> None:
        """Do what is to be done once it is in its cgroup, and is not watched yet."""

    def go(self) -> None:
        """Let it run its program.

        Raises:
            KernelError: the system refuses to run it (`program_refused`).
        """
        os.write(self._go, b"\n")
        os.close(self._go)
        self._go = -1
        why = os.read(self._failed, _MAX_WHY)
        os.close(self._failed)
        self._failed = -1
        if why:
            os.waitpid(self.pid, 0)
            self._restore()
            raise self._refused(why)

    def _refused(self, why: bytes) -> KernelError:
        """Return the error that the child's last words stand for."""
        return KernelError(
            f"the program cannot be run: {os.strerror(why[0]).lower()}",
            code="program_refused",
            hint="it must be executable, and of a format that this machine knows",
        )

    def wait(self) -> int:
        """Pass signals on until it ends, and return its exit code, or 128 and the signal that ended it."""
        try:
            while True:
                info = signal.sigtimedwait(_WAITED, _LOOK_AGAIN_S)
                if info is None or info.si_signo == signal.SIGCHLD:
                    status = self._poll()
                    if status is not None:
                        return status
                    continue
                if self.brake is not None and info.si_signo in _THAWING:
                    self.brake.thaw()
                if info.si_code != _SI_KERNEL:
                    # What the terminal sends, it sends to the child by itself.
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(self.pid, info.si_signo)
        finally:
            self._restore()

    def _poll(self) -> int | None:
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
        except ChildProcessError:
            return NOT_EXECUTABLE
        if pid == 0:
            return None
        if os.WIFSTOPPED(status) and self.brake is not None and self.brake.is_on:
            return None
        if os.WIFSTOPPED(status):
            # Ctrl-Z: the shell must see us stop as well, and bring us back with SIGCONT.
            os.kill(os.getpid(), signal.SIGSTOP)
            return None
        return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)

    def abandon(self) -> None:
        """End it before it has run. Idempotent."""
        if self._go < 0:
            return
        os.close(self._go)
        self._go = -1
        os.close(self._failed)
        os.waitpid(self.pid, 0)
        self._restore()

    def _restore(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)


def find_program(name: str, environ: Mapping[str, str]) -> str:
    """Return the path of a program.

    Raises:
        KernelError: there is none of that name (`program_missing`).
    """
    program = shutil.which(name, path=environ.get("PATH", os.defpath))
    if program is None:
        # A name with a slash that cannot be run gives the system's own reason when it is tried.
        if "/" not in name:
            raise KernelError(
                f"there is no program `{name}`",
                code="program_missing",
                hint="write its path, or mend PATH",
            )
        program = name
    return program


class MakeChild(Protocol):
    """Forks the child of a command: `Child` itself, or what confines it too."""

    def __call__(self, argv: Sequence[str], *, environ: Mapping[str, str] | None = None) -> Child:
        """Return the child, which waits."""


class Guardian:
    """A process that outlives this one if that is killed, and then ends the cgroup and removes it.

    Fork it before there are threads.
    """

    def __init__(self, cgroup: Cgroup) -> None:
        reader, self._writer = os.pipe2(os.O_CLOEXEC)
        self._pid = os.fork()
        if self._pid == 0:
            self._stand_by(reader, cgroup)
        os.close(reader)

    def _stand_by(self, reader: int, cgroup: Cgroup) -> NoReturn:
        try:
            # In a session of its own, it hears nothing from the terminal.
            os.setsid()
            signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
            os.close(self._writer)
            null = os.open(os.devnull, os.O_RDWR)
            for each in (sys.stdin, sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    os.dup2(null, each.fileno())
            if not os.read(reader, 1):
                cgroup.remove()
        finally:
            os._exit(0)

    def dismiss(self) -> None:
        """Say that all is well. Idempotent."""
        if self._writer < 0:
            return
        with contextlib.suppress(OSError):
            os.write(self._writer, b".")
        os.close(self._writer)
        self._writer = -1
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

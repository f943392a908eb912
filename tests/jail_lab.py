"""A jail to try to get out of: a world of its own for each attempt, listeners outside, and any user's rights."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import select
import shutil
import signal
import socket
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import neighbours  # noqa: F401 - it fills its table
from agentguard.kernel._cgroups import Cgroup, find_mount
from agentguard.kernel._rules import KernelPolicy, PathRule
from agentguard.kernel.jail import Canary, Enforcement, Wanted, compile_policy, find_profile
from agentguard.kernel.jail._calls import call
from bypasses import ANSWER, ATTEMPTS, MARKER, NEIGHBOURS, TOKEN, Attempt, World, reaches

NOBODY = 65534
RULE = "test-rule"


@dataclass(frozen=True)
class Outcome:
    """What came of each attempt where nothing guards, and in the jail."""

    unguarded: dict[str, bool]
    guarded: dict[str, bool]

    @property
    def possible(self) -> list[str]:
        """The attempts that reach their goal where nothing guards."""
        return [name for name, reached in self.unguarded.items() if reached]

    @property
    def bypasses(self) -> list[str]:
        """Those that reach it in the jail as well."""
        return [name for name in self.possible if self.guarded[name]]


class Outside:
    """What listens outside: TCP, UDP that answers, unix sockets; one folder below which the worlds are."""

    def __init__(self) -> None:
        self.base = tempfile.mkdtemp(prefix="agentguard-jail-", dir="/var/lib")
        os.chmod(self.base, 0o755)
        self._stack = contextlib.ExitStack()
        self._stack.callback(shutil.rmtree, self.base, ignore_errors=True)
        made = self._stack.enter_context
        self.tcp = made(socket.create_server(("127.0.0.1", 0), backlog=64))
        self.tcp6 = made(socket.create_server(("::1", 0), family=socket.AF_INET6, backlog=64))
        self.unix = made(socket.socket(socket.AF_UNIX))
        self.unix.bind(f"{self.base}/outside.sock")
        os.chmod(f"{self.base}/outside.sock", 0o777)
        self.unix.listen(64)
        self.abstract = made(socket.socket(socket.AF_UNIX))
        self.abstract.bind(f"\0agentguard-test-{os.getpid()}")
        self.abstract.listen(64)
        self.udp = made(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.udp.bind(("127.0.0.1", 0))
        self._answerer = os.fork()
        if self._answerer == 0:
            self._answer()
        self._count = 0

    def _answer(self) -> None:
        try:
            while True:
                for each in select.select([self.udp, self.tcp, self.tcp6], [], [])[0]:
                    with contextlib.suppress(OSError):
                        self._answer_one(each)
        finally:
            os._exit(0)

    def _answer_one(self, listener: socket.socket) -> None:
        if listener is self.udp:
            data, peer = listener.recvfrom(16)
            listener.sendto(data, peer)
        else:
            with listener.accept()[0] as made:
                made.sendall(ANSWER)
                # Until whoever has connected has read it.
                made.settimeout(1)
                made.recv(16)

    def close(self) -> None:
        os.kill(self._answerer, signal.SIGKILL)
        os.waitpid(self._answerer, 0)
        self._stack.close()

    def world(self, *, linked: bool = True) -> World:
        """Lay out a world for this user, with another name of the secret or without one."""
        self._count += 1
        base = tempfile.mkdtemp(prefix=f"{os.geteuid()}-", dir=self.base)
        work, shut, outside = f"{base}/folder", f"{base}/folder/shut", f"{base}/outside"
        for folder in (work, shut, outside):
            Path(folder).mkdir()
        for name in ("secret", "moved"):
            Path(f"{shut}/{name}").write_bytes(TOKEN + b" of " + name.encode())
        Path(f"{shut}/program").write_text(MARKER)
        Path(f"{shut}/program").chmod(0o700)
        if linked:
            Path(f"{work}/linked").hardlink_to(f"{shut}/secret")
        inherited, other = socket.socketpair()
        self._stack.callback(other.close)
        self._stack.callback(inherited.close)
        os.set_inheritable(inherited.fileno(), True)
        return World(
            work=work, shut=shut, secret=f"{shut}/secret", program=f"{shut}/program", linked=f"{work}/linked",
            moved=f"{shut}/moved", outside=outside, tcp=self.tcp.getsockname()[1], tcp6=self.tcp6.getsockname()[1],
            udp=self.udp.getsockname()[1], unix=f"{self.base}/outside.sock",
            abstract=f"agentguard-test-{_pid_of(self.abstract)}", inherited=inherited.fileno(),
            monitor=os.getpid(), cgroup=str(find_mount()), handle=_handle(f"{shut}/secret"),
        )  # fmt: skip


def _pid_of(abstract: socket.socket) -> str:
    name: bytes = abstract.getsockname()
    return name.decode().rpartition("-")[2]


def _handle(path: str) -> bytes:
    """Return what name_to_handle_at(2) calls a file; nothing where it has no such name."""
    handle = ctypes.create_string_buffer(struct.pack("=II", 128, 0), 136)
    mount = ctypes.c_int()
    try:
        call("name_to_handle_at", -100, path.encode(), handle, ctypes.byref(mount), 0)
    except OSError:
        return b""
    return handle.raw


def policy_for(world: World) -> KernelPolicy:
    """Return the policy of a coding agent in the world's workspace, whose `shut` a rule denies."""
    wanted = Wanted(find_profile("coding-agent"), home="", path_variable="", workspace=world.work)
    policy = compile_policy(None, wanted).policy
    denied = PathRule(world.shut, ("read", "write", "execute"), "deny", RULE)
    return KernelPolicy(
        1, "", "", "enforce", (*policy.paths, denied), policy.networks, policy.domains, policy.sockets
    )


Make = Callable[[World, Sequence[Canary]], Enforcement]


def make_enforcement(world: World, more: Sequence[Canary]) -> Enforcement:
    """Return the enforcement without what other rooms add to it."""
    return Enforcement(policy_for(world), workspace=world.work, more=more)


def jailed(
    outside: Outside, attempts: Iterable[Attempt], make: Make = make_enforcement, cgroup: Cgroup | None = None
) -> dict[str, bool]:
    """Return which attempts reach their goal in one jail; each runs in a process of its own there."""
    world = outside.world()
    enforcement = make(world, [_canary(each, world) for each in attempts])
    jail = enforcement.make_child(["/bin/true"])
    try:
        jail.settle(cgroup)
        found = {each.name: not each.ok for each in enforcement.verdicts if each.protection == "attempt"}
        enforcement.judge()
    finally:
        jail.abandon()
    return found


def _canary(each: Attempt, world: World) -> Canary:
    def go() -> None:
        if not reaches(each.go, world):
            raise PermissionError(errno.EPERM, "it has not reached its goal")

    return Canary("attempt", each.name, go)


def unguarded(outside: Outside, attempts: Iterable[Attempt]) -> dict[str, bool]:
    """Return which attempts reach their goal where nothing guards, each in a world of its own."""
    return {each.name: reaches(each.go, outside.world()) for each in attempts}


def matrix(outside: Outside, make: Make = make_enforcement, cgroup: Cgroup | None = None) -> Outcome:
    """Return what came of all attempts."""
    return Outcome(unguarded(outside, ATTEMPTS), jailed(outside, ATTEMPTS, make, cgroup))


def benign(outside: Outside, make: Make = make_enforcement, cgroup: Cgroup | None = None) -> Outcome:
    """Return what came of all neighbours."""
    return Outcome(unguarded(outside, NEIGHBOURS), jailed(outside, NEIGHBOURS, make, cgroup))


def tell(outcome: Outcome, who: str) -> None:
    """Print how many attempts are possible here, how many of those are blocked, and which are not possible."""
    possible, blocked = outcome.possible, len(outcome.possible) - len(outcome.bypasses)
    print(
        f"{who}: {len(possible)} of {len(outcome.unguarded)} attempts possible unguarded, {blocked} of them blocked"
    )
    for name in outcome.unguarded:
        if name not in possible:
            print(f"  not possible here: {name}")


@contextlib.contextmanager
def outside() -> Iterator[Outside]:
    """Listen until the block ends."""
    made = Outside()
    try:
        yield made
    finally:
        made.close()


def as_user(uid: int, go: Callable[[], Any]) -> Any:
    """Return what `go` returns in a process of that user, without any rights; through JSON."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            # A process that has changed its user is closed to its own user as well.
            ctypes.CDLL(None).prctl(4, 1)
            os.write(writer, json.dumps(go()).encode())
        except BaseException as error:  # noqa: BLE001 - it is told to the test
            os.write(writer, json.dumps({"error": repr(error)}).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as stream:
        answer = json.loads(stream.read())
    os.waitpid(pid, 0)
    assert not (isinstance(answer, dict) and "error" in answer), answer
    return answer


__all__ = ["NOBODY", "RULE", "Outcome", "Outside", "as_user", "benign", "jailed", "matrix", "outside", "tell"]

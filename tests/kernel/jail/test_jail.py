"""The jail itself: how it begins, how it ends, and what happens when something goes wrong in between."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from agentguard.core import KernelError
from agentguard.kernel._rules import PathRule
from agentguard.kernel.jail import Canary, Denied, Enforcement, _enforcement, _jail
from agentguard.kernel.jail._landlock import abi
from agentguard.kernel.jail._namespaces import separate
from jail_lab import NOBODY, Outside, as_user, outside, policy_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bypasses import World

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="lays out files of other users"),
    pytest.mark.skipif(abi() < 6, reason="this kernel has no Landlock with scopes"),
]


@pytest.fixture(scope="module")
def there() -> Iterator[Outside]:
    with outside() as made:
        Path(made.base).chmod(0o777)
        yield made


def start(world: World, *argv: str, **options: object) -> tuple[Enforcement, _jail.Jail]:
    enforcement = Enforcement(policy_for(world), workspace=world.work, **options)  # type: ignore[arg-type]  # as they come
    jail = enforcement.make_child(argv)
    jail.settle(None)
    return enforcement, jail


@contextlib.contextmanager
def running(world: World, *argv: str, **options: object) -> Iterator[_jail.Jail]:
    enforcement, jail = start(world, *argv, **options)
    try:
        enforcement.judge()
        jail.go()
        yield jail
    finally:
        jail.abandon()


def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it has not come to that"
        time.sleep(0.005)


def test_code_of_the_program_is_that_of_the_child(there: Outside) -> None:
    with running(there.world(linked=False), "/bin/sh", "-c", "exit 41") as jail:
        assert jail.wait() == 41


def test_signal_that_is_sent_to_the_launcher_reaches_the_program(there: Outside) -> None:
    world = there.world(linked=False)
    script = f"trap 'exit 7' TERM; touch {world.work}/ready; while :; do sleep 0.01; done"
    with running(world, "/bin/sh", "-c", script) as jail:
        until(Path(world.work, "ready").exists)
        # To the thread that launched: other tests' threads, which a launcher has none of, would die of it.
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        assert jail.wait() == 7


def test_program_ended_by_a_signal_says_so(there: Outside) -> None:
    with running(there.world(linked=False), "/bin/sh", "-c", "kill -9 $$") as jail:
        assert jail.wait() == 128 + 9


def test_first_process_is_the_supervisor_and_nobody_else_is_seen(there: Outside) -> None:
    world = there.world(linked=False)
    script = f"cat /proc/1/comm > {world.work}/first; ls /proc > {world.work}/pids"
    with running(world, "/bin/sh", "-c", script) as jail:
        assert jail.wait() == 0
    assert Path(world.work, "first").read_text() == "agentguard-jail\n"
    pids = [each for each in Path(world.work, "pids").read_text().split() if each.isdigit()]
    assert len(pids) <= 4


def test_when_the_supervisor_is_killed_the_agent_is_gone(there: Outside) -> None:
    world = there.world(linked=False)
    with running(world, "/bin/sh", "-c", f"touch {world.work}/ready; setsid sleep 60 & sleep 60") as jail:
        until(Path(world.work, "ready").exists)
        os.kill(jail._supervisor, signal.SIGKILL)
        assert jail.wait() == 128 + signal.SIGKILL


def test_what_the_agent_leaves_running_ends_with_the_jail(there: Outside) -> None:
    world = there.world(linked=False)
    script = f"setsid sh -c 'echo > {world.work}/left; sleep 60' & while ! test -e {world.work}/left; do sleep 0.01; done"
    with running(world, "/bin/sh", "-c", script) as jail:
        namespace = Path(f"/proc/{jail.pid}/ns/pid").stat().st_ino
        assert jail.wait() == 0

    def is_left() -> bool:
        for each in Path("/proc").glob("[0-9]*/ns/pid"):
            with contextlib.suppress(OSError):
                if each.stat().st_ino == namespace:
                    return True
        return False

    until(lambda: not is_left())


def test_agent_that_is_ended_takes_all_with_it(there: Outside) -> None:
    with running(there.world(linked=False), "/bin/sh", "-c", "sleep 60 & sleep 60") as jail:
        jail.kill()
        assert jail.wait() == 128 + signal.SIGKILL


def test_refused_call_is_told_once_by_name(there: Outside) -> None:
    told: list[Denied] = []
    world = there.world(linked=False)
    script = "import os, socket\nfor _ in range(3):\n    try: socket.socket(socket.AF_UNIX)\n    except PermissionError: pass\n"
    with running(world, "/usr/bin/python3", "-c", script, on_denied=told.append) as jail:
        assert jail.wait() == 0
    assert [(each.by, each.what, each.detail) for each in told] == [("seccomp", "socket", "unix, stream")]


def test_denied_file_under_another_name_is_told_by_its_inode(there: Outside) -> None:
    told: list[Denied] = []
    world = there.world(linked=False)
    enforcement, jail = start(world, "/bin/cat", f"{world.outside}/late", on_denied=told.append)
    try:
        enforcement.judge()
    finally:
        jail.abandon()
    # A name that is made after the start, in a place that may be read.
    enforcement, jail = start(
        world, "/bin/sh", "-c", f"sleep 0.2; cat {world.work}/late", on_denied=told.append
    )
    try:
        enforcement.judge()
        jail.go()
        os.link(world.moved, f"{world.work}/late")
        assert jail.wait() == 1
    finally:
        jail.abandon()
    assert [(each.by, each.what) for each in told] == [("fanotify", f"{world.work}/late")]


def test_others_open_a_denied_file_while_the_agent_runs(there: Outside) -> None:
    world = there.world(linked=False)
    with running(world, "/bin/sleep", "60"):
        assert Path(world.secret).read_bytes()
        assert subprocess.run(["/bin/cat", world.secret], capture_output=True, check=True).stdout


def test_protection_that_does_not_hold_stops_the_run_before_it_begins(there: Outside) -> None:
    world = there.world(linked=False)
    leak = Canary("network", "find a way out", lambda: None)
    enforcement, jail = start(world, "/bin/touch", f"{world.work}/ran", more=(leak,))
    try:
        with pytest.raises(KernelError, match="network does not hold") as caught:
            enforcement.judge()
    finally:
        jail.abandon()
    assert caught.value.code == "jail_degraded"
    assert caught.value.hint == "go on without: --allow-degraded network"
    assert not Path(world.work, "ran").exists()


def test_protection_that_was_given_up_by_name_is_off_and_said(there: Outside) -> None:
    leak = Canary("network", "find a way out", lambda: None)
    enforcement, jail = start(there.world(linked=False), "/bin/true", more=(leak,), degraded=("network",))
    try:
        off = [each for each in enforcement.judge() if not each.on]
    finally:
        jail.abandon()
    assert [(each.name, each.detail) for each in off] == [("network", "find a way out: it worked")]


def test_jail_in_which_nothing_can_work_is_refused(there: Outside) -> None:
    world = there.world(linked=False)
    policy = policy_for(world)
    shut = PathRule("/bin/true", ("read", "execute"), "deny", "r")
    enforcement = Enforcement(msgspec.structs.replace(policy, paths=(*policy.paths, shut)))
    jail = enforcement.make_child(["/bin/sleep"])
    try:
        jail.settle(None)
        with pytest.raises(KernelError, match="nothing can work: run a program"):
            enforcement.judge()
    finally:
        jail.abandon()


def test_missing_program_is_told_before_anything_is_made(there: Outside) -> None:
    with pytest.raises(KernelError) as caught:
        Enforcement(policy_for(there.world(linked=False))).make_child(["no-such-program"])
    assert caught.value.code == "program_missing"


def test_program_that_no_rule_lets_it_run_is_refused(there: Outside) -> None:
    world = there.world(linked=False)
    enforcement, jail = start(world, world.program)
    try:
        enforcement.judge()
        with pytest.raises(KernelError, match="cannot be run") as caught:
            jail.go()
    finally:
        jail.abandon()
    assert caught.value.code == "program_refused"


def test_kernel_without_landlock_is_refused_unless_it_is_given_up(
    there: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_enforcement, "abi", lambda: 0)
    with pytest.raises(KernelError, match="Landlock switched off") as caught:
        Enforcement(policy_for(there.world(linked=False))).make_child(["/bin/true"])
    assert "--allow-degraded landlock-files" in str(caught.value.hint)


def test_step_that_fails_in_the_child_runs_nothing(there: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(22, "no")

    monkeypatch.setattr("agentguard.kernel.jail._confine.install", broken)
    world = there.world(linked=False)
    enforcement, jail = start(world, "/bin/touch", f"{world.work}/ran")
    try:
        with pytest.raises(KernelError):
            enforcement.judge()
        with pytest.raises(KernelError, match="seccomp: Invalid argument") as caught:
            jail.go()
    finally:
        jail.abandon()
    assert caught.value.code == "jail_failed"
    assert not Path(world.work, "ran").exists()


def test_without_namespaces_a_user_is_held_all_the_same_and_told(
    there: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*, network: bool) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(_jail, "separate", refused)

    def go() -> list[object]:
        world = there.world(linked=False)
        script = f"cat {world.secret}; touch {world.work}/below; true"
        enforcement, jail = start(world, "/bin/sh", "-c", script)
        try:
            protections = enforcement.judge()
            jail.go()
            code = jail.wait()
        finally:
            jail.abandon()
        plan = enforcement.plan
        assert plan is not None
        return [
            code,
            {each.name: each.on for each in protections},
            plan.sockets,
            list(plan.notes),
            enforcement.tier,
        ]

    code, protections, sockets, notes, tier = as_user(NOBODY, go)
    assert (code, sockets, tier) == (0, "none", "T0")
    assert protections.pop("process-namespace") is False
    assert all(protections.values())
    assert "nothing new can be made" in notes[0]


def test_root_without_namespaces_is_refused(there: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*, network: bool) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(_jail, "separate", refused)
    world = there.world(linked=False)
    enforcement, jail = start(world, "/bin/true")
    try:
        with pytest.raises(KernelError, match="process-namespace does not hold"):
            enforcement.judge()
    finally:
        jail.abandon()


def test_supervisor_that_cannot_mark_says_so(there: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("agentguard.kernel.jail._fanotify.Marks.__init__", refused)
    enforcement, jail = start(there.world(linked=False), "/bin/true")
    try:
        with pytest.raises(KernelError, match="fanotify does not hold"):
            enforcement.judge()
        assert enforcement.tier == "T0"
    finally:
        jail.abandon()


def test_supervisor_that_does_not_start_is_told(there: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("agentguard.kernel.jail._supervisor.Supervisor._settle", gone)
    monkeypatch.setattr(_jail, "_DEADLINE_S", 0.3)
    with pytest.raises(KernelError, match="its processes do not start"):
        Enforcement(policy_for(there.world(linked=False))).make_child(["/bin/true"])


def test_agent_that_forks_and_floods_is_held_and_ended(there: Outside) -> None:
    told: list[Denied] = []
    world = there.world(linked=False)
    script = (
        "import os, socket, time\n"
        "for _ in range(64):\n"
        "    if os.fork() == 0:\n"
        "        while True:\n"
        "            try: socket.socket(socket.AF_UNIX)\n"
        "            except OSError: pass\n"
        f"open({world.work!r} + '/ready', 'w').close()\n"
        "time.sleep(60)\n"
    )
    with running(world, "/usr/bin/python3", "-c", script, on_denied=told.append) as jail:
        until(Path(world.work, "ready").exists)
        jail.kill()
        assert jail.wait() == 128 + signal.SIGKILL
    assert len(told) == 1


def test_namespaces_that_were_made_are_not_those_of_others() -> None:
    def go() -> Sequence[bool]:
        before = {name: Path(f"/proc/self/ns/{name}").stat().st_ino for name in ("mnt", "net", "ipc", "user")}
        separate(network=True)
        with socket.create_server(("127.0.0.1", 0)):
            pass
        return [Path(f"/proc/self/ns/{name}").stat().st_ino != inode for name, inode in before.items()]

    assert as_user(NOBODY, go) == [True] * 4

"""The small parts: queue, tree, cgroup names, wishes, attempts."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from agentguard.core import KernelError
from agentguard.kernel._attempts import describe_attempt
from agentguard.kernel._cgroups import Cgroup, container_of, find_mount, own_path
from agentguard.kernel._dns import DnsMessage
from agentguard.kernel._handover import Handover
from agentguard.kernel._layout import Flag, Kind
from agentguard.kernel._requests import wishes_of
from agentguard.kernel._seen import Address, Seen
from agentguard.kernel._tree import MAX_ENDED, ProcessTree
from agentguard.registry import load_actions

CATALOGUE = load_actions([])


def seen(kind: Kind, **fields: Any) -> Seen:
    return Seen(kind, **{"time_ns": 1, "cgroup": 1, "pid": 7, "start_ns": 70, **fields})


def test_queue_keeps_order_and_counts_its_backlog() -> None:
    queue = Handover()
    queue.put([seen(Kind.OPEN), seen(Kind.EXEC)])
    queue.put([seen(Kind.EXIT)])
    assert queue.backlog == 3
    assert [each.kind for each in queue.take()] == [Kind.OPEN, Kind.EXEC]
    assert [each.kind for each in queue.take(1)] == [Kind.EXIT]
    assert (queue.take(), queue.backlog) == ([], 0)


def test_flood_leaves_out_opens_and_nothing_else() -> None:
    queue = Handover(ordinary_limit=2, hard_limit=4)
    queue.put([seen(Kind.OPEN)] * 2)
    queue.put([seen(Kind.OPEN), seen(Kind.EXEC), seen(Kind.OPEN, ret=-13), seen(Kind.CONNECT)])
    assert queue.skipped == 1
    assert queue.is_full
    queue.take()
    assert [each.kind for each in queue.take()] == [Kind.EXEC, Kind.OPEN, Kind.CONNECT]


def test_what_is_put_just_before_the_end_is_not_left_behind() -> None:
    queue = Handover()

    class Late(threading.Event):
        """The last batch comes while the consumer, which found nothing, goes to ask whether there is more to come."""

        def is_set(self) -> bool:
            if not super().is_set():
                queue.put([seen(Kind.EXEC)])
                self.set()
            return super().is_set()

    assert [len(batch) for batch in queue.batches(Late(), timeout=0)] == [1]


def test_queue_hands_over_between_threads_without_loss() -> None:
    queue = Handover()
    total = 20_000

    def produce() -> None:
        for number in range(total):
            queue.put([seen(Kind.EXEC, pid=number)])

    thread = threading.Thread(target=produce)
    thread.start()
    got: list[int] = []
    while len(got) < total:
        got += [each.pid for each in queue.take(1)]
    thread.join()
    assert got == list(range(total))


def test_tree_follows_forks_programs_and_exits() -> None:
    tree = ProcessTree()
    tree.note(seen(Kind.EXEC, path="/bin/sh", argv=("sh",), cwd="/srv"))
    tree.note(seen(Kind.FORK, a0=8, a1=80))
    child = tree.of(seen(Kind.OPEN, pid=8, start_ns=80))
    assert (child.program, child.parent) == ("/bin/sh", (7, 70))
    tree.note(seen(Kind.EXEC, pid=8, start_ns=80, path="/bin/cat", flags=Flag.TRUNCATED))
    tree.note(seen(Kind.EXIT, pid=8, start_ns=80, ret=3 << 8))
    assert (child.program, child.exit_code, child.signal, child.truncated) == ("/bin/cat", 3, 0, True)
    assert [each.pid for each in tree.ancestors(child)] == [7]
    assert (len(tree), tree.started, tree.has_pid(8), tree.has_pid(9)) == (2, 2, True, False)
    assert {each.pid for each in tree} == {7, 8}


def test_same_pid_later_is_another_process() -> None:
    tree = ProcessTree()
    tree.note(seen(Kind.EXEC, path="/bin/old"))
    assert tree.of(seen(Kind.OPEN, start_ns=71, comm="new")).program == "new"


def test_ended_processes_are_forgotten_in_the_end() -> None:
    tree = ProcessTree()
    for pid in range(MAX_ENDED + 50):
        tree.note(seen(Kind.EXIT, pid=pid, start_ns=pid))
    assert len(tree) == len(tree.take_ended()) == MAX_ENDED


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw", "/sys/fs/cgroup"),
        ("31 2 0:3 / /a\\040b rw shared:4 - cgroup2 none rw", "/a b"),
    ],
)
def test_mount_is_found(tmp_path: Path, line: str, expected: str) -> None:
    (tmp_path / "mounts").write_text(f"1 2 0:3 / / rw - ext4 /dev/x rw\n{line}\n")
    assert find_mount(tmp_path / "mounts") == Path(expected)


def test_machine_with_version_1_only_is_told_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "mounts").write_text("1 2 0:3 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n")
    with pytest.raises(KernelError) as caught:
        find_mount(tmp_path / "mounts")
    assert caught.value.code == "cgroup_missing"
    assert "mount -t cgroup2" in (caught.value.hint or "")


def test_cgroup_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KernelError, match="file") as caught:
        Cgroup.make("x", (tmp_path / "file",))
    assert caught.value.code == "cgroup_denied"


def test_own_path_is_the_one_of_version_2() -> None:
    assert own_path("9:pids:/x\n0::/user.slice/a\n") == "/user.slice/a"
    assert own_path("9:pids:/x\n") == "/"


ID = "4f" * 32
UID = "12345678-1234-1234-1234-123456789abc"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"/system.slice/docker-{ID}.scope", {"container": ID}),
        (f"/kubepods/burstable/pod{UID}/{ID}", {"pod": UID, "container": ID}),
        (
            f"/kubepods.slice/kubepods-burstable-pod{UID.replace('-', '_')}.slice/cri-containerd-{ID}.scope",
            {"pod": UID, "container": ID},
        ),
        ("/user.slice/user-0.slice", {}),
        ("/podman", {}),
    ],
)
def test_container_and_pod_are_read_from_the_path(path: str, expected: dict[str, str]) -> None:
    assert container_of(path) == expected


def no_name(_: str) -> str:
    return ""


TCP = Address("inet", "192.0.2.1", 443, "tcp")
WISHES = [
    (seen(Kind.OPEN, path="/a"), [("file.read", "file:/a")]),
    (seen(Kind.OPEN, path="/a", a0=1), [("file.write", "file:/a")]),
    (seen(Kind.OPEN, path="/a", mode=0o040755), [("file.list", "file:/a")]),
    (seen(Kind.OPEN, path="/a", mode=0o010644), []),
    (seen(Kind.OPEN, path="/a", a0=0o10000000), []),
    (seen(Kind.OPEN, path="/a", ret=-2), []),
    (seen(Kind.OPEN, path="/a", ret=-13), [("file.read", "file:/a")]),
    (seen(Kind.OPEN, path="relative"), []),
    (seen(Kind.OPEN, path="/etc/passwd"), []),
    (seen(Kind.OPEN, path="/etc/passwd", a0=1), [("file.write", "file:/etc/passwd")]),
    (seen(Kind.OPEN, path="/proc/7/maps"), []),
    (seen(Kind.OPEN, path="/proc/8/maps"), [("file.read", "file:/proc/8/maps")]),
    (seen(Kind.UNLINK, path="/a"), [("file.delete", "file:/a")]),
    (seen(Kind.UNLINK, path="/a", ret=-2), []),
    (seen(Kind.CHMOD, path="/a"), [("file.write", "file:/a")]),
    (seen(Kind.MKDIR, path="/a", ret=-17), []),
    (seen(Kind.RENAME, path="/a", other="/b"), [("file.write", "file:/a"), ("file.write", "file:/b")]),
    (seen(Kind.RENAME, path="/a", other="/b", ret=-1), []),
    (seen(Kind.LINK, path="/a", other="/b"), [("file.read", "file:/a"), ("file.write", "file:/b")]),
    (seen(Kind.SYMLINK, path="anything", other="/b"), [("file.write", "file:/b")]),
    (seen(Kind.EXEC, path="/bin/x", argv=("x", "y")), [("process.exec", "process:/bin/x")]),
    (seen(Kind.CONNECT, address=TCP), [("net.connect", "host:192.0.2.1:443")]),
    (seen(Kind.CONNECT, address=Address("inet6", "::1", 80, "tcp")), [("net.connect", "host:[::1]:80")]),
    (seen(Kind.CONNECT, address=Address("inet", "192.0.2.1", 0, "udp")), []),
    (
        seen(Kind.CONNECT, address=Address("unix", "/run/docker.sock")),
        [("file.write", "file:/run/docker.sock")],
    ),
    (seen(Kind.CONNECT, address=Address("unix", "@abstract")), []),
    (seen(Kind.CONNECT, address=Address("netlink", "")), []),
    (seen(Kind.CONNECT), []),
    (seen(Kind.DNS, dns=DnsMessage("a.test", "A", is_answer=False)), [("dns.resolve", "dns:a.test")]),
    (seen(Kind.DNS, dns=DnsMessage("a.test", "A", is_answer=True)), []),
    (seen(Kind.SIGNAL, a0=99, a1=15), [("process.signal", "process:99")]),
    (seen(Kind.SIGNAL, a0=7, a1=15), []),
    (seen(Kind.SIGNAL, a0=(1 << 64) - 1, a1=9), []),
    (seen(Kind.FORK), []),
    (seen(Kind.FORK, a0=9, flags=Flag.ESCAPE), [("process.escape", "process:9")]),
    (seen(Kind.CGROUP_MOVE, a0=9, path="/else"), [("process.escape", "process:9")]),
    (seen(Kind.PTRACE, a0=16, a1=99), [("process.trace", "process:99")]),
    (seen(Kind.PTRACE, a0=0), [("process.trace", "process:7")]),
    (seen(Kind.VM_ACCESS, a0=9, nr=310), [("process.trace", "process:9")]),
    (seen(Kind.VM_ACCESS, a0=3, nr=438), [("process.trace", "process:unknown")]),
    (seen(Kind.MEMFD, path="x"), [("process.memfd", "process:memfd")]),
    (seen(Kind.BPF, a0=5), [("kernel.bpf", "kernel:bpf")]),
    (seen(Kind.MODULE), [("kernel.module", "kernel:module")]),
    (seen(Kind.NAMESPACE, a0=1 << 17), [("kernel.namespace", "kernel:namespace")]),
    (seen(Kind.MOUNT, path="/mnt"), [("file.mount", "file:/mnt")]),
    (seen(Kind.MOUNT), [("file.mount", "kernel:mount")]),
    (seen(Kind.SOCKET, a0=17), [("net.capture", "kernel:packet-socket")]),
    (seen(Kind.SOCKET, a0=2), []),
    (seen(Kind.IDENTITY, a0=0, nr=105), [("process.set-user", "user:0")]),
    (seen(Kind.IDENTITY, a0=0xFFFFFFFF, nr=117), []),
    (seen(Kind.URING_SETUP), [("kernel.io-uring", "kernel:io-uring")]),
    (
        seen(Kind.URING_OP, a0=18, a1=1, path="/a"),
        [("kernel.io-uring", "kernel:io-uring"), ("file.write", "file:/a")],
    ),
    (seen(Kind.URING_OP, a0=16, address=TCP), [("kernel.io-uring", "kernel:io-uring")]),
    (seen(Kind.FOREIGN_ABI), [("kernel.call", "kernel:foreign-abi")]),
    (seen(Kind.SPECIAL, nr=169), [("kernel.call", "kernel:reboot")]),
]


@pytest.mark.parametrize(("what", "expected"), WISHES)
def test_what_was_seen_is_a_wish_of_the_registry(what: Seen, expected: list[tuple[str, str]]) -> None:
    assert [(each.action, each.resource) for each in wishes_of(what, no_name)] == expected


@pytest.mark.parametrize("what", [each for each, _ in WISHES])
def test_every_wish_has_the_shape_that_the_catalogue_declares(what: Seen) -> None:
    for wish in wishes_of(what, no_name):
        action = CATALOGUE.resolve(wish.action)
        assert action is not None
        assert action.check(wish.params) is None
        assert wish.resource.partition(":")[0] in action.action.resource_types


def test_name_of_a_peer_comes_from_the_answer_that_told_it() -> None:
    (wish,) = wishes_of(seen(Kind.CONNECT, address=TCP), lambda _: "api.test")
    assert wish.resource == "host:api.test:443"
    assert wish.params == {"host": "api.test", "port": 443, "address": "192.0.2.1", "protocol": "tcp"}


@pytest.mark.parametrize(
    "what",
    [
        seen(Kind.EXEC, path="/bin/x", argv=("x",), flags=Flag.TRUNCATED),
        seen(Kind.EXEC, path="/bin/x", argv=("x",) * 2000),
        seen(Kind.OPEN, path="/a", flags=Flag.CLAIMED | Flag.TRUNCATED),
        seen(Kind.UNLINK, path="/a", flags=Flag.BLIND),
    ],
    ids=["arguments", "too many arguments", "path", "unread path"],
)
def test_what_was_cut_is_not_known(what: Seen) -> None:
    assert [each.known for each in wishes_of(what, no_name)] == [False]


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (seen(Kind.PTRACE, a0=16, a1=99), ("trace", "process 99")),
        (seen(Kind.PTRACE, a0=0), ("trace", "itself")),
        (seen(Kind.MEMFD, path="x"), ("memfd", "x")),
        (seen(Kind.URING_SETUP), ("io_uring", "a ring is set up")),
        (seen(Kind.URING_OP, a0=18, path="/secret"), ("io_uring", "openat /secret")),
        (seen(Kind.URING_OP, a0=16, address=TCP), ("io_uring", "connect 192.0.2.1")),
        (seen(Kind.URING_OP, a0=99), ("io_uring", "operation 99")),
        (seen(Kind.CGROUP_MOVE, a0=9, path="/else"), ("escape from the cgroup", "process 9 to /else")),
        (seen(Kind.FORK, a0=9, flags=Flag.ESCAPE), ("escape from the cgroup", "process 9")),
        (seen(Kind.FORK, a0=9), None),
        (
            seen(Kind.EXEC, other="/proc/self/fd/3", flags=Flag.UNLINKED),
            ("program without a name", "/proc/self/fd/3"),
        ),
        (seen(Kind.IDENTITY, a0=0, nr=105), ("change of user", "user 0")),
        (seen(Kind.IDENTITY, a0=1000, nr=119), ("change of user", "group 1000")),
        (seen(Kind.IDENTITY, nr=126), ("change of user", "capabilities 0")),
        (seen(Kind.IDENTITY, a0=0xFFFFFFFF, nr=117), None),
        (seen(Kind.SPECIAL, nr=298), ("special system call", "perf_event_open")),
        (seen(Kind.SOCKET, a0=17), ("packet socket", "")),
        (seen(Kind.SOCKET, a0=2), None),
        (seen(Kind.OPEN, path="/a"), None),
    ],
)
def test_attempts_at_more_are_described(what: Seen, expected: tuple[str, str] | None) -> None:
    assert describe_attempt(what) == expected


def test_mount_of_this_machine_is_a_folder() -> None:
    try:
        assert find_mount().is_dir()
    except KernelError:
        pytest.skip("no cgroup v2 here")

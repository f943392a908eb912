"""Real processes in a real cgroup, and what the kernel said of them."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from agentguard.kernel._cgroups import Cgroup
from agentguard.kernel._layout import ABSENT, EACH_IO, Flag, Kind
from kernel_lab import lab

if TYPE_CHECKING:
    from agentguard.kernel import Observer
    from kernel_lab import Lab

pytestmark = pytest.mark.kernel
PYTHON = (sys.executable, "-I", "-S", "-c")


def opens(watched: Lab, path: Path) -> list[int]:
    return [each.ret for each in watched.seen if each.kind == Kind.OPEN and each.path == str(path)]


def test_program_is_seen_with_its_arguments_folder_and_code(watched: Lab) -> None:
    assert watched.run("/bin/sh", "-c", "exit 5", "an argument", "ä") == 5
    program = watched.program
    assert program.argv == ("/bin/sh", "-c", "exit 5", "an argument", "ä")
    assert program.path == str(Path("/bin/sh").resolve())
    assert program.cwd == str(Path.cwd())
    assert not program.truncated
    end = next(each for each in watched.seen if each.kind == Kind.EXIT)
    assert (end.ret >> 8, end.pid, end.start_ns) == (5, program.pid, program.start_ns)


@pytest.mark.parametrize("size", [255, 256, 257, 3500])
def test_arguments_up_to_4_kib_are_whole(watched: Lab, size: int) -> None:
    watched.run("/bin/true", "x" * size, "last")
    program = watched.program
    assert program.argv[1:] == ("x" * size, "last")
    assert not program.truncated


def test_longer_arguments_are_marked_as_cut(watched: Lab) -> None:
    watched.run("/bin/true", *("y" * 500 for _ in range(20)))
    program = watched.program
    assert program.truncated
    assert sum(map(len, program.argv)) > 4000


def test_death_by_a_signal_is_told_from_a_code(watched: Lab) -> None:
    watched.run("/bin/sh", "-c", "kill -9 $$")
    end = next(each for each in watched.seen if each.kind == Kind.EXIT)
    assert end.ret & 0x7F == 9


def test_file_is_named_by_what_was_opened_and_not_by_what_was_said(watched: Lab, tmp_path: Path) -> None:
    secret, link, folder = tmp_path / "secret", tmp_path / "harmless", tmp_path / "folder"
    secret.write_text("x")
    link.symlink_to(secret)
    folder.mkdir()
    watched.run("/bin/sh", "-c", f"cd {folder} && cat ../harmless")
    assert opens(watched, secret) == [3]


def test_hard_link_has_its_own_name_and_the_same_inode(watched: Lab, tmp_path: Path) -> None:
    (tmp_path / "one").write_text("x")
    os.link(tmp_path / "one", tmp_path / "two")
    watched.run("/bin/cat", str(tmp_path / "one"), str(tmp_path / "two"))
    watched.run(*PYTHON, f"open({str(tmp_path / 'two')!r}, 'r+')")
    found = {each.path: each.ino for each in watched.seen if each.path.startswith(str(tmp_path))}
    assert set(found) == {str(tmp_path / "one"), str(tmp_path / "two")}
    assert set(found.values()) == {(tmp_path / "one").stat().st_ino}


def test_long_path_is_whole(watched: Lab, tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(12):
        deep = deep / ("d" * 100)
    deep.mkdir(parents=True)
    (deep / "file").write_text("x")
    watched.run("/bin/cat", str(deep / "file"))
    assert opens(watched, deep / "file")


def test_refused_open_is_seen_with_its_error(watched: Lab, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    watched.run("/bin/cat", str(tmp_path / "loop"))
    assert opens(watched, tmp_path / "loop") == [-errno.ELOOP]


def test_open_of_what_is_not_there_is_counted_and_not_told(watched: Lab, tmp_path: Path) -> None:
    before = watched.observer.loaded.drops()[ABSENT]
    watched.run("/bin/cat", *(str(tmp_path / f"missing-{number}") for number in range(20)))
    assert not [each for each in watched.seen if each.path.startswith(str(tmp_path))]
    watched.observer.reader.drain(everything=True)
    assert watched.observer.loaded.drops()[ABSENT] >= before + 20
    assert watched.observer.reader.counters.absent >= 20


def test_file_under_another_name_is_told_again(watched: Lab, tmp_path: Path) -> None:
    (tmp_path / "one").write_text("x")
    watched.run("/bin/cat", str(tmp_path / "one"), str(tmp_path / "one"))
    (tmp_path / "one").rename(tmp_path / "two")
    watched.run("/bin/cat", str(tmp_path / "two"))
    found = [
        each.path for each in watched.seen if each.kind == Kind.OPEN and each.path.startswith(str(tmp_path))
    ]
    assert found == [str(tmp_path / "one"), str(tmp_path / "two")]


def test_new_file_below_a_folder_that_was_renamed_has_its_new_path(watched: Lab, tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    for name in ("one", "two", "three", "four"):
        (deep / name).write_text("x")
    watched.run("/bin/cat", str(deep / "one"), str(deep / "two"))
    (tmp_path / "a").rename(tmp_path / "c")
    watched.run("/bin/cat", str(tmp_path / "c" / "b" / "three"))
    (tmp_path / "c").rename(tmp_path / "a")
    watched.run("/bin/cat", str(deep / "four"))
    found = [each.path.removeprefix(f"{tmp_path}/") for each in watched.seen if each.kind == Kind.OPEN]
    assert [path for path in found if path[1:3] == "/b"] == ["a/b/one", "a/b/two", "c/b/three", "a/b/four"]


def test_folders_at_the_top_and_mounted_ones_have_their_names(watched: Lab) -> None:
    watched.run("/bin/ls", "/", "/etc", "/proc", "/dev/shm")
    found = {each.path for each in watched.seen if each.kind == Kind.OPEN}
    assert {"/", "/etc", "/proc", "/dev/shm"} <= found


def test_name_that_is_no_utf8_and_one_with_a_line_break_are_told(watched: Lab, tmp_path: Path) -> None:
    names = [b"line\nbreak", b"\xff\xfe", b"x" * 255]
    for name in names:
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_text("x")
    watched.run("/bin/sh", "-c", f"cd {tmp_path} && cat ./*")
    found = {
        each.path.removeprefix(f"{tmp_path}/")
        for each in watched.seen
        if each.path.startswith(f"{tmp_path}/")
    }
    assert found == {"line\nbreak", "\\xff\\xfe", "x" * 255}


def test_changes_of_files_are_seen(watched: Lab, tmp_path: Path) -> None:
    script = f"""
import errno
import os
os.chdir({str(tmp_path)!r})
os.close(os.open('a', os.O_CREAT | os.O_WRONLY, 0o600))
os.rename('a', 'b'); os.link('b', 'c'); os.symlink('b', 'd'); os.truncate('b', 5); os.chmod('b', 0o640)
os.chown('b', 0, 0); os.mkdir('e'); os.rmdir('e'); os.unlink('c')
fd = os.open('b', os.O_RDWR); os.ftruncate(fd, 1); os.fchmod(fd, 0o600)
"""
    assert watched.run(*PYTHON, script) == 0
    found = [
        (each.kind.name, each.path.removeprefix(f"{tmp_path}/"), each.other.removeprefix(f"{tmp_path}/"))
        for each in watched.seen
        if str(tmp_path) in each.path or str(tmp_path) in each.other
    ]
    for expected in (
        ("OPEN", "a", ""), ("RENAME", "a", "b"), ("LINK", "b", "c"), ("TRUNCATE", "b", ""), ("CHMOD", "b", ""),
        ("CHOWN", "b", ""), ("MKDIR", "e", ""), ("UNLINK", "e", ""), ("UNLINK", "c", ""), ("OPEN", "b", ""),
    ):  # fmt: skip
        assert expected in found
    assert any(kind == "SYMLINK" and new == "d" for kind, _, new in found)
    assert found.count(("TRUNCATE", "b", "")) == found.count(("CHMOD", "b", "")) == 2


def test_reads_and_writes_are_summed_for_each_process_and_file(watched: Lab, tmp_path: Path) -> None:
    target = tmp_path / "data"
    watched.run(
        *PYTHON, f"f = open({str(target)!r}, 'wb', buffering=0)\nfor _ in range(1000): f.write(b'x' * 10)"
    )
    watched.run("/bin/cat", str(target))
    keys, values = watched.observer.loaded.sums()
    ours = values[(keys["ino"] == target.stat().st_ino) & (keys["cgroup"] == watched.cgroup.id)]
    assert (ours["writes"].sum(), ours["written_bytes"].sum(), ours["read_bytes"].sum()) == (
        1000,
        10_000,
        10_000,
    )
    assert len(ours) == 2


def test_each_read_and_write_can_be_told_by_itself(observer: Observer, tmp_path: Path) -> None:
    target = tmp_path / "data"
    with lab(observer, flags=EACH_IO) as watched:
        before = observer.reader.counters.io_records
        watched.run(
            *PYTHON, f"f = open({str(target)!r}, 'wb', buffering=0)\nfor _ in range(500): f.write(b'x' * 3)"
        )
        assert observer.reader.counters.io_records - before >= 500
        keys, values = observer.reader.sums()
        found = values[(keys["ino"] == target.stat().st_ino) & (keys["cgroup"] == watched.cgroup.id)]
    assert [(int(each["writes"]), int(each["written_bytes"])) for each in found] == [(500, 1500)]


def test_nothing_is_lost_or_mixed_up_while_others_come_and_go(watched: Lab) -> None:
    loaded, calls = watched.observer.loaded, 300_000
    others = [Cgroup.make(f"self-test-{os.getpid()}-other-{number}") for number in range(3)]
    command = ("dd", "if=/dev/zero", "of=/dev/null", "bs=1", f"count={calls}", "status=none")
    running = threading.Thread(target=watched.run_unread, args=command)
    running.start()
    turns = 0
    try:
        while running.is_alive():
            for other in others:
                loaded.guard(other.id, other.fd)
            for other in others:
                loaded.release(other.id)
            turns += 1
    finally:
        running.join()
        for other in others:
            other.remove()
    keys, values = loaded.sums()
    zero = values[(keys["ino"] == Path("/dev/zero").stat().st_ino) & (keys["cgroup"] == watched.cgroup.id)]
    assert turns > 0
    assert zero["reads"].sum() == calls
    assert not np.isin(keys["cgroup"], [other.id for other in others]).any()


def test_process_in_a_cgroup_of_its_own_making_is_still_seen(watched: Lab, tmp_path: Path) -> None:
    below = watched.cgroup.path / "hideout"
    (tmp_path / "hidden").write_text("x")
    watched.run("/bin/sh", "-c", f"mkdir {below} && echo $$ > {below}/cgroup.procs && cat {tmp_path}/hidden")
    assert opens(watched, tmp_path / "hidden") == [3]


def test_process_outside_is_not_seen(watched: Lab, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("x")
    subprocess.run(["/bin/cat", str(tmp_path / "elsewhere")], check=False, capture_output=True)
    watched.run("/bin/true")
    assert not [each for each in watched.seen if "elsewhere" in each.path]


def test_moving_a_process_out_is_seen_as_an_escape(watched: Lab) -> None:
    outside = Cgroup.make(f"elsewhere-{os.getpid()}")
    try:
        watched.run("/bin/sh", "-c", f"sleep 20 & echo $! > {outside.path}/cgroup.procs; kill $!")
        moved = next(each for each in watched.seen if each.kind == Kind.CGROUP_MOVE)
        assert moved.flags & Flag.ESCAPE
        assert moved.path.endswith(outside.path.name)
    finally:
        outside.remove()


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")], ids=["v4", "v6"]
)
def test_connection_is_seen_with_address_port_and_bytes(watched: Lab, family: int, host: str) -> None:
    try:
        server = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"no {host} here")
    with server:
        port = server.getsockname()[1]

        def take() -> None:
            with server.accept()[0] as peer:
                peer.recv(100)

        taker = threading.Thread(target=take)
        taker.start()
        code = f"import socket; s = socket.create_connection(({host!r}, {port})); s.sendall(b'x' * 77)"
        assert watched.run(*PYTHON, code) == 0
        taker.join(5)
    found = next(each for each in watched.seen if each.kind == Kind.CONNECT)
    assert found.address is not None
    assert (found.address.host, found.address.port, found.address.protocol) == (host, port, "tcp")
    keys, values = watched.observer.loaded.sums()
    assert values[keys["ino"] == found.ino]["written_bytes"].sum() == 77


def test_server_and_its_peers_are_seen(watched: Lab) -> None:
    code = """
import socket
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
server.accept()
"""
    assert watched.run(*PYTHON, code) == 0
    kinds = {each.kind for each in watched.seen}
    assert {Kind.SOCKET, Kind.BIND, Kind.LISTEN, Kind.CONNECT, Kind.ACCEPT} <= kinds


def test_unix_sockets_are_seen_by_path_and_by_abstract_name(watched: Lab, tmp_path: Path) -> None:
    code = f"""
import socket
for name in ({str(tmp_path / "socket")!r}, "\\0abstract"):
    with socket.socket(socket.AF_UNIX) as each:
        try: each.connect(name)
        except OSError: pass
"""
    watched.run(*PYTHON, code)
    found = [each.address.host for each in watched.seen if each.kind == Kind.CONNECT and each.address]
    assert found == [str(tmp_path / "socket"), "@abstract"]


def test_datagrams_to_one_peer_are_told_once(watched: Lab) -> None:
    code = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(100): s.sendto(b"x", ("127.0.0.1", 40404))
s.sendto(b"x", ("127.0.0.1", 40405))
s.sendmsg([b"x"], [], 0, ("127.0.0.1", 40406))
"""
    assert watched.run(*PYTHON, code) == 0
    ports = [each.address.port for each in watched.seen if each.kind == Kind.SENDTO and each.address]
    assert ports == [40404, 40405, 40406]


def test_names_are_read_from_questions_and_answers(watched: Lab) -> None:
    # A name server of our own on the loopback; nothing leaves the machine.
    question = bytes.fromhex("00010100000100000000000004686f737404746573740000010001")
    answer = bytes.fromhex(
        "00018180000100010000000004686f737404746573740000010001c00c000100010000003c00047f010203"
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        try:
            server.bind(("127.0.0.77", 53))
        except OSError:
            pytest.skip("port 53 is taken")
        server.settimeout(10)

        def serve() -> None:
            _, peer = server.recvfrom(512)
            server.sendto(answer, peer)

        thread = threading.Thread(target=serve)
        thread.start()
        code = f"""
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("127.0.0.77", 53)); s.send(bytes.fromhex({question.hex()!r})); s.recv(512)
"""
        assert watched.run(*PYTHON, code) == 0
        thread.join(10)
    asked, answered = [each.dns for each in watched.seen if each.kind == Kind.DNS]
    assert asked is not None
    assert answered is not None
    assert (asked.name, asked.is_answer) == ("host.test", False)
    assert answered.addresses == ("127.1.2.3",)


def test_attempts_at_more_are_seen_whether_they_work_or_not(watched: Lab) -> None:
    code = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
os.memfd_create("hidden")
libc.ptrace(16, 1, 0, 0)
libc.unshare(0x08000000)
libc.mount(b"none", b"/nowhere", b"tmpfs", 0, None)
libc.syscall(321, 0, 0, 0)
libc.syscall(425, 4, 0)
libc.process_vm_readv(1, 0, 0, 0, 0, 0)
"""
    watched.run(*PYTHON, code)
    kinds = {each.kind for each in watched.seen}
    assert {
        Kind.MEMFD, Kind.PTRACE, Kind.NAMESPACE, Kind.MOUNT, Kind.BPF, Kind.URING_SETUP, Kind.VM_ACCESS,
    } <= kinds  # fmt: skip
    assert next(each.path for each in watched.seen if each.kind == Kind.MEMFD) == "hidden"
    assert next(each.path for each in watched.seen if each.kind == Kind.MOUNT) == "/nowhere"


def test_program_without_a_name_is_seen(watched: Lab) -> None:
    code = """
import os, shutil
fd = os.memfd_create("payload")
with open("/bin/true", "rb") as source: os.write(fd, source.read())
os.execve(fd, ["payload"], {})
"""
    assert watched.run(*PYTHON, code) == 0
    assert [each for each in watched.seen if each.kind == Kind.EXEC and each.flags & Flag.UNLINKED]


URING = r"""
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	struct io_uring_params p = {0};
	int ring = syscall(SYS_io_uring_setup, 4, &p);
	if (ring < 0) return 77;
	char *sq = mmap(0, p.sq_off.array + p.sq_entries * 4, 3, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	struct io_uring_sqe *sqe = mmap(0, p.sq_entries * sizeof(*sqe), 3, MAP_SHARED, ring, IORING_OFF_SQES);
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_OPENAT;
	sqe->fd = AT_FDCWD;
	sqe->addr = (unsigned long)argv[1];
	*(unsigned *)(sq + p.sq_off.array) = 0;
	*(unsigned *)(sq + p.sq_off.tail) = 1;
	return syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, 0, 0) == 1 ? 0 : 1;
}
"""
ABI = r"""
int main(void)
{
	long answer;
	__asm__ volatile("int $0x80" : "=a"(answer) : "a"(NUMBERL), "b"(-1L) : "memory");
	return answer == -38 ? 77 : 0;
}
"""


def compiled(tmp_path: Path, source: str, *options: str) -> str:
    compiler = shutil.which("cc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    (tmp_path / "program.c").write_text(source)
    done = subprocess.run(
        [compiler, *options, "-o", tmp_path / "program", tmp_path / "program.c"],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"it does not compile here: {done.stderr.decode()[:200]}")
    return str(tmp_path / "program")


def test_open_through_io_uring_is_seen(watched: Lab, tmp_path: Path) -> None:
    if "uring" in watched.observer.missing:
        pytest.skip(watched.observer.missing["uring"])
    if watched.run(compiled(tmp_path, URING), str(tmp_path / "secret")) == 77:
        pytest.skip("io_uring is switched off")
    found = next(each for each in watched.seen if each.kind == Kind.URING_OP)
    assert found.path == str(tmp_path / "secret")


def test_static_program_is_seen(watched: Lab, tmp_path: Path) -> None:
    source = (
        f'#include <fcntl.h>\nint main(void) {{ return open("{tmp_path}/secret", O_RDONLY) < 0 ? 9 : 0; }}'
    )
    (tmp_path / "secret").write_text("x")
    assert watched.run(compiled(tmp_path, source, "-static")) == 0
    assert opens(watched, tmp_path / "secret") == [3]


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="int 0x80 is x86's")
@pytest.mark.parametrize(
    "number",
    ["20", "3", "5"],
    ids=["getpid, where writev is", "read, where close is", "open, where fstat is"],
)
def test_system_calls_of_another_abi_are_told_once(watched: Lab, tmp_path: Path, number: str) -> None:
    if watched.run(compiled(tmp_path, ABI.replace("NUMBER", number))):
        pytest.skip("this kernel has no 32-bit system calls")
    assert len([each for each in watched.seen if each.kind == Kind.FOREIGN_ABI]) == 1


def test_records_come_in_the_order_of_their_time(watched: Lab) -> None:
    watched.run("/bin/sh", "-c", "for i in 1 2 3 4 5; do /bin/true & done; wait")
    times = [each.time_ns for each in watched.seen]
    assert times == sorted(times)
    assert len([each for each in watched.seen if each.kind == Kind.EXIT]) == 6

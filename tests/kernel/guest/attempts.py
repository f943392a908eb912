"""What runs as the first process of a guest whose kernel lets BPF LSM programs load: attempts, unguarded and guarded.

Each is made in a process of its own in a cgroup. The last line that it prints is the account, as JSON.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.kernel._rules import KernelPolicy

LIBC = ctypes.CDLL(None, use_errno=True)
SHUT, FOLDER, PROGRAM = Path("/data/secret"), Path("/data/vault"), Path("/data/program")
OPEN = Path("/data/open")
IO_URING_SETUP, IO_URING_ENTER, OPENAT2 = 425, 426, 437
PORT = 4000


def call(name: str, *arguments: object) -> int:
    result = int(getattr(LIBC, name)(*arguments))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def read(path: str | Path, flags: int = os.O_RDONLY) -> None:
    fd = os.open(path, flags)
    if not os.read(fd, 6):
        raise OSError(61, "it is empty")


def read_at_folder() -> None:
    fd = os.open("/data", os.O_RDONLY | os.O_DIRECTORY)
    os.read(os.open("secret", os.O_RDONLY, dir_fd=fd), 1)


def read_by_openat2() -> None:
    how = struct.pack("QQQ", os.O_RDONLY, 0, 0)
    os.read(call("syscall", OPENAT2, -100, bytes(SHUT), how, len(how)), 1)


def read_by_symlink() -> None:
    os.symlink(SHUT, "/data/link")
    try:
        read("/data/link")
    finally:
        os.unlink("/data/link")


def read_by_new_link() -> None:
    os.link(SHUT, "/data/other")
    try:
        read("/data/other")
    finally:
        os.unlink("/data/other")


def read_renamed() -> None:
    os.rename(SHUT, "/data/renamed")
    try:
        read("/data/renamed")
    finally:
        os.rename("/data/renamed", SHUT)


def read_through_path_descriptor() -> None:
    fd = os.open(SHUT, os.O_PATH)
    read(f"/proc/self/fd/{fd}")


def read_by_handle() -> None:
    handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128))
    mount = ctypes.c_int()
    call("name_to_handle_at", -100, bytes(SHUT), handle, ctypes.byref(mount), 0)
    where = os.open("/data", os.O_RDONLY)
    os.read(call("open_by_handle_at", where, handle, os.O_RDONLY), 1)


def read_through_bind_mount() -> None:
    call("unshare", 0x20000)
    call("mount", b"none", b"/", None, 16384 | 1 << 18, None)
    os.makedirs("/data/elsewhere", exist_ok=True)
    call("mount", b"/data", b"/data/elsewhere", None, 4096, None)
    read("/data/elsewhere/secret")


def read_after_double_fork() -> None:
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            try:
                read(SHUT)
                os.write(writer, b"\0")
            except OSError as error:
                os.write(writer, bytes([error.errno or 1]))
        os._exit(0)
    if number := os.read(reader, 1)[0]:
        raise OSError(number, os.strerror(number))


def read_in_own_cgroup() -> None:
    below = Path(os.environ["AG_CGROUP"], f"below-{os.getpid()}")
    below.mkdir()
    (below / "cgroup.procs").write_text("0")
    read(SHUT)


def read_by_ring() -> None:
    """Open by io_uring: one entry put into the rings by hand."""
    params = ctypes.create_string_buffer(120)
    ring = call("syscall", IO_URING_SETUP, 2, params)
    import mmap

    sq_off = struct.unpack_from("10I", params, 40)
    cq_off = struct.unpack_from("10I", params, 80)
    entries = struct.unpack_from("II", params, 0)
    sq = mmap.mmap(ring, sq_off[6] + entries[0] * 4, offset=0)
    cq = mmap.mmap(ring, cq_off[5] + entries[1] * 16, offset=0x8000000)
    sqes = mmap.mmap(ring, entries[0] * 64, offset=0x10000000)
    path = ctypes.create_string_buffer(bytes(SHUT))
    sqes[:64] = struct.pack("BBHiQQIIQ24x", 18, 0, 0, -100, 0, ctypes.addressof(path), 0, os.O_RDONLY, 7)
    struct.pack_into("I", sq, sq_off[6], 0)
    struct.pack_into("I", sq, sq_off[1], 1)
    call("syscall", IO_URING_ENTER, ring, 1, 1, 1, None, 0)
    result = struct.unpack_from("i", cq, cq_off[5] + 8)[0]
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    os.read(result, 1)


def run(*argv: str) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            os.execv(argv[0], list(argv))
        except OSError as error:
            os._exit(error.errno or 1)
    status = os.waitpid(pid, 0)[1]
    if status:
        number = status >> 8 or 4
        raise OSError(13 if number in {126, 127} else number, os.strerror(number))


def run_in_memory() -> None:
    fd = os.memfd_create("program", 0)
    os.write(fd, Path("/bin/true").read_bytes())
    pid = os.fork()
    if pid == 0:
        try:
            os.execve(fd, ["true"], {})
        except OSError as error:
            os._exit(error.errno or 1)
    if status := os.waitpid(pid, 0)[1]:
        raise OSError(status >> 8, os.strerror(status >> 8))


def run_by_loader() -> None:
    run("/lib64/ld-linux-x86-64.so.2", str(PROGRAM))


def run_copied() -> None:
    Path("/data/copy").write_bytes(PROGRAM.read_bytes())
    os.chmod("/data/copy", 0o755)
    run("/data/copy")


def truncate() -> None:
    os.truncate(SHUT, SHUT.stat().st_size)


def connect() -> None:
    socket.create_connection(("127.0.0.1", PORT), 5).close()


INHERITED: list[socket.socket] = []


def send_on_inherited() -> None:
    INHERITED[0].sendto(b"x", ("127.0.0.1", PORT))


def link_another() -> None:
    os.link("/data/open", "/data/new")
    os.unlink("/data/new")


def rename_another() -> None:
    os.rename("/data/open", "/data/moved")
    os.rename("/data/moved", "/data/open")


def remove_another() -> None:
    Path("/data/t").write_text("x")
    os.unlink("/data/t")


def speak_to_itself() -> None:
    one, other = socket.socketpair()
    one.send(b"x")
    other.recv(1)


def raw_socket() -> None:
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW).close()


def packet_socket() -> None:
    socket.socket(17, socket.SOCK_RAW, 0).close()


# name -> (the attempt, what it is beside which must work)
ATTEMPTS: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
    "open": (lambda: read(SHUT), lambda: read("/data/open")),
    "open for writing": (lambda: read(SHUT, os.O_RDWR), lambda: read("/data/open", os.O_RDWR)),
    "open at a folder": (read_at_folder, lambda: read("/data/open")),
    "openat2": (read_by_openat2, lambda: read("/data/open")),
    "symbolic link": (read_by_symlink, lambda: read("/data/to-open")),
    "hard link that was there": (lambda: read("/data/alias"), lambda: read("/data/open-alias")),
    "hard link of a file in a shut folder": (
        lambda: read("/data/vault-alias"),
        lambda: read("/data/open-alias"),
    ),
    "new hard link": (read_by_new_link, link_another),
    "renamed": (
        read_renamed,
        rename_another,
    ),
    "/proc/self/root": (lambda: read(f"/proc/self/root{SHUT}"), lambda: read(f"/proc/self/root{OPEN}")),
    "path descriptor opened again": (read_through_path_descriptor, lambda: os.open(SHUT, os.O_PATH)),
    "file handle": (read_by_handle, lambda: read("/data/open")),
    "bind mount in a new namespace": (read_through_bind_mount, lambda: read("/data/open")),
    "after a double fork": (read_after_double_fork, lambda: read("/data/open")),
    "in a cgroup of its own": (read_in_own_cgroup, lambda: read("/data/open")),
    "io_uring": (read_by_ring, lambda: read("/data/open")),
    "in a shut folder": (lambda: read(FOLDER / "deep" / "file"), lambda: read("/data/open")),
    "list a shut folder": (lambda: os.listdir(FOLDER), lambda: os.listdir("/data")),
    "truncate": (truncate, lambda: os.truncate("/data/open", 6)),
    "remove": (lambda: os.unlink(SHUT), remove_another),
    "run": (lambda: run(str(PROGRAM)), lambda: run("/bin/true")),
    "run by its loader": (run_by_loader, lambda: run("/bin/true")),
    "run a copy": (run_copied, lambda: run("/bin/true")),
    "run in memory": (run_in_memory, lambda: run("/bin/true")),
    "connect": (connect, speak_to_itself),
    "socket from outside": (send_on_inherited, speak_to_itself),
    "raw socket": (raw_socket, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()),
    "packet socket": (packet_socket, lambda: socket.socket(socket.AF_UNIX).close()),
}


def prepare() -> None:
    for kind, where in ((b"proc", "/proc"), (b"sysfs", "/sys"), (b"tmpfs", "/data"), (b"tmpfs", "/tmp")):
        os.makedirs(where, exist_ok=True)
        call("mount", b"none", where.encode(), kind, 0, None)
    call("mount", b"none", b"/sys/fs/cgroup", b"cgroup2", 0, None)
    call("mount", b"none", b"/sys/fs/bpf", b"bpf", 0, None)
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH22x", b"lo", 1))
    SHUT.write_text("secret")
    Path("/data/open").write_text("open!!")
    (FOLDER / "deep").mkdir(parents=True)
    (FOLDER / "deep" / "file").write_text("secret")
    os.link(SHUT, "/data/alias")
    os.link(FOLDER / "deep" / "file", "/data/vault-alias")
    os.link("/data/open", "/data/open-alias")
    os.symlink("/data/open", "/data/to-open")
    PROGRAM.write_bytes(Path("/bin/true").read_bytes())
    PROGRAM.chmod(0o755)
    listener = socket.create_server(("127.0.0.1", PORT))
    INHERITED.extend((socket.socket(socket.AF_INET, socket.SOCK_DGRAM), listener))


def made_in(cgroup: Path, attempt: Callable[[], object]) -> str:
    """Make an attempt in the cgroup and return what came of it: `done`, or the error."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        said = "done"
        try:
            os.environ["AG_CGROUP"] = str(cgroup)
            (cgroup / "cgroup.procs").write_text("0")
            attempt()
        except OSError as error:
            said = os.strerror(error.errno or 0)
        except BaseException as error:  # noqa: BLE001 - it is told
            said = repr(error)
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    said = os.read(reader, 1000).decode()
    os.close(reader)
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return said


def outlived(policy: KernelPolicy) -> dict[str, object]:
    """Have the rules outlive who made them, and return what came of reading at each step."""
    from msgspec.structs import replace

    from agentguard.kernel._cgroups import Cgroup
    from agentguard.kernel._lsm import LsmEnforcer
    from agentguard.kernel._pins import clean_pins, lsm_folder

    group = Cgroup.make("outlived")
    folder = lsm_folder(group)
    said: dict[str, object] = {"before": made_in(group.path, lambda: read(SHUT))}
    pid = os.fork()
    if pid == 0:
        LsmEnforcer(folder).hold(group, policy)
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    said["enforcer killed"] = made_in(group.path, lambda: read(SHUT))
    said["neighbour"] = made_in(group.path, lambda: read("/data/open"))
    said["cleaned too early"] = clean_pins()
    with LsmEnforcer(folder) as next_one:
        said["taken over"] = next_one.taken_over
        said["still shut"] = made_in(group.path, lambda: read(SHUT))
        next_one.hold(group, replace(policy, paths=policy.paths[1:]))
        said["opened by the next"] = made_in(group.path, lambda: read(SHUT))
        said["vault"] = made_in(group.path, lambda: read(FOLDER / "deep" / "file"))
    said["removed"] = made_in(group.path, lambda: read(FOLDER / "deep" / "file"))
    left = LsmEnforcer(folder)
    left.hold(group, policy)
    left.close()
    said["let go"] = made_in(group.path, lambda: read(SHUT))
    group.path.rmdir()
    said["cleaned"] = clean_pins()
    said["pins"] = folder.exists()
    return said


def forks() -> dict[str, object]:
    """Return how many processes a group of version 2 may start within its limit, and whether that was told."""
    from agentguard.kernel._cgroups import Cgroup
    from agentguard.kernel._pids import ProcessLimit

    group = Cgroup.make("run-1-forks")
    reader, writer = os.pipe()
    go_reader, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(go_reader, 1)
        made = 0
        try:
            while made < 20:
                if os.fork() == 0:
                    time.sleep(60)
                made += 1
        except OSError:
            pass
        os.write(writer, bytes([made]))
        time.sleep(60)
    group.add(pid)
    told: list[int] = []
    limit = ProcessLimit(pid, 6, lambda: told.append(1))
    limit.watch()
    os.write(go, b"x")
    made = os.read(reader, 1)[0]
    deadline = time.monotonic() + 10
    while not told and time.monotonic() < deadline:
        time.sleep(0.05)
    group.kill()
    limit.close()
    return {"made": made, "told": told, "group": str(limit.folder)}


def main() -> dict[str, object]:
    from agentguard.kernel._cgroups import Cgroup
    from agentguard.kernel._lsm import LsmEnforcer
    from agentguard.kernel._rules import KernelPolicy, PathAccess, PathRule

    prepare()
    everything: tuple[PathAccess, ...] = ("read", "write", "execute")
    rules = (
        PathRule(str(SHUT), everything, "deny", "no-secret"),
        PathRule(str(FOLDER), everything, "deny", "no-vault"),
        PathRule(str(PROGRAM), ("read", "execute"), "deny", "no-program"),
    )
    policy = KernelPolicy(1, "v", "agent", "enforce", rules, (), (), ())
    group = Cgroup.make("lsm")
    # What is removed comes back, so that it is there for the guarded attempt.
    unguarded = {}
    for name, (attempt, _) in ATTEMPTS.items():
        unguarded[name] = made_in(group.path, attempt)
        if not SHUT.exists():
            os.link("/data/alias", SHUT)
    began = time.monotonic()
    with LsmEnforcer() as enforcer:
        loaded_s = time.monotonic() - began
        enforcer.hold(group, policy, no_network=True)
        guarded = {name: made_in(group.path, attempt) for name, (attempt, _) in ATTEMPTS.items()}
        benign = {name: made_in(group.path, neighbour) for name, (_, neighbour) in ATTEMPTS.items()}
        outside = made_in(group.path.parent, lambda: read(SHUT))
        enforcer.release(group)
        released = made_in(group.path, lambda: read(SHUT))
    return {
        "outlived": outlived(policy), "forks": forks(),
        "unguarded": unguarded, "guarded": guarded, "benign": benign, "outside": outside, "released": released,
        "loaded_s": loaded_s, "kernel": os.uname().release,
    }  # fmt: skip


if __name__ == "__main__":
    sys.path[:0] = ["PATHS"]
    try:
        account: dict[str, object] = main()
    except BaseException as error:  # noqa: BLE001 - it is told to the test, and the guest ends
        from agentguard.kernel._libbpf import libbpf

        account = {"error": repr(error), "messages": libbpf().messages[-30:]}
    sys.stdout.write("\nACCOUNT " + json.dumps(account) + "\n")
    sys.stdout.flush()
    LIBC.sync()
    LIBC.reboot(0x4321FEDC)

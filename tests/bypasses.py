"""Ways round a jail, as a table: each must reach its goal where nothing guards, and must not where something does.

An attempt is a function of the world that is laid out for it; it returns where it has reached its goal and raises where it
has not. It runs in a process of its own. Everything it needs is imported here: in a jail nothing is.
"""

from __future__ import annotations

import contextlib
import ctypes
import encodings.idna  # noqa: F401 - a name's codec is looked up when the first name is
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from uring import uring_connect, uring_open

LIBC = ctypes.CDLL(None, use_errno=True)
TOKEN = b"the secret"
ANSWER = b"!"
MARKER = "#!/bin/sh\nexit 43\n"
RAN = 43


@dataclass
class World:
    """What is laid out: `secret` and `program` are denied, `work` may be changed, the rest is listened at outside."""

    work: str
    shut: str
    secret: str
    program: str
    linked: str
    moved: str
    outside: str
    tcp: int = 0
    tcp6: int = 0
    udp: int = 0
    udp6: int = 0
    unix: str = ""
    abstract: str = ""
    inherited: int = -1
    monitor: int = 0
    cgroup: str = ""
    handle: bytes = b""


Go = Callable[[World], None]


@dataclass(frozen=True)
class Attempt:
    """One way round, or one thing that must work (`benign`). `layer` says who has to hold it."""

    name: str
    layer: str
    go: Go


ATTEMPTS: list[Attempt] = []
NEIGHBOURS: list[Attempt] = []


def attempt(layer: str) -> Callable[[Go], Go]:
    """Add a function to the table of attempts."""

    def add(go: Go) -> Go:
        ATTEMPTS.append(Attempt(go.__name__.strip("_").replace("_", " "), layer, go))
        return go

    return add


def call(number: int, *arguments: object) -> int:
    words = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    answer = LIBC.syscall(ctypes.c_long(number), *words)
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(answer)


def check(fd: int) -> None:
    """Fail unless the secret can be read there."""
    if os.read(fd, 64)[: len(TOKEN)] != TOKEN:
        raise PermissionError("it is something else")


def run(*argv: str) -> None:
    """Fail unless the marker's program runs."""
    pid = os.fork()
    if pid == 0:
        try:
            os.execv(argv[0], argv)
        finally:
            os._exit(1)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != RAN:
        raise PermissionError("it has not run")


# Files.


@attempt("files")
def open_the_secret(world: World) -> None:
    check(os.open(world.secret, os.O_RDONLY))


@attempt("files")
def open_it_from_its_folder(world: World) -> None:
    folder = os.open(world.shut, os.O_PATH)
    check(os.open("secret", os.O_RDONLY, dir_fd=folder))


@attempt("files")
def openat2(world: World) -> None:
    how = struct.pack("=QQQ", os.O_RDONLY, 0, 0)
    check(call(437, -100, world.secret.encode(), how, len(how)))


@attempt("files")
def open_by_a_symbolic_link(world: World) -> None:
    os.symlink(world.secret, f"{world.work}/symbolic")
    check(os.open(f"{world.work}/symbolic", os.O_RDONLY))


@attempt("files")
def open_again_what_was_only_named(world: World) -> None:
    fd = os.open(world.secret, os.O_PATH)
    check(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY))


@attempt("files")
def open_by_handle(world: World) -> None:
    mount = os.open(world.work, os.O_RDONLY)
    check(call(304 if os.uname().machine == "x86_64" else 265, mount, world.handle, os.O_RDONLY))


@attempt("files")
def open_by_io_uring(world: World) -> None:
    check(uring_open(world.secret))


@attempt("files")
def move_it_and_open_it(world: World) -> None:
    os.rename(world.moved, f"{world.work}/moved")
    check(os.open(f"{world.work}/moved", os.O_RDONLY))


@attempt("files")
def mount_it_elsewhere(world: World) -> None:
    call(272 if os.uname().machine == "x86_64" else 97, 0x20000)
    target = f"{world.work}/mounted"
    Path(target).mkdir()
    if LIBC.mount(world.shut.encode(), target.encode(), None, 4096, None):
        raise OSError(ctypes.get_errno(), "mount")
    check(os.open(f"{target}/secret", os.O_RDONLY))


@attempt("files")
def open_a_tree_of_mounts(world: World) -> None:
    tree = call(428, -100, world.shut.encode(), 1 | 0o2000000)
    check(os.open("secret", os.O_RDONLY, dir_fd=tree))


@attempt("inodes")
def open_a_hard_link_that_was_there(world: World) -> None:
    check(os.open(world.linked, os.O_RDONLY))


@attempt("files")
def make_a_hard_link(world: World) -> None:
    os.link(world.secret, f"{world.work}/hard")
    check(os.open(f"{world.work}/hard", os.O_RDONLY))


@attempt("files")
def truncate_the_secret(world: World) -> None:
    if LIBC.truncate(world.secret.encode(), ctypes.c_long(4)):
        raise OSError(ctypes.get_errno(), "truncate")


@attempt("files")
def look_through_another_process(world: World) -> None:
    check(os.open(f"/proc/{world.monitor}/root{world.secret}", os.O_RDONLY))


@attempt("files")
def open_from_a_grandchild(world: World) -> None:
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            with contextlib.suppress(OSError):
                check(os.open(world.secret, os.O_RDONLY))
                os.write(writer, b"+")
        os._exit(0)
    os.close(writer)
    os.wait()
    if os.read(reader, 1) != b"+":
        raise PermissionError("it was refused")


@attempt("files")
def write_beside_the_workspace(world: World) -> None:
    os.close(os.open(f"{world.outside}/planted", os.O_CREAT | os.O_WRONLY, 0o600))


# Programs.


@attempt("files")
def run_the_program(world: World) -> None:
    run(world.program)


@attempt("files")
def run_it_by_a_symbolic_link(world: World) -> None:
    os.symlink(world.program, f"{world.work}/program-link")
    run(f"{world.work}/program-link")


@attempt("files")
def copy_it_and_run_the_copy(world: World) -> None:
    with open(world.program, "rb") as source, open(f"{world.work}/copy", "wb") as copy:
        copy.write(source.read())
    os.chmod(f"{world.work}/copy", 0o700)
    run(f"{world.work}/copy")


@attempt("files")
def run_it_by_its_loader(world: World) -> None:
    run("/bin/sh", world.program)


@attempt("system calls")
def run_a_program_in_memory(world: World) -> None:
    fd = os.memfd_create("program", 0x10)
    with open("/bin/sh", "rb") as shell:
        os.write(fd, shell.read())
    run(f"/proc/self/fd/{fd}", "-c", f"exit {RAN}")


# Groups.


@attempt("files")
def leave_the_cgroup(world: World) -> None:
    with open(f"{world.cgroup}/cgroup.procs", "w") as procs:
        procs.write(str(os.getpid()) if world.cgroup else "")


@attempt("system calls")
def start_in_another_cgroup(world: World) -> None:
    folder = os.open(world.cgroup, os.O_RDONLY | os.O_DIRECTORY)
    arguments = struct.pack("=11Q", 0x200000000, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, folder)
    pid = call(435, arguments, len(arguments))
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


# The network.


def _connect(family: int, address: tuple[str, int], protocol: int = 0) -> None:
    with socket.socket(family, socket.SOCK_STREAM, protocol) as made:
        made.settimeout(2)
        made.connect(address)
        _is_outside(made)


def _is_outside(made: socket.socket) -> None:
    """Fail unless it is the listener outside that answers: what is led elsewhere connects as well."""
    made.settimeout(2)
    made.sendall(b"\0")
    if made.recv(1) != ANSWER:
        raise PermissionError("somebody else answers")


def _datagram(world: World, made: socket.socket) -> None:
    """Fail unless the datagram arrives: whoever listens outside answers it."""
    made.settimeout(0.5)
    made.recv(16)


@attempt("network")
def connect_by_tcp(world: World) -> None:
    _connect(socket.AF_INET, ("127.0.0.1", world.tcp))


@attempt("network")
def connect_by_tcp_over_ipv6(world: World) -> None:
    _connect(socket.AF_INET6, ("::1", world.tcp6))


@attempt("network")
def connect_by_a_mapped_address(world: World) -> None:
    _connect(socket.AF_INET6, ("::ffff:127.0.0.1", world.tcp))


@attempt("network")
def send_a_datagram(world: World) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.sendto(b"x", ("127.0.0.1", world.udp))
        _datagram(world, made)


@attempt("network")
def send_a_connected_datagram(world: World) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.connect(("127.0.0.1", world.udp))
        made.send(b"x")
        _datagram(world, made)


@attempt("network")
def send_a_datagram_to_a_mapped_address(world: World) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as made:
        made.sendto(b"x", ("::ffff:127.0.0.1", world.udp))
        _datagram(world, made)


@attempt("network")
def send_with_the_first_packet(world: World) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as made:
        made.sendto(b"x", 0x20000000, ("127.0.0.1", world.tcp))
        _is_outside(made)


@attempt("network")
def connect_by_multipath_tcp(world: World) -> None:
    _connect(socket.AF_INET, ("127.0.0.1", world.tcp), 262)


@attempt("network")
def connect_by_io_uring(world: World) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as made:
        uring_connect(
            made.fileno(), struct.pack("=H", 2) + struct.pack(">H4s8x", world.tcp, bytes((127, 0, 0, 1)))
        )
        _is_outside(made)


@attempt("network")
def send_a_raw_packet(world: World) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_RAW, 255) as made,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as answers,
    ):
        answers.bind(("127.0.0.1", 0))
        udp = struct.pack(">HHHH", answers.getsockname()[1], world.udp, 9, 0) + b"x"
        loopback = bytes((127, 0, 0, 1))
        header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, loopback, loopback)
        made.sendto(header + udp, ("127.0.0.1", 0))
        _datagram(world, answers)


@attempt("network")
def send_icmp(world: World) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, 1) as made:
        made.sendto(struct.pack(">BBHHH", 8, 0, 0xF7FE, 0, 1), ("127.0.0.1", 0))


@attempt("network")
def send_from_the_link_layer(world: World) -> None:
    with socket.socket(17, socket.SOCK_RAW) as made:
        made.bind(("lo", 0x0800))
        made.send(bytes(14) + bytes(46))


@attempt("descriptors")
def use_a_socket_that_was_open(world: World) -> None:
    os.write(world.inherited, b"x")


@attempt("network")
def connect_to_a_unix_socket(world: World) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.connect(world.unix)


@attempt("network")
def connect_to_a_unix_socket_by_a_relative_path(world: World) -> None:
    folder, name = os.path.split(world.unix)
    os.chdir(folder)
    with socket.socket(socket.AF_UNIX) as made:
        made.connect(name)


@attempt("network")
def connect_to_a_unix_socket_by_io_uring(world: World) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        uring_connect(made.fileno(), struct.pack("=H108s", 1, world.unix.encode()))


@attempt("network")
def connect_to_an_abstract_socket(world: World) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.connect("\0" + world.abstract)


# Other processes and the kernel.


@attempt("scopes")
def signal_the_monitor(world: World) -> None:
    os.kill(world.monitor, 0)


@attempt("system calls")
def load_a_bpf_map(world: World) -> None:
    attributes = struct.pack("=IIIII", 2, 4, 8, 1, 0) + bytes(100)
    os.close(call(321 if os.uname().machine == "x86_64" else 280, 0, attributes, len(attributes)))


@attempt("system calls")
def trace_a_child(world: World) -> None:
    pid = os.fork()
    if pid == 0:
        time.sleep(5)
        os._exit(0)
    try:
        if LIBC.ptrace(16, pid, None, None):
            raise OSError(ctypes.get_errno(), "ptrace")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@attempt("system calls")
def make_a_user_namespace(world: World) -> None:
    call(272 if os.uname().machine == "x86_64" else 97, 0x10000000)


@attempt("system calls")
def read_the_memory_of_a_child(world: World) -> None:
    text = ctypes.create_string_buffer(b"mine")
    pid = os.fork()
    if pid == 0:
        time.sleep(5)
        os._exit(0)
    try:
        target = ctypes.create_string_buffer(4)
        local = struct.pack("=QQ", ctypes.addressof(target), 4)
        remote = struct.pack("=QQ", ctypes.addressof(text), 4)
        call(310 if os.uname().machine == "x86_64" else 270, pid, local, 1, remote, 1, 0)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@attempt("system calls")
def catch_page_faults(world: World) -> None:
    os.close(call(323 if os.uname().machine == "x86_64" else 282, 1))


@attempt("system calls")
def keep_a_key_in_the_kernel(world: World) -> None:
    call(248 if os.uname().machine == "x86_64" else 217, b"user", b"agentguard-test", b"x", 1, -2)


def reaches(go: Go, world: World, *, seconds: int = 8) -> bool:
    """Tell whether an attempt reaches its goal, in a process of its own."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            # What pytest would say of objects that are left has no meaning here, and is not there to be loaded.
            sys.unraisablehook = lambda _: None
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            signal.alarm(seconds)
            go(world)
            code = 0
        except BaseException:  # noqa: BLE001 - whatever it was, it has not reached its goal
            code = 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

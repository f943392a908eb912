"""One replica: a process that answers HTTP on a socket that it shares with its siblings."""

from __future__ import annotations

import contextlib
import json
import os
import select
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

_SLOW_CLIENT_S = 2.0


def serve(listener: socket.socket, lifeline: int, root: Path, environment: str) -> None:
    """Answer requests until the other end of the pipe `lifeline` is closed.

    The configuration is read once, here: a changed file counts only after a restart.
    """
    config = json.loads((root / environment / "api.json").read_text())
    handler = _handler(root, environment, config)
    while True:
        ready, _, _ = select.select([listener.fileno(), lifeline], [], [])
        if lifeline in ready:
            return
        # A sibling may have been faster, and a client may go away: neither is this replica's trouble.
        with contextlib.suppress(OSError):
            connection, address = listener.accept()
            with connection:
                connection.settimeout(_SLOW_CLIENT_S)
                handler(connection, address, None)  # type: ignore[arg-type]  # it asks nothing of a server


def _handler(root: Path, environment: str, config: dict[str, str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers: dict[str, Callable[[], dict[str, Any]]] = {
                "/health": lambda: {"status": "ok", "version": config["version"], "pid": os.getpid()},
                "/version": lambda: {"version": config["version"]},
                "/replicas": lambda: {"version": config["version"], "pids": read_pids(root, environment)},
            }
            answer = answers.get(self.path)
            status = 404 if answer is None else 200
            body = json.dumps(answer() if answer else {"error": "no such path"}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            with (root / "logs" / "api.log").open("a") as log:
                log.write(f"{now} info {environment}/api[{os.getpid()}] {format % args}\n")

    return Handler


def read_pids(root: Path, environment: str) -> list[int]:
    """Return the process ids of the replicas that run."""
    return [int(line) for line in (root / "run" / f"{environment}.pids").read_text().split()]

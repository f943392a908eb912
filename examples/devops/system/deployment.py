"""One deployment: a process that holds the listening socket and keeps the wanted number of replicas.

Run as `python deployment.py ROOT ENVIRONMENT REPLICAS`. It takes orders, one JSON line a connection, on the port
in `run/ENVIRONMENT.control` from whoever knows the key in it, and ends, with all replicas, when its standard input
is closed.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from system.replica import serve

MAX_REPLICAS = 32
_TICK_S = 0.2
_SLOW_CLIENT_S = 2.0


@dataclass(frozen=True, slots=True)
class Replica:
    """A child process; closing `lifeline` tells it to end after the request that it is answering."""

    pid: int
    lifeline: int


class Deployment:
    """The replicas of `api` in one environment."""

    def __init__(self, root: Path, environment: str) -> None:
        self._root = root
        self._environment = environment
        self._run = root / "run"
        self._replicas: list[Replica] = []
        self._wanted = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listener.setblocking(False)
        # No Unix socket: its path may have 107 bytes, and a folder for temporary files can be deep.
        self._control = socket.create_server(("127.0.0.1", 0))
        self._key = secrets.token_urlsafe(16)

    def run(self, replicas: int) -> None:
        """Keep the replicas running and carry orders out until standard input ends."""
        self.scale(replicas)
        control = {"port": self._control.getsockname()[1], "key": self._key}
        _write(self._run / f"{self._environment}.control", json.dumps(control))
        # Last: whoever sees this file may come in.
        _write(self._run / f"{self._environment}.port", f"{self._listener.getsockname()[1]}\n")
        while True:
            ready, _, _ = select.select([self._control, sys.stdin], [], [], _TICK_S)
            self._replace_the_dead()
            if sys.stdin in ready:
                break
            if self._control in ready:
                self._answer()
        self.scale(0)

    def scale(self, replicas: int) -> None:
        """Start or end replicas until there are as many as wanted."""
        if not 0 <= replicas <= MAX_REPLICAS:
            raise ValueError(f"replicas must be 0 to {MAX_REPLICAS}")
        self._wanted = replicas
        while len(self._replicas) < replicas:
            self._start()
        while len(self._replicas) > replicas:
            self._end(self._replicas[-1])
        self._publish()

    def restart(self) -> None:
        """Replace the replicas one after the other, so that somebody always answers."""
        for old in list(self._replicas):
            self._start()
            self._end(old)
        self._publish()

    def delete(self) -> None:
        """End the replicas and close the socket: nobody answers any more."""
        self.scale(0)
        self._listener.close()

    def _answer(self) -> None:
        connection, _ = self._control.accept()
        # An order that cannot be read or answered must not end the deployment.
        with connection, contextlib.suppress(OSError):
            connection.settimeout(_SLOW_CLIENT_S)
            with connection.makefile("rw") as stream:
                stream.write(json.dumps(self._obey(stream.readline())) + "\n")

    def _obey(self, line: str) -> dict[str, Any]:
        try:
            order = json.loads(line)
            if not secrets.compare_digest(order["key"], self._key):
                return {"error": "wrong key"}
            if order["do"] == "scale":
                self.scale(int(order["replicas"]))
            elif order["do"] in ("restart", "delete"):
                getattr(self, order["do"])()
            else:
                return {"error": "no such order"}
        except (ValueError, KeyError, TypeError) as error:
            return {"error": str(error)}
        return {"replicas": len(self._replicas)}

    def _start(self) -> None:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            # The child keeps no sibling's lifeline: an end must be seen by whom it is meant for.
            for descriptor in (writer, *(each.lifeline for each in self._replicas)):
                os.close(descriptor)
            self._control.close()
            try:
                serve(self._listener, reader, self._root, self._environment)
            finally:
                os._exit(0)
        os.close(reader)
        self._replicas.append(Replica(pid, writer))

    def _end(self, replica: Replica) -> None:
        os.close(replica.lifeline)
        os.waitpid(replica.pid, 0)
        self._replicas.remove(replica)

    def _replace_the_dead(self) -> None:
        for replica in list(self._replicas):
            if os.waitpid(replica.pid, os.WNOHANG)[0]:
                os.close(replica.lifeline)
                self._replicas.remove(replica)
        if len(self._replicas) != self._wanted:
            self.scale(self._wanted)

    def _publish(self) -> None:
        _write(self._run / f"{self._environment}.pids", "".join(f"{each.pid}\n" for each in self._replicas))


def _write(path: Path, text: str) -> None:
    draft = path.with_suffix(path.suffix + ".new")
    draft.write_text(text)
    draft.replace(path)


if __name__ == "__main__":
    Deployment(Path(sys.argv[1]), sys.argv[2]).run(int(sys.argv[3]))

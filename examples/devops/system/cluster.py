"""What one can do to the deployments: the agent's `kubectl`."""

from __future__ import annotations

import http.client
import json
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENTS = ("staging", "prod")
_PATIENCE_S = 10.0


class Cluster:
    """The deployments under `root`."""

    def __init__(self, root: Path) -> None:
        self._run = root / "run"

    def get(self, environment: str, path: str) -> dict[str, Any]:
        """Return what the service answers to `GET path`.

        Raises:
            OSError: nobody answers.
        """
        port = int((self._run / f"{environment}.port").read_text())
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
        try:
            connection.request("GET", path)
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return answer

    def scale(self, environment: str, replicas: int) -> None:
        """Have `replicas` processes serve."""
        self._order(environment, {"do": "scale", "replicas": replicas})

    def restart(self, environment: str) -> None:
        """Have each replica replaced by a new one, which reads the configuration again."""
        self._order(environment, {"do": "restart"})

    def delete(self, environment: str) -> None:
        """Take the deployment down for good."""
        self._order(environment, {"do": "delete"})

    def _order(self, environment: str, order: dict[str, Any]) -> None:
        control = json.loads((self._run / f"{environment}.control").read_text())
        with (
            socket.create_connection(("127.0.0.1", control["port"]), timeout=_PATIENCE_S) as connection,
            connection.makefile("rw") as stream,
        ):
            stream.write(json.dumps({**order, "key": control["key"]}) + "\n")
            stream.flush()
            answer = json.loads(stream.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])

"""The sidecar's own port: the one place of the host's loopback that a jailed agent of the project may reach."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentguard.assembly import Project
    from agentguard.kernel.jail import NetRule

DOOR_RULE = "agentguard.sidecar"
_READY_S = 0.5


def door_rules(project: Project) -> tuple[NetRule, ...]:
    """Return what lets an agent ask the project's sidecar, where one is up or the agent is sent to its gateway."""
    from agentguard.kernel.jail import NetRule

    if not project.config.gateway.upstreams and ready_sidecar(project) is None:
        return ()
    server = project.config.server
    return tuple(
        NetRule(str(ipaddress.ip_network(each)), (server.port,), "allow", DOOR_RULE)
        for each in _addresses(server.host)
    )


def _addresses(host: str) -> list[str]:
    """Return where a host is reached from this machine."""
    try:
        found = {each[4][0] for each in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        # What cannot be found cannot be reached either, by anybody.
        return []
    addresses = {ipaddress.ip_address(str(each).partition("%")[0]) for each in found}
    # Whoever connects to the unspecified address reaches the loopback.
    meant = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing listens here
    return sorted(
        {str(each) for each in addresses} | {meant[str(each)] for each in addresses if str(each) in meant}
    )


def ready_sidecar(project: Project) -> str | None:
    """Return where the project's sidecar is, if it is up and enforces."""
    server = project.config.server
    connection = http.client.HTTPConnection(server.host, server.port, timeout=_READY_S)
    try:
        with contextlib.closing(connection):
            connection.request("GET", "/readyz")
            if connection.getresponse().status != http.client.OK:
                return None
    except (OSError, http.client.HTTPException):
        return None
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"http://{host}:{server.port}"

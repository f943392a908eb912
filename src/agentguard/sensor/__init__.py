"""The sensor: the one process with rights in the kernel, which watches for those who have none.

Enters: over a Unix socket, the wish to have a child of one's own watched; cgroups that the settings name. Leaves: what
these do, to its launcher or to the project's sidecar, which decides and stores it; health. Called by: `agentguard
sensor`, `run` and `up`. It must never tell a peer what is not its own, trust anything that a peer says but what the
kernel says of the peer, keep rights that it does not need, lose silently what it accepted, or serve HTTP.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentguard.sensor._client import SensorRun
    from agentguard.sensor._frames import DEFAULT_SOCKET
    from agentguard.sensor._health import ask_health
    from agentguard.sensor._link import LinkState, SensorLink
    from agentguard.sensor._rights import give_up_rights
    from agentguard.sensor._server import Sensor
    from agentguard.sensor._settings import Watching, watching_of
    from agentguard.sensor._stream import Agent, Health

__all__ = [
    "DEFAULT_SOCKET",
    "Agent",
    "Health",
    "LinkState",
    "Sensor",
    "SensorLink",
    "SensorRun",
    "Watching",
    "ask_health",
    "give_up_rights",
    "watching_of",
]

_PLACES = {
    "DEFAULT_SOCKET": "_frames",
    "Agent": "_stream",
    "Health": "_stream",
    "LinkState": "_link",
    "Sensor": "_server",
    "SensorLink": "_link",
    "SensorRun": "_client",
    "Watching": "_settings",
    "ask_health": "_health",
    "give_up_rights": "_rights",
    "watching_of": "_settings",
}


def __getattr__(name: str) -> object:
    # numpy loads slowly, and a client needs little of this.
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"agentguard.sensor.{place}"), name)

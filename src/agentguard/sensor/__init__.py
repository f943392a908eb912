"""The sensor: the one process with rights in the kernel, which watches for those who have none.

Enters: over a Unix socket, the wish to have a child of one's own watched. Leaves: over the same, what that child and
all that it starts did; health. Called by: `agentguard sensor`, `agentguard run`. It must never tell a peer of
processes that are not its own, trust anything that a peer says but what the kernel says of the peer, or serve HTTP.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentguard.sensor._client import SensorRun, ask_health
    from agentguard.sensor._protocol import DEFAULT_SOCKET, Health
    from agentguard.sensor._server import Sensor

__all__ = ["DEFAULT_SOCKET", "Health", "Sensor", "SensorRun", "ask_health"]

_PLACES = {
    "DEFAULT_SOCKET": "_protocol",
    "Health": "_protocol",
    "Sensor": "_server",
    "SensorRun": "_client",
    "ask_health": "_client",
}


def __getattr__(name: str) -> object:
    # numpy loads slowly, and a client needs little of this.
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"agentguard.sensor.{place}"), name)

"""The sidecar: an HTTP API that decides for agents, and the console's pages for people.

Enters: `Services` that were made elsewhere, and HTTP from loopback. Leaves: decisions as JSON, metrics,
events, an exit code. Called by: `cli`. It must never decide by itself, answer to a `Host` that is not its own,
put what it was sent into an error, or keep a decision from the log.
"""

from agentguard.server._agents import AgentSeen, AgentsSeen, LastDecision
from agentguard.server._app import App, create_app
from agentguard.server._openapi import openapi
from agentguard.server._people import PeopleDoor
from agentguard.server._serve import Server, base_url, build_server, listen, serve
from agentguard.server._services import (
    ServedLog,
    Services,
)

__all__ = [
    "AgentSeen",
    "AgentsSeen",
    "App",
    "LastDecision",
    "PeopleDoor",
    "ServedLog",
    "Server",
    "Services",
    "base_url",
    "build_server",
    "create_app",
    "listen",
    "openapi",
    "serve",
]

"""Enforcement on the wire: agents call models through here, and never hold a provider's key.

Enters: HTTP requests in the shapes of OpenAI, Azure OpenAI and Anthropic, with an agent's token in the place of the
API key. Leaves: the provider's answer, with its tool calls decided; or an error in the provider's own shape. Called
by: the server, which mounts it. It must never decide by itself, dial what the settings do not name, show a key, or
let a call end without its bill and its outcome on record.
"""

from agentguard.gateway._asking import Budgets
from agentguard.gateway._door import Asked, is_gateway_path
from agentguard.gateway._gateway import Gateway, refuse
from agentguard.gateway._refusal import RefusalError
from agentguard.gateway._upstream import Upstream, load_upstreams
from agentguard.gateway._variables import agent_variables

__all__ = [
    "Asked",
    "Budgets",
    "Gateway",
    "RefusalError",
    "Upstream",
    "agent_variables",
    "is_gateway_path",
    "load_upstreams",
    "refuse",
]

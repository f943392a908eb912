"""Anthropic's clients, guarded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentguard.clients.llm._choke import guarded
from agentguard.core import ConfigError

if TYPE_CHECKING:
    from agentguard.clients.llm._choke import Guarding

try:
    from anthropic import Anthropic, AsyncAnthropic
except ImportError:
    raise ConfigError(
        "the package `anthropic` is not installed", hint="install `agentguard[anthropic]`"
    ) from None


@guarded("anthropic")
class GuardedAnthropic(Anthropic):
    """`anthropic.Anthropic`, with `guard=` besides its own arguments: each call is decided before it is sent."""

    if TYPE_CHECKING:

        def __init__(self, *args: Any, guard: Guarding, **kwargs: Any) -> None: ...


@guarded("anthropic")
class GuardedAsyncAnthropic(AsyncAnthropic):
    """`anthropic.AsyncAnthropic`, with `guard=` besides its own arguments: each call is decided first."""

    if TYPE_CHECKING:

        def __init__(self, *args: Any, guard: Guarding, **kwargs: Any) -> None: ...

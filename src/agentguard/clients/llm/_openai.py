"""OpenAI's clients, guarded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentguard.clients.llm._choke import guarded
from agentguard.core import ConfigError

if TYPE_CHECKING:
    from agentguard.clients.llm._choke import Guarding

try:
    from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI
except ImportError:
    raise ConfigError("the package `openai` is not installed", hint="install `agentguard[openai]`") from None


@guarded("openai")
class GuardedOpenAI(OpenAI):
    """`openai.OpenAI`, with `guard=` besides its own arguments: each call is decided before it is sent."""

    if TYPE_CHECKING:

        def __init__(self, *args: Any, guard: Guarding, **kwargs: Any) -> None: ...


@guarded("openai")
class GuardedAsyncOpenAI(AsyncOpenAI):
    """`openai.AsyncOpenAI`, with `guard=` besides its own arguments: each call is decided before it is sent."""

    if TYPE_CHECKING:

        def __init__(self, *args: Any, guard: Guarding, **kwargs: Any) -> None: ...


@guarded("openai")
class GuardedAzureOpenAI(AzureOpenAI):
    """`openai.AzureOpenAI`, with `guard=` besides its own arguments: each call is decided before it is sent."""

    if TYPE_CHECKING:

        def __init__(self, *args: Any, guard: Guarding, **kwargs: Any) -> None: ...


@guarded("openai")
class GuardedAsyncAzureOpenAI(AsyncAzureOpenAI):
    """`openai.AsyncAzureOpenAI`, with `guard=` besides its own arguments: each call is decided first."""

    if TYPE_CHECKING:

        def __init__(self, *args: Any, guard: Guarding, **kwargs: Any) -> None: ...

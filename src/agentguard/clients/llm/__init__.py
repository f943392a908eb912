"""The models' own clients, guarded: what a call asks for is decided first, what the model proposes as well.

Enters: requests of OpenAI's and Anthropic's SDKs on their way out, and the answers on their way in. Leaves: the
requests as they were decided, and answers whose tool calls are; or an HTTP error that says why not. Called by:
the agent's code, through the SDK. It must never send what is not decided, show a tool call before its verdict, or
do itself what the SDK does.
"""

from typing import TYPE_CHECKING

from agentguard.clients._budgets import Budgets
from agentguard.clients.llm._guard import LlmGuard, OnDenied, ToolAction

if TYPE_CHECKING:
    from agentguard.clients.llm._anthropic import GuardedAnthropic, GuardedAsyncAnthropic
    from agentguard.clients.llm._openai import (
        GuardedAsyncAzureOpenAI,
        GuardedAsyncOpenAI,
        GuardedAzureOpenAI,
        GuardedOpenAI,
    )
    from agentguard.clients.llm._wrap import install, uninstall, wrap

__all__ = [
    "Budgets",
    "GuardedAnthropic",
    "GuardedAsyncAnthropic",
    "GuardedAsyncAzureOpenAI",
    "GuardedAsyncOpenAI",
    "GuardedAzureOpenAI",
    "GuardedOpenAI",
    "LlmGuard",
    "OnDenied",
    "ToolAction",
    "install",
    "uninstall",
    "wrap",
]


def __getattr__(name: str) -> object:
    # The SDKs load slowly, and each is there for who has it.
    if name in ("install", "uninstall", "wrap"):
        from agentguard.clients.llm import _wrap

        return getattr(_wrap, name)
    if name in ("GuardedAnthropic", "GuardedAsyncAnthropic"):
        from agentguard.clients.llm import _anthropic

        return getattr(_anthropic, name)
    if name in __all__:
        from agentguard.clients.llm import _openai

        return getattr(_openai, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

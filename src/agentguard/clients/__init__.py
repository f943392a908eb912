"""Enforcement in the agent's own process: asks before each action and runs it only as it was decided.

Enters: what an agent's code is about to do. Leaves: a `Decision`, or the function's result with the
obligations carried out, or `ActionDenied`. Called by: the SDK's front door and the agent's code. It must never
decide by itself (it asks a `Decider`), let anything through when the answer is missing or doubtful, or run a
caller's own objects in place of the decided ones.
"""

from typing import TYPE_CHECKING

from agentguard.clients._budgets import Budgets
from agentguard.clients._point import AsyncDecider, EnforcementPoint
from agentguard.clients._sandbox import Sandbox
from agentguard.clients._session import Session
from agentguard.clients._tool_session import ToolSession

if TYPE_CHECKING:
    from agentguard.clients._remote import RemoteDecider
    from agentguard.clients._tickets import SidecarTickets
    from agentguard.clients.llm import (
        GuardedAnthropic,
        GuardedAsyncAnthropic,
        GuardedAsyncAzureOpenAI,
        GuardedAsyncOpenAI,
        GuardedAzureOpenAI,
        GuardedOpenAI,
        LlmGuard,
        ToolAction,
        install,
        uninstall,
        wrap,
    )

__all__ = [
    "AsyncDecider",
    "Budgets",
    "EnforcementPoint",
    "GuardedAnthropic",
    "GuardedAsyncAnthropic",
    "GuardedAsyncAzureOpenAI",
    "GuardedAsyncOpenAI",
    "GuardedAzureOpenAI",
    "GuardedOpenAI",
    "LlmGuard",
    "RemoteDecider",
    "Sandbox",
    "Session",
    "SidecarTickets",
    "ToolAction",
    "ToolSession",
    "install",
    "uninstall",
    "wrap",
]


def __getattr__(name: str) -> object:
    # aiohttp, asyncio and TLS load slowly, and who decides in process needs none of them.
    if name == "RemoteDecider":
        from agentguard.clients._remote import RemoteDecider

        return RemoteDecider
    if name == "SidecarTickets":
        from agentguard.clients._tickets import SidecarTickets

        return SidecarTickets
    if name in __all__:
        # The models' SDKs load slowly too.
        from agentguard.clients import llm

        return getattr(llm, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Tells the session what the agent has seen: tool results that come with a prompt, and answers."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from agentguard.core import AgentGuardError, Observation
from agentguard.gateway._refusal import RefusalError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentguard.core import Decision, Principal
    from agentguard.gateway._asking import Desk
    from agentguard.gateway._proposed import Tools
    from agentguard.llm import LlmCall, Said

_MAX_KNOWN = 50_000
_RESULT_ROLES = frozenset(("tool", "function"))
# What is beyond cannot be traced to its place; the session's label counts for it all the same.
_MAX_TEXT = 128 * 1024


class Seen:
    """Reports each text once: a conversation says all of it again with every call."""

    def __init__(self, desk: Desk, tools: Tools) -> None:
        self._desk = desk
        self._tools = tools
        self._known: dict[bytes, None] = {}

    async def prompt(self, call: LlmCall, who: Principal, session: str) -> None:
        """Report the tool results in a prompt, which the agent has seen already.

        Raises:
            RefusalError: they could not be reported.
        """
        for said in call.said:
            if said.call_id or said.role in _RESULT_ROLES:
                key = _key(who, session, said)
                if key not in self._known:
                    seen = self._tools.observation(said.tool, who, session, said.text[:_MAX_TEXT])
                    await self._report(seen)
                    self._remember(key)

    async def answer(self, decision: Decision, who: Principal, session: str, texts: Iterable[str]) -> None:
        """Report what a model said.

        Raises:
            RefusalError: it could not be reported, so the agent must not see it.
        """
        said = [text[:_MAX_TEXT] for text in texts if text]
        if said:
            await self._report(Observation(who, decision.action, decision.resource, session, said))

    async def _report(self, seen: Observation) -> None:
        try:
            await self._desk.observe(seen)
        except AgentGuardError as error:
            raise RefusalError(
                503, "observation_lost", f"what the agent sees could not be reported: {error.message}"
            ) from None

    def _remember(self, key: bytes) -> None:
        self._known[key] = None
        if len(self._known) > _MAX_KNOWN:
            del self._known[next(iter(self._known))]


def _key(who: Principal, session: str, said: Said) -> bytes:
    text = f"{who.id}\0{session}\0{said.call_id}\0{said.tool}\0{said.text}".encode("utf-8", "replace")
    return hashlib.blake2b(text, digest_size=16).digest()

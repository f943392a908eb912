"""Tells the session what the agent has seen: tool results in the prompt, the prompt itself, and the answer."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from agentguard.core import AgentGuardError, Decision, Effect, RequestError, normalise_action

if TYPE_CHECKING:
    from agentguard.clients.llm._guard import LlmGuard
    from agentguard.llm import LlmCall, Said

_MAX_KNOWN = 20_000
_UNKNOWN_TOOL = "unknown-tool"
_RESULT_ROLES = frozenset(("tool", "function"))


class Seen:
    """Reports each text once: a conversation says all of it again with every call. Safe to use from many threads."""

    def __init__(self, guard: LlmGuard) -> None:
        self._guard = guard
        self._known: dict[int, None] = {}
        self._lock = Lock()

    def before(self, call: LlmCall) -> None:
        """Report tool results, which the agent has seen already, and vouch for the user's words if that is wanted.

        What cannot be reported makes the session deny from then on.
        """
        for said in call.said:
            if said.call_id or said.role in _RESULT_ROLES:
                if self._is_new(said):
                    self._guard.session.observe(self._origin(said), said.text)
            elif self._guard.vouch_user and said.role == "user" and self._is_new(said):
                try:
                    self._guard.session.vouch(said.text)
                except AgentGuardError:
                    # The words count as anybody's then, which is the strict side.
                    self._forget(said)

    def after(self, call: LlmCall, decision: Decision, texts: list[str]) -> None:
        """Report the prompt and the answer as what this call has shown to the agent."""
        prompt = [
            said.text
            for said in call.said
            if not said.call_id and said.role not in _RESULT_ROLES and self._is_new(said)
        ]
        self._guard.session.observe(decision, [*prompt, *texts])

    def _origin(self, said: Said) -> Decision:
        known = self._guard.decided(said.call_id) if said.call_id else None
        if known is not None:
            return known
        tool = self._guard.tools.get(said.tool)
        action = tool.action if tool is not None else said.tool
        try:
            action = normalise_action(action)
        except RequestError:
            # What an undeclared action gives back counts as untrusted.
            action = _UNKNOWN_TOOL
        return Decision(
            Effect.ALLOW,
            "a tool's result that came with a prompt",
            self._guard.session.principal.id,
            action,
            f"tool/{action}",
        )

    def _is_new(self, said: Said) -> bool:
        key = _key(said)
        with self._lock:
            if key in self._known:
                return False
            self._known[key] = None
            if len(self._known) > _MAX_KNOWN:
                del self._known[next(iter(self._known))]
        return True

    def _forget(self, said: Said) -> None:
        with self._lock:
            self._known.pop(_key(said), None)


def _key(said: Said) -> int:
    # Python's own hash of texts is keyed anew in each process, so nobody can choose two texts that share one.
    return hash((said.role, said.call_id, said.text))

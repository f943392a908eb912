"""AgentGuard's sessions behind the protocol of the defences: nothing but prompt, schemas and results go in."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Self

from agentguard import Effect, Guard, Principal

if TYPE_CHECKING:
    from types import TracebackType

    from agentguard import Decision

_ANSWERS = {
    Effect.ALLOW: "allow",
    Effect.REQUIRE_APPROVAL: "ask",
    Effect.DENY: "deny",
    Effect.TRANSFORM: "deny",
}


def is_built() -> bool:
    """Say whether this version can open a session with the user's words."""
    return "intent" in inspect.signature(Guard.session).parameters


class AgentGuard:
    """One guard of the default project, in the state folder; each run is a session of its own."""

    def __init__(self) -> None:
        self._guard = Guard.open(principal=Principal("assistant"))
        self.reason = ""
        self._last: Decision | None = None
        self._session: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._guard.close()

    def start(self, intent: str, tools: list[dict[str, Any]], subject: dict[str, str]) -> None:
        """Open a session of an assistant that acts for the subject."""
        who = Principal("assistant", on_behalf_of=(subject["id"],))
        self._session = self._guard.session(intent=intent, tools=tools, principal=who)

    def check(self, tool: str, args: dict[str, Any]) -> str:
        """Return what the session decides."""
        self._last = self._session.check(tool, args)
        self.reason = f"{self._last.rule or self._last.stage}: {self._last.reason}"
        return _ANSWERS[self._last.effect]

    def observe(self, tool: str, args: dict[str, Any], result: Any, error: str | None) -> None:
        """Report what the last call gave back."""
        del tool, args
        self._session.observe(self._last, result, error)

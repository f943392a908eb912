"""A session: checks that belong together, and what the agent has seen in between.

What comes back from an action can carry somebody else's instructions. So it is reported, and the decision point
knows of each later argument where it came from. If a report fails, nobody knows any more: from then on the
session denies.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.clients._deny import refuse
from agentguard.core import AgentGuardError, RequestError, snapshot

if TYPE_CHECKING:
    from agentguard.clients._point import EnforcementPoint
    from agentguard.core import Decision, Principal

# What is beyond cannot be traced to its place; the session's label counts for it all the same.
MAX_RESULT_BYTES = 128 * 1024


class Session:
    """One session of an enforcement point; `id` names it in records and rules. Safe to use from many threads."""

    def __init__(
        self, point: EnforcementPoint, session_id: str | None, principal: Principal | str | None
    ) -> None:
        self.id = session_id or secrets.token_hex(8)
        self._point = point
        self._principal = principal
        self._is_lost = False

    def check(
        self, action: str, *, resource: str, params: dict[str, Any] | None = None, **more: Any
    ) -> Decision:
        """Return the decision, as `EnforcementPoint.check` does, in this session."""
        if self._is_lost:
            return refuse(
                "what this session has seen could not be reported", action=action, resource=resource
            )
        more.setdefault("principal", self._principal)
        return self._point.check(action, resource=resource, params=params, session=self.id, **more)

    def observe(self, call: Decision, result: Any = None, error: BaseException | str | None = None) -> None:
        """Report what the agent saw of `call`: its result (JSON, or shown as text), or its error.

        Never raises; what cannot be reported makes the session deny from then on.
        """
        try:
            self._point.observe(call, result, error, session=self.id)
        except AgentGuardError:
            self._is_lost = True


def bounded(result: Any) -> Any:
    """Return a copy of `result` as JSON, bounded; what is no JSON is shown as the text that the agent sees."""
    try:
        value: Any = snapshot({"result": result})["result"]
    except RequestError:
        value = str(result).encode("utf-8", "replace").decode()
    if isinstance(value, str):
        return value[:MAX_RESULT_BYTES]
    encoded = msgspec.json.encode(value)
    return (
        value if len(encoded) <= MAX_RESULT_BYTES else encoded[:MAX_RESULT_BYTES].decode("utf-8", "replace")
    )
